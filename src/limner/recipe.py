"""What a picture was made from, and how it travels inside the file.

PNG carries `parameters` (in the syntax of the AUTOMATIC1111 web UI, for other people's viewers) and `limner` (JSON, for
`limner reproduce`); JPEG and WebP carry the JSON as EXIF UserComment. All carry an XMP packet that says, in IPTC's words,
that the picture is synthetic. Files appear whole or not at all, and never replace another.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import os
import re
import string
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import PIL.Image
from PIL import ExifTags
from PIL.PngImagePlugin import PngInfo
from pydantic import BaseModel, ConfigDict, Field

from limner import __version__
from limner.config import SystemSettings, dump, parse
from limner.errors import ConfigError, InputError, LimnerError
from limner.images import peek, quiet, read_bytes

PATTERN = "{seed}-{slug}-{i:03}.png"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_USER_COMMENT = 0x9286
_SOFTWARE = 0x0131
_MOST_EXIF = 65_000  # bytes; a JPEG segment holds 65,533
_SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/"
_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}  # Windows


class StageRecipe(BaseModel):
    """One stage of the cascade as it ran."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    weights: str  # sha256 of the safetensors file
    sampler: str
    steps: str  # a respacing, as in SamplingSettings
    guidance: float
    eta: float = 0.0
    temperature: float = 1.0


class Recipe(BaseModel):
    """Everything needed to draw the same picture again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1  # of this record; a reader refuses what it does not know
    verb: str = "draw"
    prompt: str
    negative: str = ""
    model: str
    licence: str = ""  # of the weights, as the model's settings state it
    config_hash: str  # of the system's settings, see `config_hash`
    seed: int
    index: int = 0  # of the picture among those of its seed; fixes its noise at any batch size
    stages: tuple[StageRecipe, ...]
    width: int = Field(ge=1)  # pixels
    height: int = Field(ge=1)
    limner: str = __version__
    torch: str = ""
    device: str = "cpu"
    dtype: str = "float32"
    parents: tuple[str, ...] = ()  # sha256 of the pictures this one was edited from
    extra: dict[str, Any] = {}  # what a verb needs beyond the above; plain JSON


@dataclass(frozen=True, eq=False)
class Image:
    """A drawn picture with its recipe; `picture` is an ordinary PIL image."""

    picture: PIL.Image.Image
    recipe: Recipe

    def save(self, out: str | Path = PATTERN, *, metadata: bool = True) -> Path:
        """Write the picture and return where it went; see `save`."""
        return save(self, out, metadata=metadata)

    def to_bytes(self, kind: str = "PNG", *, metadata: bool = True) -> bytes:
        """The picture as a file of kind PNG, JPEG or WEBP; see `encode`."""
        return encode(self.picture, self.recipe if metadata else None, kind)

    def _repr_png_(self) -> bytes:
        """Shown by notebooks."""
        return self.to_bytes()


def config_hash(settings: SystemSettings) -> str:
    """SHA-256 of a system's fully expanded settings."""
    return hashlib.sha256(dump(settings).encode()).hexdigest()


def save(image: Image, out: str | Path = PATTERN, *, metadata: bool = True) -> Path:
    """Write a picture under a name made from a pattern (see `file_name`); a taken name gets -2, -3, ...

    The suffix chooses the format: .png, .jpg, .jpeg or .webp. A folder (see `pattern_of`) is filled with names by `PATTERN`.

    Raises: ConfigError for a pattern that cannot be filled; LimnerError when the disk refuses, nothing is left behind then.
    """
    path = file_name(pattern_of(out), image.recipe)
    data = encode(image.picture, image.recipe if metadata else None, FORMATS[path.suffix.lower()])
    return write_new(path, data)


def pattern_of(out: str | Path) -> str | Path:
    """A pattern as it is; for a folder, one that exists or whose name ends in "/", `PATTERN` in it."""
    return Path(out, PATTERN) if str(out).endswith("/") or (out and Path(out).is_dir()) else out


