"""A picture carries what it was made from, whatever the prompt, and is written whole or not at all."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import recipe
from limner.config import StageSettings, SystemSettings, UNetSettings
from limner.errors import ConfigError, InputError, LimnerError
from limner.recipe import Image, Recipe, StageRecipe

KINDS = ["PNG", "JPEG", "WEBP"]
PICTURE = PIL.Image.effect_noise((32, 32), 90).convert("RGB")
STAGES = (
    StageRecipe(name="base", weights="ab" * 32, sampler="ddpm", steps="100", guidance=3.0),
    StageRecipe(name="upsampler", weights="cd" * 32, sampler="ddim", steps="10,10,3,2,2", guidance=1, temperature=0.997),
)


def made(prompt: str = "a red fox", **changes: object) -> Recipe:
    facts = {"model": "glide-emoji", "config_hash": "0" * 64, "seed": 7, "stages": STAGES, "width": 32, "height": 32}
    return Recipe.model_validate({"prompt": prompt, **facts, **changes})


def reopened(data: bytes) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(data))


HARD = {
    "empty": "",
    "emoji": "\U0001f98a\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "chinese": "\u4e00\u53ea\u7ea2\u8272\u7684\u72d0\u72f8",
    "control": "a\x00b\x01\x1b[31m\x7f\x85\r\n\tc",
    "quotes": '"quoted" \\ {braces} \'single\' <xml> & "',
    "latin": "caf\u00e9 \u00fcber",
    "bidi": "\u202eabc\u2066",
    "long": "a red fox, " * 1000,
    "long chinese": "\u732b" * 10_000,
    "long emoji": "\U0001f98a" * 10_000,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", HARD.values(), ids=HARD.keys())
def test_any_prompt_survives_in_any_format(kind: str, prompt: str) -> None:
    wanted = made(prompt, negative=prompt[:100])
    assert recipe.read(recipe.encode(PICTURE, wanted, kind)) == wanted


@pytest.mark.parametrize("kind", KINDS)
@given(prompt=st.text(st.characters(exclude_categories=("Cs",)), max_size=80), seed=st.integers(-(2**70), 2**70))
@settings(max_examples=40, deadline=None)
def test_any_unicode_and_any_seed_survive(kind: str, prompt: str, seed: int) -> None:
    wanted = made(prompt, seed=seed)
    assert recipe.read(recipe.encode(PICTURE, wanted, kind)) == wanted


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_lossless_formats_keep_every_pixel(kind: str) -> None:
    assert np.array_equal(np.asarray(reopened(recipe.encode(PICTURE, made(), kind))), np.asarray(PICTURE))


@pytest.mark.parametrize("kind", KINDS)
def test_every_format_says_that_the_picture_is_synthetic(kind: str) -> None:
    for parents, word in (((), "trainedAlgorithmicMedia"), (("ef" * 32,), "compositeWithTrainedAlgorithmicMedia")):
        picture = reopened(recipe.encode(PICTURE, made(parents=parents), kind))
        packet = picture.info["XML:com.adobe.xmp"].encode() if kind == "PNG" else picture.info["xmp"]
        description = ElementTree.fromstring(packet.decode().split("?>", 1)[1].rsplit("<?", 1)[0])[0][0]
        said = description.attrib["{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"]
        assert said == f"http://cv.iptc.org/newscodes/digitalsourcetype/{word}"


@pytest.mark.parametrize("kind", KINDS)
def test_without_metadata_nothing_of_the_prompt_is_in_the_file(kind: str) -> None:
    data = Image(PICTURE, made("sesame")).to_bytes(kind, metadata=False)
    assert b"limner" not in data
    assert b"sesame" not in data.replace(b"\0", b"")
    with pytest.raises(InputError, match="carries no limner recipe"):
        recipe.read(data)


def test_parameters_are_in_the_words_other_viewers_read() -> None:
    assert recipe.parameters(made(negative="blurry")).split("\n") == [
        "a red fox",
        "Negative prompt: blurry",
        "Steps: 100, Sampler: ddpm, CFG scale: 3, Seed: 7, Image index: 0, Size: 32x32, Model: glide-emoji, "
        'Model hash: ababababab, Stage 2: "upsampler, ddim, steps 10,10,3,2,2, hash cdcdcdcdcd", '
        f"Version: limner {made().limner}",
    ]


def test_png_carries_the_parameters_as_text_and_the_json_as_ascii() -> None:
    text = reopened(recipe.encode(PICTURE, made("\u732b\x00"))).text
    assert text["parameters"].startswith("\u732b\ufffd\n")
    assert text["limner"].isascii()
    assert json.loads(text["limner"])["prompt"] == "\u732b\x00"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_less_quality_makes_a_smaller_file_that_still_carries_its_recipe(kind: str) -> None:
    small = recipe.encode(PICTURE, made(), kind, quality=20)
    assert len(small) < len(recipe.encode(PICTURE, made(), kind))
    assert recipe.read(small) == made()


def test_a_recipe_too_long_for_jpeg_is_refused_with_what_would_fit() -> None:
    with pytest.raises(InputError, match=r"a JPEG holds 65000 bytes of metadata.*write PNG or WEBP"):
        recipe.encode(PICTURE, made("\U0001f98a" * 9000, negative="\U0001f98a" * 9000), "JPEG")


def test_a_comment_in_the_other_byte_order_is_read() -> None:
    text = json.dumps(made().model_dump(mode="json"))
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-le")
    file = io.BytesIO()
    PICTURE.save(file, "JPEG", exif=exif.tobytes())
    assert recipe.read(file.getvalue()) == made()


def with_text(text: str) -> bytes:
    info, file = recipe.PngInfo(), io.BytesIO()
    info.add_text("limner", text)
    PICTURE.save(file, "PNG", pnginfo=info)
    return file.getvalue()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "damaged"),
        ("[" * 100_000, "damaged"),
        ("[]", "damaged"),
        ('{"format": 2}', "format 2 is unknown.*install a newer limner"),
        ('{"format": 1}', "prompt: Field required"),
        (json.dumps({**made().model_dump(mode="json"), "width": 0}), "width: Input should be greater than or equal to 1"),
        (json.dumps({**made().model_dump(mode="json"), "promt": ""}), "promt: no such setting; did you mean 'prompt'"),
    ],
)
def test_a_damaged_or_newer_recipe_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        recipe.read(with_text(text))
    assert "\n" not in str(caught.value)


def test_a_picture_from_elsewhere_carries_no_recipe(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg", "a.webp", "a.gif"):
        PICTURE.save(tmp_path / name)
        with pytest.raises(InputError, match=rf"{name}: carries no limner recipe"):
            recipe.read(tmp_path / name)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_damaged_file_gives_a_recipe_or_one_line(kind: str, data: st.DataObject) -> None:
    whole = bytearray(recipe.encode(PICTURE, made(), kind))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, min(1500, len(whole)) - 1))] = data.draw(st.integers(0, 255))
    said = ""
    try:
        found = recipe.read(bytes(whole))
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert said or isinstance(found, Recipe)


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_a_broken_exif_block_is_refused_in_one_line(kind: str) -> None:
    data = recipe.encode(PICTURE, made(), kind)
    at = data.index(b"MM\0*\0\0\0\x08")  # the head of the TIFF structure inside
    with pytest.raises(InputError, match=r"the metadata is damaged|carries no limner recipe"):
        recipe.read(data[:at] + b"XX" + data[at + 2 :])


def test_recipes_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        made().seed = 8


def test_the_configuration_hash_changes_with_any_setting() -> None:
    stage = StageSettings(name="base", network=UNetSettings(side=8, multipliers=(1,)))
    system = SystemSettings(name="tiny", stages=(stage,))
    other = system.model_copy(update={"stages": (stage.model_copy(update={"low_side": 4}),)})
    assert recipe.config_hash(system) == recipe.config_hash(system.model_copy()) != recipe.config_hash(other)
    assert len(recipe.config_hash(system)) == 64


def test_notebooks_show_the_png() -> None:
    assert Image(PICTURE, made())._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


def test_an_unknown_kind_of_file_is_refused() -> None:
    with pytest.raises(InputError, match="PNG, JPEG or WEBP; got 'EPS'"):
        Image(PICTURE, made()).to_bytes("EPS")


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("A Red   Fox!", "a-red-fox"),
        ("../../etc/passwd", "etc-passwd"),
        ("C:\\windows\\con", "c-windows-con"),
        ("con", "con-picture"),
        ("", "picture"),
        ("\x00\n/", "picture"),
        ("\U0001f98a", "picture"),
        ("\u4e00\u53ea\u732b", "\u4e00\u53ea\u732b"),
        (".hidden", "hidden"),
        ("\U00010330" * 50, "\U00010330" * 30),
        ("word " * 100, "word-word-word-word-word-word-word-word"),
    ],
)
def test_slugs_are_plain_words(prompt: str, wanted: str) -> None:
    assert recipe.slug(prompt) == wanted


@given(st.text(max_size=300))
def test_no_prompt_chooses_a_folder_or_a_name_that_is_too_long(prompt: str) -> None:
    path = recipe.file_name("{slug}-{i:03}.png", made(prompt.encode("utf-8", "replace").decode()))
    assert path.parent == Path()
    assert len(path.name.encode()) <= 130
    assert not path.name.startswith((".", "-"))


def test_a_pattern_is_filled(tmp_path: Path) -> None:
    path = recipe.file_name(tmp_path / "{model}" / "{seed}-{slug}-{i:03}.jpeg", made(index=4))
    assert path == tmp_path / "glide-emoji" / "7-a-red-fox-004.jpeg"
    assert len(recipe.file_name("{date}.png", made()).stem) == len("2026-01-01")


def test_no_name_begins_like_a_flag() -> None:
    assert recipe.file_name(recipe.PATTERN, made(seed=-5)).name == "minus-5-a-red-fox-000.png"
    assert recipe.file_name("of{seed}.png", made(seed=-5)).name == "of-5.png"


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("{sed}.png", r"no field \{sed\}.*have seed, slug"),
        ("{}.png", "no field"),
        ("{seed.real}.png", "no field"),
        ("{seed", "not a pattern"),
        ("{slug:03d}.png", "not a pattern"),
        ("{seed}.gif", "must end in .png, .jpg, .jpeg, .webp"),
        ("picture", "must end in"),
    ],
)
def test_a_pattern_that_cannot_be_filled_is_refused(pattern: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        recipe.file_name(pattern, made())


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_the_suffix_chooses_the_format(tmp_path: Path, suffix: str) -> None:
    path = Image(PICTURE, made()).save(tmp_path / f"a{suffix}")
    assert reopened(path.read_bytes()).format == recipe.FORMATS[suffix.lower()]
    assert recipe.read(path) == made()


def test_a_folder_is_filled_with_names(tmp_path: Path) -> None:
    assert Image(PICTURE, made(index=2)).save(tmp_path).name == "7-a-red-fox-002.png"


def test_a_folder_that_is_not_there_yet_is_named_by_a_slash(tmp_path: Path) -> None:
    assert recipe.save(Image(PICTURE, made()), f"{tmp_path}/new/") == tmp_path / "new" / "7-a-red-fox-000.png"


def test_a_taken_name_is_never_overwritten(tmp_path: Path) -> None:
    names = [Image(PICTURE, made(seed=seed)).save(tmp_path / "deep" / "a.png").name for seed in range(3)]
    assert names == ["a.png", "a-2.png", "a-3.png"]
    assert [recipe.read(tmp_path / "deep" / name).seed for name in names] == [0, 1, 2]


def test_writers_at_the_same_time_all_get_their_own_name(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda k: recipe.write_new(tmp_path / "a.png", b"%d" % k), range(24)))
    assert sorted(int(path.read_bytes()) for path in paths) == list(range(24))
    assert len(list(tmp_path.iterdir())) == 24


def test_a_disk_without_hard_links_is_served_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    names = [recipe.write_new(tmp_path / "a.png", b"%d" % k).name for k in range(3)]
    assert names == ["a.png", "a-2.png", "a-3.png"]
    assert sorted(path.read_bytes() for path in tmp_path.iterdir()) == [b"0", b"1", b"2"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # as on a full disk, the write stops half-way
    try:
        with pytest.raises(LimnerError, match=r"a\.png: cannot write the picture \(.*\); nothing was left behind") as caught:
            recipe.write_new(tmp_path / "a.png", b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LimnerError, match=r"cannot write the picture"):
        recipe.write_new(tmp_path / "file" / "a.png", b"x")


def test_a_name_too_long_for_the_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LimnerError, match=r"cannot write the picture"):
        recipe.write_new(tmp_path / ("a" * 300 + ".png"), b"x")
    assert list(tmp_path.iterdir()) == []
