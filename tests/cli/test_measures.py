"""`limner eval` and `limner bench`: the figures that evaluation gives, on stdout and in files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from limner.evaluation import bench, emoji, features, measuring
from limner.evaluation.drawing import Drawing
from limner.evaluation.share import share
from tests import tiny as made
from tests.cli.conftest import Limner

DESCRIBED = features.Described(net="means", sha256="0", width=3, resize="none")


@pytest.fixture
def wide() -> Path:
    """A cascade whose pictures are large enough for the judge of the shapes."""
    return made.save(Path("wide"), side=16)


@pytest.fixture
def _means(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mean colours instead of a pretrained network."""

    def extract(pictures: Sequence[features.Pixels]) -> features.Array:
        return np.stack([picture.mean(axis=(0, 1)) for picture in pictures])

    monkeypatch.setattr(features, "efficientnet", lambda: features.Features(DESCRIBED, extract))


def test_shapes_are_judged_and_reported(limner: Limner, wide: Path) -> None:
    said = limner("eval", "shapes", "-m", str(wide), "-n", "3", "--steps", "2", "-o", "reports/shapes.json")
    assert said.code == 0
    assert "scene accuracy 0.0%" in said.out  # it is not trained
    assert "wrong first:" in said.out
    report = json.loads(Path("reports/shapes.json").read_text(encoding="utf-8"))
    assert report["accuracy"]["of"] == 3
    assert report["drawing"]["steps"] == "2"
    assert limner("eval", "shapes", "-m", str(wide), "-n", "3", "--steps", "2", "--json").objects == [report]


def test_shapes_too_small_to_be_read_are_refused(limner: Limner) -> None:
    said = limner("eval", "shapes", "-m", "tiny", "-n", "3")
    assert said.code == 2
    assert "scenes are read from" in said.err


@pytest.mark.parametrize(
    ("out", "why"),
    [
        ("fox.png", "name one that ends in .json"),
        ("old.json", "exists already"),
        ("fox.png/new.json", "is a file"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_anything_is_measured(
    limner: Limner, wide: Path, monkeypatch: pytest.MonkeyPatch, out: str, why: str
) -> None:
    for name in ("fox.png", "old.json"):
        Path(name).write_text("kept", encoding="utf-8")
    monkeypatch.setattr(measuring, "evaluate", None)
    said = limner("eval", "shapes", "-m", str(wide), "-n", "1", "--steps", "1", "-o", out)
    assert said.code == 2
    assert f"--out {out}: " in said.err
    assert why in said.err
    assert {Path(name).read_text(encoding="utf-8") for name in ("fox.png", "old.json")} == {"kept"}


@pytest.mark.usefixtures("_means")
def test_the_distance_to_real_pictures_stands_beside_its_floor(limner: Limner) -> None:
    flags = ("-m", "tiny", "-n", "4", "--steps", "1", "--against", "views", "--stages", "1")
    said = limner("eval", "frechet", "shapes", *flags)
    assert said.code == 0
    assert said.lines[0].startswith("distance ")
    assert said.lines[1].startswith("floor ")
    facts = limner("eval", "frechet", "shapes", *flags, "--json").objects[0]
    assert (facts["n"], facts["against"], facts["drawing"]["side"]) == (4, "views", 8)
    assert facts["distance"] > facts["floor"] >= 0


@pytest.mark.usefixtures("_means")
def test_concepts_are_counted(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    class Folder:
        pass

    def evaluate(system: object, source: object, net: object, wishes: object, **more: object) -> emoji.EmojiResult:
        named = emoji.Named(top_1=share(1, 4), top_5=share(3, 4), pairs=4, wrong={})
        facts = {"model": "tiny", "hashes": {}, "seed": 0, "sampler": "ddim", "steps": "1", "guidance": 1.0, "later": ()}
        how = Drawing(**facts, side=16, dtype="float32", device="cpu", torch="2")
        two = emoji.Together(each=named, both=share(2, 4))
        lists = {"seen": named, "unseen_style": named, "real_unseen_style": named, "two": two, "real_two": two}
        return emoji.EmojiResult(**lists, concepts=9, data="d", reference="r", features=DESCRIBED, drawing=how)

    monkeypatch.setattr("limner.evaluation.measuring.EmojiSource", Folder)
    monkeypatch.setattr("limner.evaluation.measuring.open_source", lambda spec: Folder())
    monkeypatch.setattr(emoji, "evaluate", evaluate)
    said = limner("eval", "emoji", "emoji:somewhere", "-m", "tiny", "-n", "4")
    assert said.lines[1].startswith("unseen style: top-1 25.0%")
    assert said.lines[3].startswith("two things: each top-5 75.0%")
    assert "both 50.0%" in said.lines[3]
    assert said.lines[-1] == "among 9 concepts"


def test_concepts_need_an_emoji_folder(limner: Limner) -> None:
    said = limner("eval", "emoji", "shapes", "-m", "tiny")
    assert said.code == 4
    assert "emoji folders only" in said.err


def test_a_model_is_timed_the_reference_way_and_ours(limner: Limner) -> None:
    said = limner("bench", "-m", "tiny", "--way", "float32", "--rounds", "1", "--device", "cpu", "-o", "figures", "--json")
    assert said.code == 0
    timings = said.objects[0]["cases"][0]["timings"]
    assert [timing["variant"] for timing in timings] == ["reference", "float32"]
    assert timings[1]["error"] < 1e-3
    assert {path.suffix for path in Path("figures").iterdir()} == {".md", ".json"}
    assert "written: figures" in said.err


def test_released_sizes_are_timed_on_request(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def official(name: str, variants: Sequence[str], *more: object, **flags: object) -> bench.Case:
        asked.append((name, list(variants)))
        return bench.Case(name=name, what="one step", parameters=1, timings=())

    monkeypatch.setattr(bench, "official", official)
    said = limner("bench", "--official", "base", "--official", "upsampler", "--way", "bfloat16")
    assert asked == [("base", ["bfloat16"]), ("upsampler", ["bfloat16"])]
    assert said.out.startswith("# Speed")


def test_timing_nothing_is_refused(limner: Limner) -> None:
    said = limner("bench")
    assert said.code == 2
    assert "nothing to time" in said.err


def test_edits_are_judged_and_reported(limner: Limner, wide: Path) -> None:
    said = limner("eval", "edits", "-m", str(wide), "-n", "6", "--steps", "1", "-o", "edits.json")
    assert said.code == 0
    assert "trained: wide: there is no model 'wide-inpaint'" in said.err
    assert "replacement (wide): right 0.0%" in said.out
    assert "largest difference outside 0" in said.out
    assert json.loads(Path("edits.json").read_text(encoding="utf-8"))["methods"][0]["method"] == "replacement"
