"""Pictures: files and PIL <-> tensors in [-1, 1], crops and sizes, grids with labels.

`open_picture` is the only door through which a foreign file enters: it refuses bombs and broken files with one line.
What travels inside a written picture is in `recipe.py`.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.nn import functional

from limner.errors import InputError, ShapeError

LARGEST = 64 * 2**20  # pixels; above this a picture is refused before it is decoded
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "ICO", "TGA")  # nothing that runs a program (EPS)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_ODD = {"F": "floating-point", "LAB": "CIELAB"}  # modes that are refused
_DEEP = "its 16 bits a channel became 8"


class Opened(NamedTuple):
    """A picture as upright 8-bit RGB, and in words what of the file is not in it; () for most files."""

    picture: Image.Image
    lost: tuple[str, ...]


def open_picture(source: str | Path | bytes, *, ground: str = "white") -> Image.Image:
    """A picture as upright 8-bit RGB: first frame, EXIF rotation applied, transparency laid on `ground`.

    Raises: InputError for a file that is missing, empty, broken, truncated, not a picture, or of more than 64 Mpixel.
    """
    where, data = read_bytes(source)
    return decoded(data, where, ground=ground).picture


def decoded(data: bytes, where: str, *, ground: str = "white") -> Opened:
    """The same from a file's content, with what was lost on the way; `where` is its name in messages. Raises: as there."""
    with peek(data, where) as picture, quiet():
        try:
            deep = any("16" in str(tile[3]) for tile in getattr(picture, "tile", ()))  # Pillow cuts 16-bit colours to 8
            picture.load()
            opened = flat(picture, where, ground=ground)
            return opened._replace(lost=(*opened.lost, _DEEP)) if deep and _DEEP not in opened.lost else opened
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 (decoders raise OSError, SyntaxError, ValueError, struct.error, KeyError...)
            raise InputError(f"{where}: the picture is broken or truncated ({_reason(error)})") from None


def flat(picture: Image.Image, where: str = "picture", *, ground: str = "white") -> Opened:
    """An opened picture as upright 8-bit RGB, with what was lost on the way.

    Raises: InputError for pixels that are no colours of 8 or 16 bits, or when there are none.
    """
    if 0 in picture.size:
        raise InputError(f"{where}: has {picture.width}x{picture.height} pixels; there is nothing to be seen")
    lost = []
    if getattr(picture, "n_frames", 1) > 1:
        lost.append(f"it has {getattr(picture, 'n_frames', 1)} frames; frame {picture.tell() + 1} is used")
    if picture.mode == "CMYK":
        lost.append("CMYK became RGB")
    if picture.mode.startswith("I"):
        lost.append(_DEEP)
    upright = ImageOps.exif_transpose(picture)
    if upright.has_transparency_data and upright.convert("RGBA").getchannel("A").getextrema() != (255, 255):
        lost.append(f"what is transparent became {ground}")
    return Opened(_rgb(upright, where, ground), tuple(lost))


def read_bytes(source: str | Path | bytes) -> tuple[str, bytes]:
    """What to call a source in a message, and its content.

    Raises: InputError when the file cannot be read or is empty, or the source is of another kind (an array, None).
    """
    if isinstance(source, bytes):
        where, data = "picture", source
    else:
        where = str(source)
        try:
            data = Path(source).read_bytes()
        except OSError as error:
            raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None
        except TypeError:
            what = type(source).__name__
            raise InputError(f"{what}: not a picture; give a path, the bytes of a file, or an image of Pillow") from None
        except ValueError as error:  # a null character in the path
            raise InputError(f"{where!r}: not a file name ({error})") from None
    if not data:
        raise InputError(f"{where}: the file is empty")
    return where, data


