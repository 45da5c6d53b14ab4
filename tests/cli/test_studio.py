"""`limner studio` before it serves."""

from __future__ import annotations

import importlib.util
import socket

import pytest

from limner.cli import app, studio


def test_without_gradio_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gradio" else object())
    assert app.run(["studio", "--no-browser"]) == 2
    assert "gradio is not installed; run: pip install 'limner[studio]'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert app.run(["studio", "--no-browser", "--port", str(port)]) == 1
    assert f"127.0.0.1:{port}: cannot be listened on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "named"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]")]
)
def test_the_address_that_is_said_can_be_opened(host: str, named: str) -> None:
    assert studio.named(host) == named
