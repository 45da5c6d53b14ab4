"""`limner serve`: what it would serve, what it refuses, and that it serves until it is told to stop."""

from __future__ import annotations

import json
import logging
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from limner.cli import serve
from tests.cli.conftest import Limner


def test_a_dry_run_says_what_would_be_served_and_writes_nothing(limner: Limner) -> None:
    said = limner("serve", "--dry-run", "--json", "-m", "tiny", "--alias", "dall-e-3=glide-emoji", "--data", "served")
    facts = said.objects[0]
    assert "tiny" in facts["models"]
    assert (facts["aliases"]["dall-e-2"], facts["aliases"]["dall-e-3"]) == ("tiny", "glide-emoji")
    assert not Path("served").exists()


def test_a_dry_run_tells_people_what_each_model_can(limner: Limner) -> None:
    said = limner("serve", "--dry-run", "-m", "tiny")
    assert any(line.startswith("tiny: 16x16, draw, edit") for line in said.lines)
    assert "gpt-image-1: tiny" in said.lines


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["-m", "tinny"], 3, "'tinny' is not served; have: "),
        (["--alias", "dall-e-3"], 2, "write NAME=MODEL"),
        (["--alias", "dall-e-4=tiny"], 2, "'dall-e-4' is none of dall-e-2"),
        (["--models", "nowhere"], 3, "nowhere"),
        (["--dtype", "int3"], 2, "int3"),
        (["--port", "70000"], 2, "65535"),
        (["--public-url", "draw.example.org"], 2, "public_url: String should match pattern '^https?://"),
    ],
)
def test_what_cannot_be_served_is_said_at_once(limner: Limner, flags: list[str], code: int, words: str) -> None:
    said = limner("serve", "--dry-run", *flags)
    assert said.code == code
    assert words in said.err


def test_a_port_that_is_taken_is_said(limner: Limner) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = limner("serve", "-m", "tiny", "--port", str(port), "--data", "served")
    assert said.code == 1
    assert f"127.0.0.1:{port}: cannot be listened on (Address already in use)" in said.err


def test_a_missing_package_is_named_with_what_to_install(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "NEEDS", ("fastapi", "no_such_package"))
    said = limner("serve", "--dry-run")
    assert said.code == 2
    assert "no_such_package is not installed; run: pip install 'limner[serve]'" in said.err


def test_a_line_of_the_log_stays_one_line() -> None:
    record = logging.LogRecord("limner.serving", logging.INFO, "", 0, "request", None, None)
    record.facts = {"path": "/a\n12:00:00 accepted", "status": 404}
    line = serve._Lines().format(record)
    assert line.endswith("request path='/a\\n12:00:00 accepted' status=404")


def test_it_serves_until_it_is_told_to_stop(tiny: Path) -> None:
    """In a process of its own, as people start it; its log is one JSON object a line."""
    command = [sys.executable, "-m", "limner", "serve", "--port", "0", "-m", "tiny", "--data", "served"]
    command += ["--models", str(tiny), "--json", "--log-format", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            base = json.loads(process.stdout.readline())["base_url"]
            with urllib.request.urlopen(f"{base}/models/tiny", timeout=60) as answer:
                assert json.load(answer)["id"] == "tiny"
        finally:
            process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    lines = [json.loads(line) for line in err.splitlines()]
    assert any(line.get("event") == "request" and line["path"] == "/v1/models/tiny" for line in lines)
    assert process.returncode in (0, -signal.SIGTERM)
    assert (Path("served") / "limner.sqlite").is_file()
