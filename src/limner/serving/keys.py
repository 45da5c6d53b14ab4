"""API keys: made, listed, revoked, recognised. They lie hashed in `keys.sqlite` of the server's data folder.

A key is 256 random bits, so one SHA-256 is enough: there is no dictionary to try, and a slow hash would only let strangers
burn the server's time with wrong keys. Every request is looked up anew, so that a revoked key stops at once, in every replica.
How much a key may ask for is in `limits.py`; where requests are stopped, in `guards.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from limner.errors import ConfigError, InputError

if TYPE_CHECKING:
    from fastapi import Request

FILE = "keys.sqlite"
PREFIX = "limner-"
LONGEST = 200  # characters of a label, or of a key that is looked up
BUSY = 10.0  # seconds to wait for another process that writes
REMEMBER = 60.0  # seconds between two notes of a key's last use

_TABLES = """
CREATE TABLE IF NOT EXISTS key (
    id TEXT PRIMARY KEY, hash TEXT NOT NULL UNIQUE, label TEXT NOT NULL, created REAL NOT NULL,
    used REAL, revoked REAL, requests INTEGER, pictures INTEGER
);
CREATE TABLE IF NOT EXISTS bucket (
    owner TEXT NOT NULL, kind TEXT NOT NULL, tokens REAL NOT NULL, at REAL NOT NULL, PRIMARY KEY (owner, kind)
);
"""
_COLUMNS = "id, label, created, used, revoked, requests, pictures"


class Key(NamedTuple):
    """What is known of a key; the key itself is not. Times in seconds since 1970, limits per minute (None: the server's)."""

    id: str
    label: str
    created: float
    used: float | None
    revoked: float | None
    requests: int | None
    pictures: int | None


class KeyFile:
    """The keys of one data folder, and the buckets of `limits.py`. For any number of threads and processes."""

    def __init__(self, data: Path) -> None:
        self.path = data / FILE
        self._lock = threading.Lock()
        try:
            data.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            self._database = sqlite3.connect(self.path, timeout=BUSY, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from None
        try:
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.executescript(_TABLES)
        except sqlite3.Error as error:
            self.close()
            raise self._unusable(error) from None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, for one statement."""
        with self._lock:
            yield self._database

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """The database within one transaction that no other process can come between."""
        with self._lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    def add(self, label: str, *, requests: int | None = None, pictures: int | None = None) -> tuple[Key, str]:
        """A new key: what is known of it, and the key itself, which cannot be had again.

        Raises: InputError for a label that is empty, too long or not of printable characters, or a limit below one.
        """
        label = label.strip()
        if not label or len(label) > LONGEST or not label.isprintable():
            raise InputError(f"label: write 1 to {LONGEST} printable characters that say who the key is for")
        for name, limit in (("requests", requests), ("pictures", pictures)):
            if limit is not None and not 1 <= limit < 2**31:
                raise InputError(f"{name} per minute: must be 1 or more; got {limit}; leave it away for the server's limit")
        token = PREFIX + secrets.token_urlsafe(32)
        key = Key(secrets.token_hex(6), label, time.time(), None, None, requests, pictures)
        with self.writing() as database:
            database.execute(f"INSERT INTO key (hash, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (_hash(token), *key))
        return key, token

    def all(self) -> list[Key]:
        """Every key that was ever made, oldest first, the revoked ones too."""
        with self.reading() as database:
            return [Key(*row) for row in database.execute(f"SELECT {_COLUMNS} FROM key ORDER BY created, id")]

    def revoke(self, id: str) -> Key:
        """Make a key worthless from now on; the first time counts.

        Raises: InputError when there is no such key.
        """
        with self.writing() as database:
            database.execute("UPDATE key SET revoked = ? WHERE id = ? AND revoked IS NULL", (time.time(), id))
            row = database.execute(f"SELECT {_COLUMNS} FROM key WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise InputError(f"keys: there is none with the id '{id[:40]}'; `limner serve keys list` shows their ids")
        return Key(*row)

    def find(self, token: str) -> Key | None:
        """The key that a request carries, also when it is revoked; its last use is noted, to the minute."""
        if not token or len(token) > LONGEST:
            return None
        with self.reading() as database:
            row = database.execute(f"SELECT {_COLUMNS} FROM key WHERE hash = ?", (_hash(token),)).fetchone()
        if row is None:
            return None
        key, now = Key(*row), time.time()
        if key.revoked is None and (key.used is None or now - key.used > REMEMBER):
            with self.writing() as database:
                database.execute("UPDATE key SET used = ? WHERE id = ?", (now, key.id))
        return key

    def _unusable(self, error: Exception) -> ConfigError:
        return ConfigError(f"{self.path}: cannot be used as the file of keys ({error}); give another --data")


def client_of(request: Request) -> str:
    """Who sent a request, as `guards.KeyGuard` found it: a key's id, or what stands for a stranger. A FastAPI dependency."""
    client: str = request.state.client
    return client


def stranger(token: str | None, address: str) -> str:
    """What stands for someone without a known key where none is needed: the same for the same token and address."""
    return "any-" + hashlib.sha256(f"{address}\n{token or ''}".encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