def peek(data: bytes, where: str) -> Image.Image:
    """The header of a picture, its pixels not decoded yet.

    Raises: InputError for what is not a picture of a known format, or has more than 64 Mpixel.
    """
    try:
        with quiet():
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise InputError(f"{where}: not a picture in a format limner reads ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise InputError(f"{where}: more than {LARGEST // 2**20} Mpixel; make it smaller") from None
    except Exception as error:  # noqa: BLE001 (see open_picture)
        raise InputError(f"{where}: the header of the picture is broken ({_reason(error)})") from None
    width, height = picture.size
    if width * height > LARGEST:
        raise InputError(f"{where}: {width}x{height} is more than {LARGEST // 2**20} Mpixel; make it smaller")
    return picture


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Pillow warns of odd headers and of sizes; here a file is either read or refused with one line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def to_tensor(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of one size as a batch (GLIDE's rule: v / 127.5 - 1).

    Shapes: B pictures of W x H -> [B 3 H W] float32.
    Units:  0..255 -> [-1, 1].
    Raises: ShapeError when the sizes differ or there are none.
    """
    sizes = sorted({picture.size for picture in pictures})
    if len(sizes) != 1:
        raise ShapeError(f"a batch needs pictures of one size; got {', '.join(f'{w}x{h}' for w, h in sizes) or 'none'}")
    return pixels_to_tensor(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


def pixels_to_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """Bytes as a batch. Shapes: [B H W 3] uint8 -> [B 3 H W] float32. Units: 0..255 -> [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1  # [B 3 H W]


def rounded(x: Tensor) -> list[Image.Image]:
    """Pictures of a batch by GLIDE's rule, round((x + 1) * 127.5). Shapes: [B 3 H W]. Units: [-1, 1], clamped."""
    return _pictures(((x + 1) * 127.5).round())


def truncated(x: Tensor) -> list[Image.Image]:
    """Pictures of a batch by ADM's rule, (x + 1) * 127.5 cut down to an integer. Shapes: [B 3 H W]. Units: [-1, 1], clamped."""
    return _pictures((x + 1) * 127.5)


def snapped(x: Tensor) -> Tensor:
    """A sample as it would be after being stored in 8 bits, not clamped (GLIDE's upsampler input).

    Shapes: [B 3 H W] -> same. Units: [-1, 1].
    """
    return ((x + 1) * 127.5).round() / 127.5 - 1


def shrunk(x: Tensor, side: int) -> Tensor:
    """A batch made smaller by averaging areas, as super-resolution training data (ADM, released code).

    Shapes: [B C H W] -> [B C side side].
    """
    return functional.interpolate(x, (side, side), mode="area")


def square(picture: Image.Image, side: int) -> Image.Image:
    """The centre square of a picture, resized by Pillow's antialiased bicubic filter; `side` pixels wide."""
    crop = min(picture.size)
    left, top = (picture.width - crop) // 2, (picture.height - crop) // 2
    return picture.resize((side, side), Image.Resampling.BICUBIC, (left, top, left + crop, top + crop))


def adm_square(picture: Image.Image, side: int) -> Image.Image:
    """The centre square as ADM's training data: halved by box filter while twice too large, bicubic, then cropped."""
    while min(picture.size) >= 2 * side:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = side / min(picture.size)
    picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def clip_square(
    picture: Image.Image, side: int, *, mean: Sequence[float] = CLIP_MEAN, std: Sequence[float] = CLIP_STD
) -> Tensor:
    """A picture as CLIP's image tower wants it: shorter side bicubic, centre crop, normalised (CLIP, released code).

    Shapes: W x H -> [3 side side] float32.
    """
    width, height = picture.size
    short = min(width, height)
    size = (side * width // short, side * height // short)
    resized = picture.resize(size, Image.Resampling.BICUBIC).convert("RGB")
    left, top = (round((length - side) / 2) for length in size)
    pixels = np.array(resized.crop((left, top, left + side, top + side)))
    x = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255  # [3 side side]
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def dalle_square(picture: Image.Image, side: int) -> Tensor:
    """A picture as DALL-E's notebook prepares it: shorter side by Lanczos, centre crop; not mapped yet.

    Shapes: W x H -> [3 side side] float32.
    Units:  [0, 1].
    Raises: InputError for a picture that would have to be enlarged.
    """
    short = min(picture.size)
    if short < side:
        raise InputError(
            f"the picture is {picture.width}x{picture.height}, but its shorter side must have {side} pixels or more; enlarge it"
        )
    width, height = (round(side / short * length) for length in picture.size)
    resized = picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    left, top = (round((length - side) / 2) for length in resized.size)
    pixels = np.array(resized.crop((left, top, left + side, top + side)))
    return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255  # [3 side side]


def grid(pictures: Sequence[Image.Image], labels: Sequence[str] = (), columns: int | None = None) -> Image.Image:
    """Pictures side by side on white, each with its label beneath; near-square unless `columns` says otherwise.

    Raises: InputError without pictures, or with more labels than pictures.
    """
    if not pictures:
        raise InputError("a grid needs at least one picture; got none")
    if len(labels) > len(pictures):
        raise InputError(f"a grid of {len(pictures)} pictures cannot carry {len(labels)} labels")
    columns = columns or math.ceil(math.sqrt(len(pictures)))
    columns = max(1, min(columns, len(pictures)))
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    gap = max(2, width // 32)
    size = max(9, min(16, width // 12))
    font = ImageFont.load_default(size)
    texts = [_wrapped(text, font, width) for text in labels]
    line = size + size // 3
    beneath = line * max((len(rows) for rows in texts), default=0)
    down = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (columns * (width + gap) + gap, down * (height + beneath + gap) + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for k, picture in enumerate(pictures):
        x, y = gap + k % columns * (width + gap), gap + k // columns * (height + beneath + gap)
        sheet.paste(picture.convert("RGB"), (x + (width - picture.width) // 2, y + (height - picture.height) // 2))
        for row, text in enumerate(texts[k] if k < len(texts) else ()):
            left = x + (width - font.getlength(text)) / 2
            draw.text((left, y + height + row * line + 1), text, fill="black", font=font)
    return sheet


def _pictures(values: Tensor) -> list[Image.Image]:
    if values.ndim != 4 or values.shape[1] != 3:
        raise ShapeError(f"pictures are made from [B 3 H W]; got {list(values.shape)}")
    if not values.isfinite().all():
        raise InputError("the picture holds values that are not finite; draw it again in float32")
    pixels = values.detach().clamp(0, 255).to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()  # [B H W 3]
    return [Image.fromarray(np.ascontiguousarray(picture)) for picture in pixels]


def _rgb(picture: Image.Image, where: str, ground: str) -> Image.Image:
    if picture.mode == "RGB":
        return picture.copy()
    if picture.mode.startswith("I"):  # 16 bits a sample: scaled, where Pillow alone would clip
        values = np.asarray(picture).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            raise InputError(f"{where}: has integer values outside 0..65535; save it with 8 or 16 bits a channel")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")
    if picture.mode in ("F", "LAB"):
        raise InputError(f"{where}: has {_ODD[picture.mode]} pixels; save it as RGB with 8 or 16 bits a channel")
    if picture.has_transparency_data:
        over = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, ground), over).convert("RGB")
    return picture.convert("RGB")


def _reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:80]


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, most: int = 3) -> list[str]:
    """Lines that fit the width, at most `most`; the last ends in an ellipsis when words are left over."""
    rows: list[str] = [""]
    words = text.split()
    for word in words:
        longer = f"{rows[-1]} {word}".strip()
        if rows[-1] and font.getlength(longer) > width:
            rows.append(word)
        else:
            rows[-1] = longer
    if len(rows) > most:
        rows = [*rows[: most - 1], rows[most - 1] + " ..."]
    return [clipped(row, font, width) for row in rows]


def clipped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """A text cut to a width in pixels, the cut marked with dots."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
