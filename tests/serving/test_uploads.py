from __future__ import annotations

import asyncio
import io
import struct
import tracemalloc
import zlib

import pytest
from PIL import Image, PngImagePlugin
from starlette.datastructures import UploadFile

from limner.errors import InputError
from limner.serving import uploads


def encoded(picture: Image.Image, format: str = "PNG", **more: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **more)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(data))
    picture.load()
    return picture


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few hundred bytes that says it has this many pixels, and keeps its word as far as zlib goes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


RED = Image.new("RGB", (6, 4), "red")


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_what_people_send_comes_out_as_png(format: str) -> None:
    clean = uploads.clean(encoded(RED, format))
    assert clean.format == uploads.FORMATS[format]
    assert opened(clean.data).format == "PNG"
    assert (clean.width, clean.height, clean.alpha) == (6, 4, False)
    assert abs(opened(clean.data).getpixel((3, 2))[0] - 255) < 4  # type: ignore[index]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b"hello", "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not a picture"),
        (encoded(RED, "BMP"), "not a picture"),
        (encoded(RED, "TIFF"), "not a picture"),
        (encoded(RED)[:20], "broken"),
        (encoded(RED.resize((50, 50)).rotate(7))[:-30], "broken"),
        (encoded(RED.resize((50, 50)), "JPEG")[:-100], "broken"),
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 100, "broken"),
        (b"\xff\xd8\xff" + b"\x00" * 100, "broken"),
        (b"RIFF\x00\x00\x00\x00WEBP" + b"\xff" * 50, "broken"),
        (b"GIF89a" + b"\xff" * 50, "broken|Mpixel"),
    ],
)
def test_what_is_no_whole_picture_is_refused_in_one_line_that_names_the_field(data: bytes, why: str) -> None:
    with pytest.raises(InputError, match=rf"^image\[2\]: .*({why})") as caught:
        uploads.clean(data, param="image[2]")
    assert "\n" not in str(caught.value)


def test_more_bytes_than_the_limit_are_refused() -> None:
    data = encoded(RED)
    assert uploads.clean(data, limit=len(data)).width == 6
    with pytest.raises(InputError, match=r"more than .* MB"):
        uploads.clean(data, limit=len(data) - 1)


@pytest.mark.parametrize("size", [(4097, 4096), (30_000, 30_000), (65_000, 65_000)])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    tracemalloc.start()
    with pytest.raises(InputError, match="Mpixel"):
        uploads.clean(bomb(*size))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * uploads.MEGABYTE


def test_text_that_unpacks_to_much_more_is_refused() -> None:
    packed = zlib.compress(bytes(80 * uploads.MEGABYTE), 9)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    data = start + chunk(b"zTXt", b"a\x00\x00" + packed) + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")
    with pytest.raises(InputError, match="broken"):
        uploads.clean(data)


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
def test_moving_pictures_are_refused(format: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="3 frames; send one still picture"):
        uploads.clean(data)


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = encoded(Image.new("RGB", (16, 16)), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    with pytest.raises(InputError, match="scans"):
        uploads.clean(data[:start] + data[start:-2] * 200 + data[-2:])


def test_the_rotation_of_a_camera_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    picture = Image.new("RGB", (6, 4), "white")
    picture.putpixel((0, 0), (0, 0, 0))
    clean = uploads.clean(encoded(picture, exif=exif))
    assert (clean.width, clean.height) == (4, 6)
    assert opened(clean.data).getpixel((3, 0)) == (0, 0, 0)


def test_nothing_but_pixels_is_handed_on() -> None:
    exif = Image.Exif()
    exif[0x010F] = "SECRET camera"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "SECRET words")
    text.add_itxt("XML:com.adobe.xmp", "<x>SECRET</x>")
    data = encoded(RED, exif=exif, pnginfo=text, icc_profile=b"SECRET" + bytes(200), dpi=(300, 300))
    clean = uploads.clean(data).data
    assert b"SECRET" in data
    assert b"SECRET" not in clean
    kinds = [clean[at + 4 : at + 8] for at in starts(clean)]
    assert set(kinds) == {b"IHDR", b"IDAT", b"IEND"}


def starts(png: bytes) -> list[int]:
    at, found = 8, []
    while at < len(png):
        found.append(at)
        at += 12 + struct.unpack(">I", png[at : at + 4])[0]
    return found


def test_the_alpha_of_a_mask_is_kept() -> None:
    mask = Image.new("RGBA", (4, 4), (10, 20, 30, 255))
    mask.putpixel((1, 1), (10, 20, 30, 0))
    clean = uploads.clean(encoded(mask))
    assert clean.alpha
    assert opened(clean.data).getpixel((1, 1)) == (10, 20, 30, 0)
    assert opened(clean.data).getpixel((0, 0)) == (10, 20, 30, 255)


def test_a_transparent_colour_of_a_palette_becomes_alpha() -> None:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 255, 0])
    picture.putdata([0, 1])
    found = opened(uploads.clean(encoded(picture, transparency=1)).data)
    assert [found.getpixel((x, 0))[3] for x in (0, 1)] == [255, 0]  # type: ignore[index]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "I;16", "RGBA"])
def test_every_mode_of_a_png_becomes_eight_bits_of_colour(mode: str) -> None:
    clean = uploads.clean(encoded(Image.new(mode, (3, 3))))
    assert opened(clean.data).mode == ("RGBA" if mode in ("LA", "RGBA") else "RGB")


def test_names_and_media_types_are_not_looked_at() -> None:
    upload = UploadFile(io.BytesIO(encoded(RED)), filename="../../etc/passwd")
    assert opened(asyncio.run(uploads.read(upload))).size == (6, 4)


def test_an_upload_is_not_read_further_than_its_limit() -> None:
    file = io.BytesIO(bytes(10_000))
    with pytest.raises(InputError, match="mask: has more than"):
        asyncio.run(uploads.read(UploadFile(file), limit=100, param="mask"))
    assert file.tell() == 101
