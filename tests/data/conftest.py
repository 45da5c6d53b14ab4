"""Small training sets made on the spot: pictures with captions, and tiny emoji packs (three styles, some things broken)."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.data import art, emoji

THINGS = {  # code points: name, group, subgroup, tags, colour of its disc
    "1F98A": ("fox", 3, 34, ["animal", "clever"], "#f58220"),
    "1F34E": ("red apple", 4, 42, ["fruit", "apple"], "#dd2222"),
    "2B50": ("star", 5, 59, ["sky", "night", "gold", "shine"], "#ffcc22"),
    "1F680": ("rocket", 5, 55, ["space"], "#3366dd"),
    "1F42D": ("mouse face", 3, 34, ["animal"], "#999999"),
    "1F427": ("penguin", 3, 35, ["bird"], "#22aa55"),
    "1F355": ("pizza", 4, 44, ["cheese"], "#ee8833"),
    "2B06-FE0F": ("up arrow", 8, 85, ["direction"], "#1199ee"),
    "1F3C3": ("person running", 1, 27, ["sport"], "#ffbb33"),
    "1F3C3-200D-2640-FE0F": ("woman running", 1, 27, ["sport"], "#ffbb33"),
    "1F1EB-1F1F7": ("flag: France", 9, 98, ["flag"], "#0000ff"),
    "1F550": ("one o’clock", 5, 58, ["time"], "#ffffff"),
}
SUBGROUPS = {27: "person-activity", 34: "animal-mammal", 35: "animal-bird", 42: "food-fruit", 44: "food-prepared"} | {
    55: "transport-air",
    58: "time",
    59: "sky-weather",
    85: "arrow",
    98: "country-flag",
}
GROUPS = "smileys-emotion people-body component animals-nature food-drink travel-places activities objects symbols flags"


def packed(path: Path, files: dict[str, bytes]) -> str:
    """Write a package as npm packs it; its integrity string."""
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return art.hashed(path.read_bytes())


def words() -> dict[str, bytes]:
    """What emojibase-data holds, for the things here."""
    entries = [
        {"hexcode": points, "label": label, "group": group, "subgroup": subgroup, "tags": tags}
        for points, (label, group, subgroup, tags, _) in THINGS.items()
    ]
    messages = {
        "groups": [{"order": i, "key": key} for i, key in enumerate(GROUPS.split())],
        "subgroups": [{"order": order, "key": key} for order, key in SUBGROUPS.items()],
    }
    codes = {"1F98A": ["fox_face"], "1F680": "rocket_ship"}
    files = {"en/data.json": entries, "en/messages.json": messages, "en/shortcodes/cldr.json": codes}
    return {name: json.dumps(content).encode() for name, content in files.items()}


def disc(colour: str) -> dict[str, object]:
    return {"body": f'<circle cx="16" cy="16" r="13" fill="{colour}"/><circle cx="16" cy="16" r="4" fill="#222"/>'}


def iconify(*, by_name: bool, broken: dict[str, dict[str, object]]) -> dict[str, bytes]:
    """An iconify package; with chars.json, or with names alone."""
    icons = {label.replace(" ", "-").replace(":", ""): disc(colour) for label, _, _, _, colour in THINGS.values()}
    chars = {
        points.lower().replace("-fe0f", ""): thing[0].replace(" ", "-").replace(":", "") for points, thing in THINGS.items()
    }
    book = {"width": 32, "height": 32, "icons": icons | broken | {"old-fox": {"body": "", "hidden": True}}}
    return {"icons.json": json.dumps(book).encode(), "chars.json": b"{}" if by_name else json.dumps(chars).encode()}


def webp() -> dict[str, bytes]:
    """A package of WebP files: a half-transparent square each, and one that is no picture."""
    files = {"assets/1f680.webp": b"not a picture", "README.md": b"words"}
    for points in ("1f98a", "2b50", "1f427"):
        picture = Image.new("RGBA", (64, 68))
        picture.paste((30, 60, 220, 128), (16, 16, 48, 48))
        out = io.BytesIO()
        picture.save(out, "WEBP", lossless=True)
        files[f"assets/{points}.webp"] = out.getvalue()
    return files


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of package files in place of the real ones; their pins are put in place by `pinned`."""
    folder = tmp_path_factory.mktemp("packages")
    nothing: dict[str, dict[str, object]] = {"penguin": {"body": "<g></g>"}, "pizza": {"body": "<g>"}}
    packed(folder / art.WORDS.file_name, words())
    packed(folder / art.PACKS["flat"].file_name, iconify(by_name=False, broken=nothing))
    packed(
        folder / art.PACKS["noto"].file_name,
        iconify(by_name=True, broken={"fox": {"hidden": True}, "fox-face": disc("#f58220")}),
    )
    packed(folder / art.PACKS["3d"].file_name, webp())
    return folder


@pytest.fixture
def pinned(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder, with the code's pins set to what lies there."""
    pins = {
        style: pack._replace(integrity=art.hashed((packages / pack.file_name).read_bytes()))
        for style, pack in art.PACKS.items()
        if (packages / pack.file_name).is_file()
    }
    monkeypatch.setattr(art, "PACKS", pins)
    monkeypatch.setattr(art, "WORDS", art.WORDS._replace(integrity=art.hashed((packages / art.WORDS.file_name).read_bytes())))
    return packages


@pytest.fixture
def everything_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture is held out: a dozen things are too few to split."""
    monkeypatch.setattr(emoji, "split", lambda concept, style: "train")


@pytest.fixture
def emoji_folder(pinned: Path, tmp_path: Path) -> Path:
    """A folder built from the packages, 64 pixels a side."""
    return emoji.build(tmp_path / "emoji", packs=("flat", "noto", "3d"), side=64, packs_from=pinned).folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("LIMNER_CACHE", str(folder))
    return folder


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Writes a noise picture and, unless it is None, its caption."""

    def write(name: str, caption: str | None = "a picture", size: tuple[int, int] = (24, 16), seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).save(path)
        if caption is not None:
            path.with_suffix(".txt").write_text(caption, encoding="utf-8")
        return path

    return write