def file_name(pattern: str | Path, recipe: Recipe) -> Path:
    """A path from a pattern with {seed}, {slug}, {i}, {model} and {date}, for example "{date}/{seed}-{slug}-{i:03}.png".

    `slug` is made of the prompt's letters and digits only, so that no prompt chooses a folder.

    Raises: ConfigError for an unknown field, a wrong format or a suffix that is not a picture's.
    """
    values = {
        "seed": recipe.seed,
        "slug": slug(recipe.prompt),
        "i": recipe.index,
        "model": slug(recipe.model),
        "date": datetime.date.today().isoformat(),
    }
    try:
        fields = [name for _, name, _, _ in string.Formatter().parse(str(pattern)) if name is not None]
        if unknown := [name for name in fields if name not in values]:
            raise ConfigError(f"{pattern}: no field {{{unknown[0]}}} in file names; have {', '.join(values)}")
        path = Path(str(pattern).format(**values))
    except ConfigError:
        raise
    except (ValueError, IndexError) as error:
        raise ConfigError(f"{pattern}: not a pattern for file names ({error})") from None
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"{pattern}: a picture's name must end in {', '.join(FORMATS)}")
    # A name that begins with "-" is taken for a flag by most commands.
    return path.with_name(f"minus{path.name}") if recipe.seed < 0 and path.name.startswith("-") else path


def slug(text: str, most: int = 40) -> str:
    """Letters and digits of a text in lower case, joined by '-'; "picture" when there are none; at most 120 bytes."""
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text[:1000]).lower())
    name = "-".join(words)[:most].strip("-")
    while len(name.encode("utf-8", "replace")) > 3 * most:
        name = name[:-1]
    return f"{name}-picture" if name in _RESERVED else name or "picture"


def encode(picture: PIL.Image.Image, recipe: Recipe | None, kind: str = "PNG", *, quality: int | None = None) -> bytes:
    """A picture as the bytes of a PNG, JPEG or WEBP (lossless) file; without a recipe it carries no metadata at all.

    `quality`, 0 to 100, makes JPEG and WEBP files smaller and their pictures worse.

    Raises: InputError for another kind, or a recipe too long for JPEG (64 KB).
    """
    file = io.BytesIO()
    match kind.upper():
        case "PNG":
            picture.save(file, "PNG", pnginfo=_png_info(recipe) if recipe else None)
        case "JPEG":
            picture.save(file, "JPEG", quality=95 if quality is None else quality, subsampling=0, **_exif(recipe, "JPEG"))
        case "WEBP":
            chosen = {"lossless": True} if quality is None else {"quality": quality}
            picture.save(file, "WEBP", **chosen, **_exif(recipe, "WEBP"))
        case _:
            raise InputError(f"pictures are written as PNG, JPEG or WEBP; got '{kind}'")
    return file.getvalue()


def read(source: str | Path | bytes) -> Recipe:
    """The recipe inside a picture that limner wrote.

    Raises: InputError when the file is no picture, carries no recipe, or one that is damaged or of a newer limner.
    """
    where, data = read_bytes(source)
    with peek(data, where) as picture, quiet():
        try:
            text = picture.info.get("limner") if picture.format == "PNG" else _user_comment(picture)
        except Exception as error:  # noqa: BLE001 (a broken EXIF block raises whatever Pillow trips over)
            raise InputError(f"{where}: the metadata is damaged ({type(error).__name__})") from None
    if not text:
        raise InputError(f"{where}: carries no limner recipe; another program may have removed it, or it was saved without")
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError(f"{where}: its limner recipe is damaged (not JSON)") from None
    if not isinstance(tree, dict):
        raise InputError(f"{where}: its limner recipe is damaged (not an object)")
    if tree.get("format") != 1:
        raise InputError(
            f"{where}: recipe format {tree.get('format')!r:.20} is unknown, this limner reads 1; install a newer limner"
        )
    try:
        return parse(Recipe, tree, where=where)
    except ConfigError as error:
        raise InputError(str(error)) from None


