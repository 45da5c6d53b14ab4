from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from limner.errors import ConfigError, InputError
from limner.serving import keys
from limner.serving.keys import KeyFile


@pytest.fixture
def file(tmp_path: Path) -> Iterator[KeyFile]:
    with closing(KeyFile(tmp_path / "data")) as file:
        yield file


def test_a_new_key_is_found_by_itself_and_by_nothing_else(file: KeyFile) -> None:
    key, token = file.add("a program")
    found = file.find(token)
    assert found is not None
    assert found.id == key.id
    assert file.find(token[:-1]) is None
    assert file.find(key.id) is None
    assert file.find("") is None
    assert file.find(token + "x" * 1000) is None


def test_keys_hold_256_random_bits_and_never_repeat(file: KeyFile) -> None:
    tokens = {file.add("x")[1] for _ in range(20)}
    assert len(tokens) == 20
    assert all(len(token.removeprefix(keys.PREFIX)) == 43 for token in tokens)  # 32 bytes in base64


def test_the_file_does_not_hold_the_key(file: KeyFile) -> None:
    _, token = file.add("secret")
    file.find(token)
    written = b"".join(path.read_bytes() for path in file.path.parent.iterdir())
    assert b"secret" in written
    assert token.removeprefix(keys.PREFIX).encode() not in written


def test_only_the_owner_may_read_the_file(file: KeyFile) -> None:
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_revoked_key_is_known_as_such_at_once_in_another_process(file: KeyFile) -> None:
    key, token = file.add("x")
    with closing(KeyFile(file.path.parent)) as other:  # as the command line beside a server has it
        revoked = other.revoke(key.id)
    found = file.find(token)
    assert found is not None
    assert found.revoked == revoked.revoked is not None


def test_revoking_twice_keeps_the_first_time(file: KeyFile) -> None:
    key, _ = file.add("x")
    assert file.revoke(key.id).revoked == file.revoke(key.id).revoked


def test_an_unknown_id_cannot_be_revoked(file: KeyFile) -> None:
    with pytest.raises(InputError, match=r"none with the id 'nobody'.*keys list"):
        file.revoke("nobody")


def test_the_list_tells_limits_and_last_use_oldest_first(file: KeyFile) -> None:
    first, token = file.add("first", requests=5)
    file.add("second", pictures=7)
    assert file.all()[0].used is None
    file.find(token)
    listed = file.all()
    assert [(key.label, key.requests, key.pictures) for key in listed] == [("first", 5, None), ("second", None, 7)]
    assert listed[0].used is not None
    assert listed[0].used >= first.created


def test_a_last_use_is_noted_once_a_minute_only(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    _, token = file.add("x")
    now = file.all()[0].created
    seen = []
    for seconds in (0, 59, 61):
        monkeypatch.setattr(keys.time, "time", lambda: now + seconds)  # noqa: B023 (used before it changes)
        file.find(token)
        seen.append(file.all()[0].used)
    assert seen == [now, now, now + 61]


@pytest.mark.parametrize("label", ["", "  ", "x" * 201, "two\nlines", "\x00"])
def test_a_label_must_be_a_line(file: KeyFile, label: str) -> None:
    with pytest.raises(InputError, match="label"):
        file.add(label)


@pytest.mark.parametrize("limit", [0, -1, 2**40])
def test_limits_must_be_positive(file: KeyFile, limit: int) -> None:
    with pytest.raises(InputError, match="requests per minute"):
        file.add("x", requests=limit)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / keys.FILE).write_text("not a database, but long enough to be looked at " * 10)
    with pytest.raises(ConfigError, match=r"keys\.sqlite.*--data"):
        KeyFile(tmp_path)


def test_a_transaction_that_fails_leaves_nothing(file: KeyFile) -> None:
    key, _ = file.add("x")

    def half() -> None:
        with file.writing() as database:
            database.execute("UPDATE key SET label = 'y' WHERE id = ?", (key.id,))
            database.execute("UPDATE key SET label = NULL WHERE id = ?", (key.id,))

    with pytest.raises(sqlite3.IntegrityError):
        half()
    assert file.all()[0].label == "x"


def test_many_threads_can_ask_at_once(file: KeyFile) -> None:
    made = [file.add(str(number)) for number in range(8)]
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda token=token: found.append(file.find(token).id))  # type: ignore[union-attr]
        for _, token in made
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(key.id for key, _ in made for _ in range(5))


def test_strangers_are_told_apart_by_token_and_address() -> None:
    assert keys.stranger("a", "1.2.3.4") == keys.stranger("a", "1.2.3.4")
    assert len({keys.stranger(token, address) for token in ("a", "b", None) for address in ("1", "2")}) == 6
