"""Files from the network into a folder: resumed after a break, checked against their hash, from a mirror when one is named.

$LIMNER_MIRROR is put before host and path of every address; $LIMNER_OFFLINE forbids the network, and proxies are those of the
environment ($HTTPS_PROXY and its kin). Which files there are is `released`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import platformdirs

from limner.errors import DownloadError

if TYPE_CHECKING:
    import requests

ATTEMPTS = 5
TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
_PAUSE = 1.0  # seconds before the second attempt; twice as long before each further one
_PIECE = 2**16  # bytes; a break loses at most this much
_AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers after which a second attempt may help

Tell = Callable[[str, int, int], None]  # what is fetched, bytes that are here, bytes in all (0 = not known)


class Fetched(NamedTuple):
    """A file that is here."""

    path: Path
    sha256: str
    new: bool  # whether it came from the network just now


def fetch(
    address: str, folder: Path, name: str, *, sha256: str = "", offline: bool = False, progress: Tell | None = None
) -> Fetched:
    """A file by its address; one that is in the folder already is only checked.

    Without a published hash, that of the first download is written beside the file and holds from then on.

    Raises: DownloadError in one line when the network, the server or the disk says no, or the hash is wrong.
    """
    path = folder / name
    wanted = sha256 or _recorded(path)
    if path.is_file():
        found = _hash(path)
        if not wanted or found == wanted:
            return Fetched(path, _record(path, found), new=False)
    if offline or os.environ.get("LIMNER_OFFLINE", "") not in ("", "0"):
        state = "is damaged" if path.is_file() else "is not here"
        raise DownloadError(f"{name}: {state}, and limner is offline; fetch it with a network, or put it at {path}")
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")
    here = mirrored(address)
    path.unlink(missing_ok=True)
    try:
        pooch.retrieve(
            here,
            known_hash=f"sha256:{wanted}" if wanted else None,
            fname=path.name,
            path=path.parent,
            downloader=_Resuming(path.with_name(f"{path.name}.part"), name, progress),
        )
    except ValueError:
        raise DownloadError(
            f"{here}: what came is not what was published: its sha256 is not {wanted[:12]}...; nothing was kept; try again, "
            "or ask whoever runs the server"
        ) from None
    except requests.RequestException as error:
        raise DownloadError(f"{here}: {_reason(error)}; run it again to go on from where it stopped") from None
    except OSError as error:
        raise DownloadError(f"{path}: cannot be written ({error.strerror or error})") from None
    return Fetched(path, _record(path, _hash(path)), new=True)


def mirrored(address: str) -> str:
    """The address under $LIMNER_MIRROR, when there is one: mirror/host/path."""
    mirror = os.environ.get("LIMNER_MIRROR", "").rstrip("/")
    parts = urlsplit(address)
    return f"{mirror}/{parts.netloc}{parts.path}" if mirror else address


def from_hub(repository: str, name: str, folder: Path, *, offline: bool = False, progress: Tell | None = None) -> Fetched:
    """A file of a Hugging Face repository, through huggingface_hub, which brings its own mirrors, tokens and resumption.

    Raises: DownloadError when the library is not installed, or says no.
    """
    try:
        import huggingface_hub
    except ImportError:
        raise DownloadError(f"{repository}: lies in a Hugging Face repository; pip install 'limner[hub]' to fetch it") from None
    offline = offline or os.environ.get("LIMNER_OFFLINE", "") not in ("", "0")
    if progress:
        progress(name, 0, 0)
    try:
        path = Path(_from_hub(huggingface_hub, repository, name, folder, offline))
    except Exception as error:  # noqa: BLE001 (the library has many kinds of failure, and wraps those of others)
        told = " ".join(str(error).split())[:160]
        raise DownloadError(f"{repository}: {name} cannot be fetched ({type(error).__name__}: {told})") from None
    return Fetched(path, _record(path, _hash(path)), new=True)


def _from_hub(library: Any, repository: str, name: str, folder: Path, offline: bool) -> str:
    """Where the library put a file; one that is not there in safetensors may be there as torch saved it."""
    older = name.replace("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    older = older.replace("/model.safetensors", "/pytorch_model.bin")
    try:
        return str(library.hf_hub_download(repository, name, local_dir=folder, local_files_only=offline))
    except Exception as error:
        if older == name or "EntryNotFound" not in type(error).__name__:
            raise
        return str(library.hf_hub_download(repository, older, local_dir=folder, local_files_only=offline))


def cache_root() -> Path:
    """Where downloads are kept: $LIMNER_CACHE, else the platform's folder for what can be fetched again."""
    chosen = os.environ.get("LIMNER_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("limner"))


class _Resuming:
    """A downloader for pooch: keeps what has come in a part file, and asks for the rest of it."""

    def __init__(self, part: Path, name: str, progress: Tell | None) -> None:
        self.part, self.name, self.progress = part, name, progress
        self.mark = part.with_name(f"{part.name}.etag")  # what the part is a part of

    def __call__(self, url: str, output: str, _pooch: Any) -> None:
        import requests

        for attempt in range(ATTEMPTS):
            try:
                self._rest(url)
                break
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError):
                if attempt == ATTEMPTS - 1:
                    raise
            except requests.HTTPError as error:
                if error.response is None or error.response.status_code not in _AGAIN or attempt == ATTEMPTS - 1:
                    raise
            time.sleep(_PAUSE * 2**attempt)
        self.mark.unlink(missing_ok=True)
        self.part.replace(output)

    def _rest(self, url: str) -> None:
        """Ask for what is missing and append it; begin anew when the server has another file or cannot go on."""
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        mark = self.mark.read_text(encoding="utf-8") if self.mark.exists() else ""
        ask = {"Accept-Encoding": "identity"}  # packed answers cannot be gone on with
        if have and mark:
            ask |= {"Range": f"bytes={have}-", "If-Range": mark}
        with requests.get(url, headers=ask, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == 416:  # the part is as long as the file, or longer: it is not trusted
                self.part.unlink(missing_ok=True)
                raise requests.ConnectionError("the file has changed; beginning anew")
            answer.raise_for_status()
            start = _start(answer) if answer.status_code == 206 else 0
            if start not in (0, have):
                raise requests.ConnectionError("the server went on at another place")
            etag = answer.headers.get("ETag", "W/")
            strong = "" if etag.startswith("W/") else etag  # a weak one may stand for other bytes
            self.mark.write_text(strong or answer.headers.get("Last-Modified", ""), encoding="utf-8")
            length = int(answer.headers.get("Content-Length", 0) or 0)
            self._room(length)
            self._append(answer, start, start + length if length else 0)

    def _append(self, answer: requests.Response, start: int, total: int) -> None:
        import requests

        here = start
        with self.part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for piece in answer.iter_content(_PIECE):
                file.write(piece)
                here += len(piece)
                if self.progress:
                    self.progress(self.name, here, total)
        if total and here != total:
            raise requests.ConnectionError(f"{here} of {total} bytes came")

    def _room(self, length: int) -> None:
        free = shutil.disk_usage(self.part.parent).free
        if length > free:
            raise DownloadError(
                f"{self.part.parent}: {length / 2**30:.2f} GB are to come, {free / 2**30:.2f} GB are free; make room, "
                "or name another folder with LIMNER_CACHE"
            )


def _start(answer: requests.Response) -> int:
    found = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(found[1]) if found else -1


def _reason(error: requests.RequestException) -> str:
    import requests

    if error.response is not None:
        return f"the server says {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return f"the server was silent for {TIMEOUT[1]:g} seconds"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection could not be made, or broke"
    return " ".join(str(error).split())[:120]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _recorded(path: Path) -> str:
    """The hash written at the first download; nothing when there was none."""
    note = path.with_name(f"{path.name}.sha256")
    return note.read_text(encoding="utf-8").strip()[:64] if note.is_file() else ""


def _record(path: Path, found: str) -> str:
    path.with_name(f"{path.name}.sha256").write_text(f"{found}\n", encoding="utf-8")
    return found
