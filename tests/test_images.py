"""Any file is either read as upright RGB or refused with one line; pixels and tensors convert as the papers do."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from limner import images
from limner.errors import InputError, ShapeError

WILD = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(6, 8, 3)  # 8 wide, 6 high, every pixel different


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels: what a decompression bomb looks like from outside."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "TGA", "WEBP", "GIF", "JPEG", "AVIF"])
def test_a_picture_of_any_known_format_is_opened(kind: str) -> None:
    plain = Image.new("RGB", (16, 8), (200, 30, 30))
    opened = images.open_picture(encoded(plain, kind))
    assert (opened.mode, opened.size) == ("RGB", (16, 8))
    assert np.abs(np.asarray(opened).astype(int) - (200, 30, 30)).max() < 12


def test_a_lossless_picture_keeps_every_pixel() -> None:
    assert np.array_equal(np.asarray(images.open_picture(encoded(Image.fromarray(WILD), "PNG"))), WILD)


def test_a_picture_is_opened_by_path(tmp_path: Path) -> None:
    Image.fromarray(WILD).save(tmp_path / "a.png")
    assert images.open_picture(tmp_path / "a.png").size == images.open_picture(str(tmp_path / "a.png")).size == (8, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_picture_is_turned_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = np.asarray(images.open_picture(encoded(Image.fromarray(WILD), "PNG", exif=exif)))
    turns = {1: WILD, 2: WILD[:, ::-1], 3: WILD[::-1, ::-1], 4: WILD[::-1], 5: WILD.transpose(1, 0, 2)}
    turns |= {6: np.rot90(WILD, -1), 7: np.rot90(WILD, 2).transpose(1, 0, 2), 8: np.rot90(WILD)}
    assert np.array_equal(opened, turns[orientation])


def test_transparency_is_laid_on_the_ground() -> None:
    data = encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")
    assert images.open_picture(data).getpixel((0, 0)) == (255, 255, 255)
    assert images.open_picture(data, ground="blue").getpixel((0, 0)) == (0, 0, 255)


def test_a_palette_with_a_transparent_colour_becomes_rgb() -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 255, 0, 255, 0, 0])
    palette.putpixel((0, 0), 0)
    opened = images.open_picture(encoded(palette, "PNG", transparency=0))
    assert [opened.getpixel((0, 0)), opened.getpixel((1, 1))] == [(255, 255, 255), (255, 0, 0)]


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "rgb"),
    [
        ("CMYK", (0, 255, 255, 0), "JPEG", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 0), "TIFF", (255, 255, 255)),
        ("L", 128, "PNG", (128, 128, 128)),
        ("LA", (0, 255), "PNG", (0, 0, 0)),
        ("1", 1, "PNG", (255, 255, 255)),
    ],
)
def test_other_colour_modes_become_rgb(mode: str, colour: object, kind: str, rgb: tuple[int, int, int]) -> None:
    opened = images.open_picture(encoded(Image.new(mode, (16, 16), colour), kind))
    assert np.abs(np.subtract(opened.getpixel((3, 3)), rgb)).max() <= 3


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.array([[0, 256, 32896, 65535]], dtype=np.uint16)
    opened = images.open_picture(encoded(Image.fromarray(values), "PNG"))
    assert [opened.getpixel((x, 0))[0] for x in range(4)] == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("pixels", "said"),
    [(np.full((2, 2), 70_000, np.int32), "outside 0..65535"), (np.ones((2, 2), np.float32), "floating-point")],
)
def test_pixels_that_are_no_picture_are_refused(pixels: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        images.open_picture(encoded(Image.fromarray(pixels), "TIFF"))


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    opened = images.open_picture(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert opened.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("size", [(8193, 8192), (10_000, 10_000), (40_000, 40_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="more than 64 Mpixel"):
        images.open_picture(png_header(*size))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_picture_is_refused(kind: str) -> None:
    data = encoded(Image.effect_noise((64, 64), 80), kind)
    with pytest.raises(InputError, match=r"picture.*(broken|truncated|not a picture)"):
        images.open_picture(data[: len(data) // 2])


@pytest.mark.parametrize("data", [b"no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"<svg/>"])
def test_what_is_no_picture_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        images.open_picture(data)
    assert "\n" not in str(caught.value)


def test_a_picture_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="picture: has 0x5 pixels"):
        images.flat(Image.new("RGB", (0, 5)))


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    with pytest.raises(InputError, match=r"a\.png: the file is empty"):
        images.open_picture(tmp_path / "a.png")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "no.png", tmp_path):
        with pytest.raises(InputError, match=rf"{path.name}: cannot be read"):
            images.open_picture(path)


def test_a_null_character_in_a_path_is_refused() -> None:
    with pytest.raises(InputError, match="not a file name"):
        images.open_picture("a\0.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "ICO"])
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_picture_is_read_or_refused_but_never_crashes(kind: str, data: st.DataObject) -> None:
    whole = bytearray(encoded(Image.fromarray(WILD).resize((32, 32)), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    said = ""
    try:
        opened = images.open_picture(bytes(whole))
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert said or opened.mode == "RGB"


PIXELS = hnp.arrays(np.uint8, (2, 5, 4, 3))


@given(PIXELS)
def test_bytes_survive_the_way_to_a_tensor_and_back(pixels: np.ndarray) -> None:
    x = images.pixels_to_tensor(pixels)
    back = images.rounded(x)
    assert x.shape == (2, 3, 5, 4)
    assert -1 <= float(x.min()) <= float(x.max()) <= 1
    assert np.array_equal(np.stack([np.asarray(p) for p in back]), pixels)
    assert torch.equal(images.to_tensor(back), x)


def test_the_two_rules_of_rounding_differ_as_in_the_papers() -> None:
    x = torch.full((1, 3, 1, 1), 99.6 / 127.5 - 1)
    assert images.rounded(x)[0].getpixel((0, 0)) == (100, 100, 100)
    assert images.truncated(x)[0].getpixel((0, 0)) == (99, 99, 99)


def test_values_beyond_one_are_clamped() -> None:
    x = torch.tensor([-3.0, 0.0, 3.0]).view(1, 3, 1, 1)
    assert images.rounded(x)[0].getpixel((0, 0)) == (0, 128, 255)


def test_a_snapped_sample_is_what_eight_bits_keep_of_it() -> None:
    x = torch.linspace(-1, 1, 48).view(1, 3, 4, 4)
    assert torch.allclose(images.snapped(x), images.to_tensor(images.rounded(x)), atol=1e-6)
    assert not torch.equal(images.snapped(x), x)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="not finite"):
        images.rounded(torch.full((1, 3, 2, 2), value))


def test_a_tensor_of_another_shape_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[B 3 H W\]; got \[3, 2, 2\]"):
        images.rounded(torch.zeros(3, 2, 2))


def test_pictures_of_two_sizes_make_no_batch() -> None:
    with pytest.raises(ShapeError, match="one size; got 2x2, 3x3"):
        images.to_tensor([Image.new("RGB", (2, 2)), Image.new("RGB", (3, 3))])
    with pytest.raises(ShapeError, match="got none"):
        images.to_tensor([])


def test_shrinking_averages_areas() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert images.shrunk(x, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


@pytest.mark.parametrize("make", [images.square, images.adm_square])
def test_the_centre_square_is_taken(make: object) -> None:
    wide = Image.new("RGB", (96, 32), "red")
    wide.paste("blue", (32, 0, 64, 32))
    small = make(wide, 16)
    assert small.size == (16, 16)
    assert np.abs(np.asarray(small).astype(int)[2:-2, 2:-2] - (0, 0, 255)).max() <= 1


def test_a_grid_holds_every_picture_in_reading_order() -> None:
    colours = ["red", "blue", "lime", "black", "gold"]
    sheet = images.grid([Image.new("RGB", (20, 10), colour) for colour in colours], columns=3)
    assert sheet.size == (3 * 22 + 2, 2 * 12 + 2)
    assert [sheet.getpixel((2 + k % 3 * 22 + 10, 2 + k // 3 * 12 + 5)) for k in range(5)] == [
        Image.new("RGB", (1, 1), colour).getpixel((0, 0)) for colour in colours
    ]


def test_labels_are_written_beneath_their_pictures() -> None:
    pictures = [Image.new("RGB", (64, 64), "white")] * 2
    bare, labelled = images.grid(pictures, columns=2), images.grid(pictures, ["", "a red fox"], columns=2)
    ink = np.argwhere(np.asarray(labelled).min(axis=2) < 128)
    assert labelled.height > bare.height
    assert ink[:, 0].min() >= 66  # below the pictures
    assert ink[:, 1].min() >= 68  # in the second column


@pytest.mark.parametrize("label", ["word " * 50, "x" * 200, "\u4e2d\u6587", "a\nb\0c"])
def test_a_label_of_any_length_stays_within_its_column(label: str) -> None:
    sheet = np.asarray(images.grid([Image.new("RGB", (64, 64), "white")] * 2, [label], columns=2))
    assert sheet[:, 70:].min() > 128
    assert sheet.shape[0] < 64 * 3


def test_a_grid_without_pictures_or_with_too_many_labels_is_refused() -> None:
    with pytest.raises(InputError, match="at least one picture"):
        images.grid([])
    with pytest.raises(InputError, match="1 pictures cannot carry 2 labels"):
        images.grid([Image.new("RGB", (4, 4))], ["a", "b"])


def test_a_picture_for_dalle_is_resized_by_its_shorter_side_and_cropped_in_the_middle() -> None:
    ramp = Image.fromarray(np.tile(np.arange(0, 200, 2, dtype=np.uint8)[None, :, None], (50, 1, 3)))  # 100 x 50
    square = images.dalle_square(ramp, 25)
    assert square.shape == (3, 25, 25)
    resized = np.asarray(ramp.resize((50, 25), Image.Resampling.LANCZOS), np.float32) / 255
    assert np.array_equal(square.permute(1, 2, 0).numpy(), resized[:, 12:37])  # (50 - 25) / 2 rounds to even
    same = images.dalle_square(ramp.crop((0, 0, 50, 50)), 50)
    assert torch.equal(same[:, 0, 0], torch.zeros(3))
    with pytest.raises(InputError, match="100x50, but its shorter side must have 51"):
        images.dalle_square(ramp, 51)
