"""Links to pictures that need no key, cannot be made up, and end: /files/ID.png?e=1767225600&s=SIGNATURE.

The signature covers name, quality and end, under a secret of the data folder, so that a link outlives a restart.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import time
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

from limner.errors import LimnerError

FILE = "links.key"
_BYTES = 32


class Link(NamedTuple):
    """A link that was found good."""

    picture: str  # id
    ending: str  # png, jpeg or webp
    quality: int | None  # of jpeg and webp; None = as good as limner writes them


class Links:
    """Signs links and checks them."""

    def __init__(self, secret: bytes, seconds: int) -> None:
        self._secret = secret
        self._seconds = seconds

    def make(self, base: str, picture: str, ending: str, quality: int | None = None, *, now: float | None = None) -> str:
        """A link that works for the set time from now. `base` is the address of the server, without a slash at its end."""
        end = int(time.time() if now is None else now) + self._seconds
        wanted = {"e": str(end)} | ({} if quality is None else {"q": str(quality)})
        name = f"{picture}.{ending}"
        return f"{base}/files/{name}?{urlencode(wanted | {'s': self._sign(name, wanted)})}"

    def open(self, name: str, query: dict[str, str], *, now: float | None = None) -> Link | None:
        """What a link leads to; None for one that was not signed here or has ended."""
        wanted: dict[str, str] = {key: query[key] for key in ("e", "q") if key in query}
        good = hmac.compare_digest(self._sign(name, wanted).encode(), query.get("s", "").encode("utf-8", "replace"))
        if not good or int(wanted.get("e", "0")) < (time.time() if now is None else now):
            return None
        picture, _, ending = name.rpartition(".")
        return Link(picture, ending, int(wanted["q"]) if "q" in wanted else None)

    def _sign(self, name: str, wanted: dict[str, str]) -> str:
        text = f"{name}?{urlencode(wanted)}"
        return hmac.new(self._secret, text.encode("utf-8", "replace"), "sha256").hexdigest()


def of_folder(data: Path, seconds: int) -> Links:
    """The links of a data folder; its secret is made when there is none yet, readable by its owner alone.

    Raises: LimnerError when the folder cannot be written.
    """
    path = data / FILE
    try:
        data.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            fresh = path.with_name(f"{FILE}.{secrets.token_hex(6)}")
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(_BYTES))
            try:
                os.link(fresh, path)  # whole or not at all, also when two servers start at once
            finally:
                fresh.unlink()
        secret = path.read_bytes()
    except OSError as error:
        raise LimnerError(f"{path}: cannot be read or written ({error.strerror or error}); give another --data") from None
    if len(secret) != _BYTES:
        raise LimnerError(f"{path}: holds {len(secret)} bytes instead of {_BYTES}; delete it, links made before will end")
    return Links(secret, seconds)
