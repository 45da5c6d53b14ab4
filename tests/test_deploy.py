"""What is deployed is built nowhere here, so it is read closely instead: every flag exists, nothing runs as root."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from pathlib import Path

import pytest
import typer

from limner.cli.app import app

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
IMAGES = ("Dockerfile.cpu", "Dockerfile.cuda")


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile in order, continued lines joined, comments gone."""
    lines = [line for line in (DEPLOY / name).read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    return [(keyword, rest) for keyword, rest in found]


def stages(name: str) -> list[list[tuple[str, str]]]:
    """The instructions of each stage, its FROM first."""
    found: list[list[tuple[str, str]]] = []
    for instruction in instructions(name):
        if instruction[0] == "FROM":
            found.append([])
        found[-1].append(instruction)
    return found


def last(name: str, keyword: str) -> str:
    """What the final image says under a keyword, once."""
    (value,) = [rest for each, rest in stages(name)[-1] if each == keyword]
    return value


def unit() -> dict[str, dict[str, list[str]]]:
    """The systemd unit: values by section and name."""
    found: dict[str, dict[str, list[str]]] = {}
    for line in (DEPLOY / "limner.service").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), defaultdict(list))
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            section[name].append(value)
    return found


def understood(words: list[str]) -> dict[str, object]:
    """What the command line makes of some words."""
    command = typer.main.get_command(app)
    context = command.make_context("limner", list(words))
    name, serve, rest = command.resolve_command(context, [*context._protected_args, *context.args])  # type: ignore[attr-defined]
    assert name == "serve"
    assert serve is not None
    given: dict[str, object] = serve.make_context("serve", rest, parent=context).params
    return given


@pytest.mark.parametrize("name", IMAGES)
def test_only_known_instructions_are_used_and_the_first_is_from(name: str) -> None:
    known = {"FROM", "ARG", "ENV", "WORKDIR", "RUN", "COPY", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL"}
    keywords = [keyword for keyword, _ in instructions(name)]
    assert set(keywords) <= known | {"ENTRYPOINT", "CMD"}
    assert keywords[0] == "FROM"


@pytest.mark.parametrize("name", IMAGES)
def test_base_images_name_their_version(name: str) -> None:
    for stage in stages(name):
        image = stage[0][1].split()[0]
        assert re.fullmatch(r"python:3\.1[123]-slim-[a-z]+", image), image


@pytest.mark.parametrize("name", IMAGES)
def test_the_final_image_is_not_built_in_and_does_not_run_as_root(name: str) -> None:
    final = stages(name)[-1]
    assert not any("pip install" in rest for _, rest in final)
    assert last(name, "USER") == "10001"
    made = next(rest for keyword, rest in final if keyword == "RUN")
    assert "--uid 10001" in made
    assert "-m 0700 /data" in made
    keywords = [keyword for keyword, _ in final]
    assert keywords.index("USER") < keywords.index("ENTRYPOINT")


@pytest.mark.parametrize("name", IMAGES)
def test_versions_are_the_known_set_and_nothing_is_kept_of_the_build(name: str) -> None:
    installs = [rest for _, rest in instructions(name) if "pip install" in rest]
    assert installs
    assert all("-c constraints.txt" in rest for rest in installs)
    assert any("PIP_NO_CACHE_DIR=1" in rest for keyword, rest in instructions(name) if keyword == "ENV")


@pytest.mark.parametrize("name", IMAGES)
def test_what_is_copied_is_there_and_let_in(name: str) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for keyword, rest in instructions(name) if keyword == "COPY" and "--from" not in rest]
    for source in [each for sources in copied for each in sources]:
        assert (ROOT / source).exists(), source
        assert source in allowed


@pytest.mark.parametrize("name", IMAGES)
def test_the_server_in_the_image_asks_for_keys_and_is_looked_after(name: str) -> None:
    assert json.loads(last(name, "ENTRYPOINT")) == ["limner"]
    given = understood(json.loads(last(name, "CMD")))
    assert given["keys_required"] is True
    assert str(given["port"]) == last(name, "EXPOSE")
    assert str(given["data"]) == last(name, "VOLUME")
    assert given["device"] == ("cuda" if name.endswith("cuda") else "auto")
    check = last(name, "HEALTHCHECK")
    options, _, command = check.partition("CMD ")
    assert {"--interval", "--timeout", "--retries"} <= {word.partition("=")[0] for word in options.split()}
    program = json.loads(command)
    assert program[:2] == ["python", "-c"]
    assert f":{given['port']}/readyz" in program[2]
    compile(program[2], "healthcheck", "exec")


@pytest.mark.parametrize("name", IMAGES)
def test_each_build_makes_sure_that_it_has_the_torch_it_is_for(name: str) -> None:
    (program,) = re.findall(r'python -c "(.*?)"', " ".join(rest for keyword, rest in stages(name)[0] if keyword == "RUN"))
    compile(program, "torch", "exec")
    assert "torch.version.cuda" in program


def test_the_unit_starts_a_server_that_asks_for_keys_on_this_machine_only() -> None:
    (line,) = unit()["Service"]["ExecStart"]
    program, *words = shlex.split(line)
    given = understood(words)
    assert program.endswith("/bin/limner")
    assert (given["host"], given["keys_required"]) == ("127.0.0.1", True)
    assert str(given["data"]) == f"/var/lib/{unit()['Service']['StateDirectory'][0]}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("User", "limner"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectKernelModules", "yes"),
        ("ProtectControlGroups", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("LockPersonality", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("SystemCallArchitectures", "native"),
        ("StateDirectoryMode", "0700"),
        ("UMask", "0077"),
        ("Restart", "on-failure"),
    ],
)
def test_the_unit_gives_the_server_no_more_than_it_needs(name: str, value: str) -> None:
    assert unit()["Service"][name] == [value]


def test_the_unit_bounds_what_the_server_takes_and_filters_its_calls() -> None:
    service = unit()["Service"]
    assert {"MemoryMax", "TasksMax", "LimitNOFILE", "TimeoutStopSec"} <= service.keys()
    assert service["SystemCallFilter"] == ["@system-service", "~@privileged @mount"]
    assert unit()["Install"]["WantedBy"] == ["multi-user.target"]
