"""`limner serve keys`, as a group of its own: how it hangs on `limner serve` is in test_serve.py."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import typer

from limner.cli import serve_keys
from limner.errors import InputError
from limner.serving.keys import KeyFile


@pytest.fixture
def keys(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Any:
    def run(*args: str) -> tuple[int, str, str]:
        command = typer.main.get_command(serve_keys.app)
        capsys.readouterr()
        code = command.main([*args, "--data", str(tmp_path / "server")], "keys", standalone_mode=False)
        said = capsys.readouterr()
        return code or 0, said.out, said.err

    return run


def test_a_key_is_shown_once_and_works(keys: Any, tmp_path: Path) -> None:
    code, out, err = keys("add", "my program", "--requests", "60")
    token = out.strip()
    with closing(KeyFile(tmp_path / "server")) as file:
        found = file.find(token)
    assert code == 0
    assert found is not None
    assert (found.label, found.requests, found.pictures) == ("my program", 60, None)
    assert "only its hash is kept" in err
    assert token not in keys("list")[1] + keys("list", "--json")[1]


def test_the_list_shows_what_is_known_of_each(keys: Any) -> None:
    keys("add", "first")
    keys("add", "second", "--pictures", "9")
    first, second = keys("list")[1].splitlines()
    assert "first" in first
    assert "used never" in first
    assert "requests -, pictures 9" in second
    assert [json.loads(line)["label"] for line in keys("list", "--json")[1].splitlines()] == ["first", "second"]


def test_no_keys_yet_is_said_with_how_to_make_one(keys: Any) -> None:
    code, out, err = keys("list")
    assert (code, out) == (0, "")
    assert "keys add" in err


def test_a_revoked_key_stays_in_the_list_as_such(keys: Any, tmp_path: Path) -> None:
    made = json.loads(keys("add", "x", "--json")[1])
    code, out, _ = keys("revoke", made["id"])
    assert code == 0
    assert "is revoked" in out
    assert "revoked 2" in keys("list")[1]
    with closing(KeyFile(tmp_path / "server")) as file:
        found = file.find(made["key"])
    assert found is not None
    assert found.revoked is not None


def test_an_id_that_does_not_exist_is_an_error_of_usage(keys: Any) -> None:
    code, out, err = keys("revoke", "zzz")
    assert (code, out) == (InputError.exit_code, "")
    assert "none with the id 'zzz'" in err
