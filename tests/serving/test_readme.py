"""The serving section of the README, as people would copy it, against a tiny stand-in for the model in the box."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner import catalog
from tests.serving.conftest import Server, png, running, settings_for

PAGE = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## Serving") :].partition("\n## ")[0]
CURLS = re.findall(r"^curl .*$", SECTION, re.MULTILINE)
ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def emoji(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(tiny, folder / "models" / "glide-emoji")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "_bundled_root", lambda: folder / "models")
        with running(settings_for(folder / "models" / "glide-emoji", folder / "data", model="glide-emoji")) as server:
            yield server


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize("line", CURLS, ids=lambda line: line.split()[2].rpartition("/")[2])
def test_a_curl_line_of_the_readme_is_answered(emoji: Server, line: str, tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_bytes(png())
    (tmp_path / "mask.png").write_bytes(png(hole=(0, 0, 8, 8)))
    assert ADDRESS in line
    command = shlex.split(line.replace(ADDRESS, emoji.url))
    answer = json.loads(subprocess.run(command, cwd=tmp_path, capture_output=True, check=True, timeout=60).stdout)
    assert answer["data"], answer


def test_the_python_of_the_readme_draws(emoji: Server, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```py\n(.*?)```", SECTION, re.DOTALL)
    assert ADDRESS in code
    names: dict[str, object] = {}
    exec(compile(code.replace(ADDRESS, emoji.url), "README.md", "exec"), names)
    names["client"].close()  # type: ignore[attr-defined]
    assert capsys.readouterr().out.startswith(f"{emoji.url}/files/")


def test_there_is_a_line_for_each_of_the_main_routes() -> None:
    assert [line.split()[2].rpartition("/")[2] for line in CURLS] == ["models", "generations", "edits"]