def parameters(recipe: Recipe) -> str:
    """The recipe as the AUTOMATIC1111 web UI writes it: prompt, negative prompt, one line of settings.

    Control characters become U+FFFD here; the JSON beside it keeps the prompt exactly.
    """
    facts: list[tuple[str, object]] = []
    if recipe.stages:
        first = recipe.stages[0]
        facts += [("Steps", first.steps), ("Sampler", first.sampler), ("CFG scale", f"{first.guidance:g}")]
    facts += [("Seed", recipe.seed), ("Image index", recipe.index), ("Size", f"{recipe.width}x{recipe.height}")]
    facts += [("Model", recipe.model)]
    if recipe.stages:
        facts += [("Model hash", recipe.stages[0].weights[:10])]
    for number, stage in enumerate(recipe.stages[1:], start=2):
        facts += [(f"Stage {number}", f"{stage.name}, {stage.sampler}, steps {stage.steps}, hash {stage.weights[:10]}")]
    facts += [("Version", f"limner {recipe.limner}")]
    settings = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in facts)
    negative = [f"Negative prompt: {_printable(recipe.negative)}"] if recipe.negative else []
    return "\n".join([_printable(recipe.prompt), *negative, settings])


def write_new(path: Path, data: bytes) -> Path:
    """Write a file that appears whole or not at all, and never over another: a taken name gets -2, -3, ...

    Raises: LimnerError when the disk refuses; nothing is left behind then.
    """
    fresh = path.with_name(f".{uuid.uuid4().hex[:12]}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return _placed(fresh, path)
        finally:
            with contextlib.suppress(OSError):
                fresh.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LimnerError(
            f"{path}: cannot write the picture ({reason}); nothing was left behind; free space or choose another folder"
        ) from None


def _placed(fresh: Path, path: Path) -> Path:
    """Give a finished file its name, or the next free one after it."""
    number, target = 1, path
    while True:
        try:
            os.link(fresh, target)  # unlike a rename, fails when the name is taken, even by another process
            return target
        except FileExistsError:
            number += 1
            target = path.with_name(f"{path.stem}-{number}{path.suffix}")
        except OSError:
            # No hard links here (FAT, some network disks): reserve the name, then put the finished file over it.
            try:
                target.open("xb").close()
            except FileExistsError:
                number += 1
                target = path.with_name(f"{path.stem}-{number}{path.suffix}")
                continue
            fresh.replace(target)
            return target


def _png_info(recipe: Recipe) -> PngInfo:
    info = PngInfo()
    info.add_text("parameters", parameters(recipe))  # becomes iTXt where Latin-1 does not reach
    info.add_text("limner", json.dumps(recipe.model_dump(mode="json")))  # ASCII: read the same by everybody
    info.add_itxt("XML:com.adobe.xmp", _xmp(recipe))
    return info


def _exif(recipe: Recipe | None, kind: str) -> dict[str, bytes]:
    if recipe is None:
        return {}
    text = json.dumps(recipe.model_dump(mode="json"), ensure_ascii=False)
    exif = PIL.Image.Exif()
    exif[_SOFTWARE] = f"limner {recipe.limner}"
    exif.get_ifd(ExifTags.IFD.Exif)[_USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    block = exif.tobytes()
    if kind == "JPEG" and len(block) > _MOST_EXIF:
        raise InputError(
            f"a JPEG holds {_MOST_EXIF} bytes of metadata, this recipe has {len(block)}; write PNG or WEBP, or no metadata"
        )
    return {"exif": block, "xmp": _xmp(recipe).encode()}


def _user_comment(picture: PIL.Image.Image) -> str | None:
    raw = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(_USER_COMMENT)
    if not isinstance(raw, bytes) or not raw.startswith(b"UNICODE\0"):
        return None
    body = raw[8:]
    # Some programs rewrite the block in the other byte order; JSON begins with an ASCII "{", which tells which.
    text = body.decode("utf-16-le" if body[:2] == b"{\0" else "utf-16-be", "replace")
    return text if text.startswith("{") else None


def _xmp(recipe: Recipe) -> str:
    kind = "compositeWithTrainedAlgorithmicMedia" if recipe.parents else "trainedAlgorithmicMedia"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f" xmp:CreatorTool={quoteattr(f'limner {recipe.limner}')}"
        f' Iptc4xmpExt:DigitalSourceType="{_SOURCE}{kind}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    )


def _printable(text: str) -> str:
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs") else "\ufffd" for c in text)


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:"\n]', value) else value
