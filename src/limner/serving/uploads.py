"""Pictures that strangers send: bounded before they are decoded, told by their content, and handed on clean.

What leaves this room is a PNG that limner wrote itself: upright, 8 bits a channel, its alpha kept, nothing else of the file.
The name and the media type of an upload are never looked at. How many bytes a whole request may have is in `guards.py`.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, NamedTuple

import anyio
from anyio import to_thread
from PIL import Image, ImageOps

from limner import images
from limner.errors import InputError

if TYPE_CHECKING:
    from starlette.datastructures import FormData, UploadFile
    from starlette.requests import Request

MEGABYTE = 2**20
LIMIT = 50 * MEGABYTE  # bytes of one picture (Images API: less than 50 MB)
PIXELS = 16 * 2**20  # 4096 x 4096; decoded with alpha this is 64 MB
FILES = 18  # 16 pictures, a mask, and one more so that the 17th picture is told of by name
FIELDS = 64
SCANS = 100  # passes over a progressive JPEG; ordinary ones have 10, and each costs a full decoding
FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "WEBP": "WebP", "GIF": "GIF"}  # what people send; fewer decoders, fewer holes

_DECODING = anyio.CapacityLimiter(2)  # pictures at the same time, so that memory stays bounded whatever arrives


class Clean(NamedTuple):
    """An upload after it was looked through."""

    data: bytes  # PNG
    width: int
    height: int
    format: str  # what it was sent as
    alpha: bool


async def form(request: Request) -> FormData:
    """The fields and files of a multipart request, as many as the Images API knows and no more.

    Raises: HTTPException 400 (Starlette's) for a body that is no form or has too many parts.
    """
    return await request.form(max_files=FILES, max_fields=FIELDS, max_part_size=MEGABYTE)


async def read(upload: UploadFile, *, limit: int = LIMIT, param: str = "image") -> bytes:
    """An uploaded picture as a clean PNG; see `clean`. `param` is what messages call it."""
    return (await look(upload, limit=limit, param=param)).data


async def look(upload: UploadFile, *, limit: int = LIMIT, param: str = "image") -> Clean:
    """An uploaded picture with what is known of it; decoded in a thread, two at a time in the whole server.

    Raises: InputError for what `clean` refuses, or more than `limit` bytes.
    """
    data = await upload.read(limit + 1)
    return await to_thread.run_sync(lambda: clean(data, limit=limit, param=param), limiter=_DECODING)


def clean(data: bytes, *, limit: int = LIMIT, param: str = "image", pixels: int = PIXELS) -> Clean:
    """Look through an upload and write it anew: EXIF rotation applied, metadata gone, mode RGB or RGBA.

    Colour profiles are dropped unread; the values of the pixels stay.

    Raises: InputError for an empty file, more than `limit` bytes or `pixels` pixels, no PNG, JPEG, WebP or GIF, more than
        one frame, or a picture that is broken.
    """
    if not data:
        raise InputError(f"{param}: the file is empty")
    if len(data) > limit:
        raise InputError(f"{param}: has more than {limit / MEGABYTE:g} MB; send a smaller file")
    kind = sniff(data)
    if kind is None:
        raise InputError(f"{param}: not a picture in a format this server takes ({', '.join(FORMATS.values())})")
    if kind == "JPEG" and data.count(b"\xff\xda") > SCANS:
        raise InputError(f"{param}: a JPEG of more than {SCANS} scans; save it as an ordinary JPEG or a PNG")
    try:
        with images.quiet(), Image.open(io.BytesIO(data), formats=[kind]) as picture:  # no decoder but the one of its kind
            width, height = picture.size
            if width * height > pixels:
                raise InputError(f"{param}: {width}x{height} is more than {pixels // 2**20} Mpixel; make it smaller")
            frames = getattr(picture, "n_frames", 1)
            if frames != 1:
                raise InputError(f"{param}: has {frames} frames; send one still picture")
            picture.load()
            return _written(ImageOps.exif_transpose(picture), data, kind)
    except InputError:
        raise
    except Image.DecompressionBombError:
        raise InputError(f"{param}: more than {pixels // 2**20} Mpixel; make it smaller") from None
    except Exception as error:  # noqa: BLE001 (decoders raise OSError, SyntaxError, ValueError, struct.error, KeyError...)
        raise InputError(f"{param}: the picture is broken or truncated ({type(error).__name__})") from None


def sniff(data: bytes) -> str | None:
    """The format of a picture by its first bytes; None for what is not taken."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _written(picture: Image.Image, data: bytes, kind: str) -> Clean:
    alpha = picture.has_transparency_data
    if alpha:
        bare = picture.convert("RGBA")
    elif picture.mode in ("RGB", "L"):
        bare = picture.convert("RGB")
    else:  # 16 bits, palettes, CMYK: read as everywhere else in limner
        bare = images.open_picture(data)
    bare.info = {}  # whatever Pillow would write out again: profiles, comments, resolution
    file = io.BytesIO()
    bare.save(file, "PNG", compress_level=1)
    return Clean(file.getvalue(), bare.width, bare.height, FORMATS[kind], alpha)
