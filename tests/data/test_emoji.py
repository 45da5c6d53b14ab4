import json
import pickle
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from limner.data import art, compose, emoji
from limner.data.source import open_source
from limner.errors import DataError


def test_a_build_counts_what_it_made_and_names_what_it_skipped(pinned: Path, tmp_path: Path) -> None:
    report = emoji.build(tmp_path / "out", packs=("flat", "3d"), side=64, packs_from=pinned)
    assert report.pictures == {"flat": 7, "3d": 3}
    assert report.concepts == 8  # the penguin is drawn in 3d alone
    assert sum(report.skipped.values()) == 3
    assert report.skipped["flat: shows nothing"] == 1
    assert report.skipped["3d: not a readable picture"] == 1
    assert sum(name.startswith("flat: ") for name in report.skipped) == 2


def test_flags_clocks_and_gender_twins_are_left_out(emoji_folder: Path) -> None:
    labels = {json.loads(line)["label"] for line in (emoji_folder / "index.jsonl").read_text().splitlines()}
    assert "person running" in labels
    assert not labels & {"woman running", "flag: France", "one o'clock"}


def test_the_index_says_concept_style_licence_and_box_of_every_row(emoji_folder: Path) -> None:
    lines = [json.loads(line) for line in (emoji_folder / "index.jsonl").read_text().splitlines()]
    assert [line["row"] for line in lines] == list(range(len(lines)))
    fox = next(line for line in lines if line["label"] == "fox" and line["style"] == "3d")
    assert (fox["key"], fox["tags"], fox["group"], fox["licence"]) == ("1f98a", ["animal", "clever"], "animals-nature", "MIT")
    x0, y0, x1, y1 = fox["box"]
    assert 14 <= x0 < 20 < 44 < x1 <= 50
    assert 10 <= y0 < 20 < 40 < y1 <= 50


def test_a_pack_without_code_points_is_joined_by_name_and_by_older_names(emoji_folder: Path) -> None:
    lines = [json.loads(line) for line in (emoji_folder / "index.jsonl").read_text().splitlines()]
    noto = {line["label"] for line in lines if line["style"] == "noto"}
    assert {"fox", "star", "rocket"} <= noto  # "fox-face" is what the pack calls the fox


def test_the_stored_sides_show_the_same_premultiplied_picture(emoji_folder: Path) -> None:
    source = emoji.open_emoji(str(emoji_folder))
    assert sorted(source.levels) == [8, 16, 64]
    for row in range(len(source.levels[64])):
        large = np.asarray(source.levels[64][row])
        assert (large[..., :3] <= large[..., 3:]).all()
        assert np.array_equal(art.averaged(large, 8), source.levels[8][row])


def test_a_folder_in_the_way_is_not_touched(pinned: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError, match="is in the way"):
        emoji.build(tmp_path / "mine", packs=("flat",), packs_from=pinned)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_build_that_fails_leaves_nothing_behind(pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(emoji, "_header", full)
    with pytest.raises(DataError, match=r"cannot be written \(No space left on device\)"):
        emoji.build(tmp_path / "out", packs=("flat",), side=64, packs_from=pinned)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"packs": ("flat", "marble")}, "no such emoji pack: marble; there are flat"),
        ({"packs": ()}, "none given"),
        ({"packs": ("flat",), "side": 100}, "multiple of 8"),
    ],
)
def test_a_choice_that_does_not_exist_is_refused(choice: dict[str, object], said: str, pinned: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        emoji.build(tmp_path / "out", packs_from=pinned, **choice)  # type: ignore[arg-type]


def test_a_pack_of_which_nothing_can_be_drawn_is_an_error(
    pinned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(art, "from_raster", broken)
    with pytest.raises(DataError, match="no icon of flat could be drawn"):
        emoji.build(tmp_path / "out", packs=("flat",), side=64, packs_from=pinned)


def test_progress_is_told_up_to_the_end(pinned: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    emoji.build(tmp_path / "out", packs=("3d",), side=64, packs_from=pinned, progress=lambda *step: told.append(step))
    assert told[-1] == ("done", 4, 4)
    assert [step[1] for step in told] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("side", [8, 32, 64, 100])
def test_a_view_is_a_pure_function_of_its_number_side_and_seed(side: int, emoji_folder: Path) -> None:
    spec = f"emoji:{emoji_folder}"
    first, again = open_source(spec), open_source(spec)
    for k in (0, 7, 1000):
        one, two = first.view(k, side, 3), again.view(k, side, 3)
        assert one.image.shape == (side, side, 3)
        assert one.image.dtype == np.uint8
        assert one.caption == two.caption
        assert np.array_equal(one.image, two.image)
    assert [first.view(k, side, 3).caption for k in range(8)] != [first.view(k, side, 4).caption for k in range(8)]


def test_an_epoch_gives_every_picture_the_main_part_once(
    emoji_folder: Path, everything_trains: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compose, "MIX", {})
    source = emoji.open_emoji(str(emoji_folder))
    size = len(source.train)
    for epoch in (0, 1):
        rows = [source.scene(epoch * size + k, 5).pieces[0].row for k in range(size)]
        assert sorted(rows) == sorted(p.row for p in source.train)


def test_a_view_shows_the_same_scene_at_every_side(emoji_folder: Path) -> None:
    source = emoji.open_emoji(str(emoji_folder))
    for k in range(20):
        large, small = (source.view(k, side, 0).image.astype(float) for side in (64, 32))
        assert abs(large.reshape(32, 2, 32, 2, 3).mean((1, 3)) - small).mean() < 8


def test_held_out_concepts_and_pairs_never_appear_in_a_view(emoji_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def split(concept: str, style: str) -> emoji.Part:
        return "concept" if concept == "1f98a" else "pair" if (concept, style) == ("2b50", "flat") else "train"

    monkeypatch.setattr(emoji, "split", split)
    source = emoji.open_emoji(str(emoji_folder))
    kept = {(p.concept.label, p.style) for kind in ("pair", "concept") for p in source.part(kind)}
    assert kept == {("star", "flat"), ("fox", "flat"), ("fox", "noto"), ("fox", "3d")}
    held = {p.row for kind in ("pair", "concept") for p in source.part(kind)}
    shown = {piece.row for k in range(2000) for piece in source.scene(k, 0).pieces}
    assert shown == {p.row for p in source.train}
    assert not shown & held
    assert [view.caption for view in source.held_out(16)] == ["a star", "a fox", "a fox", "a fox"]


def test_a_pair_whose_concept_is_seen_in_no_other_style_counts_as_an_unseen_concept(
    emoji_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(emoji, "split", lambda concept, style: "pair" if concept == "2b50" and style == "flat" else "train")
    source = emoji.open_emoji(f"{emoji_folder}?styles=flat")
    assert source.part("pair") == []
    assert [p.concept.label for p in source.part("concept")] == ["star"]


def test_the_split_is_a_hash_that_holds_out_about_a_twentieth_of_each_kind() -> None:
    parts = [emoji.split(f"{concept:x}", style) for concept in range(2000) for style in ("flat", "noto")]
    assert 0.04 < parts.count("concept") / len(parts) < 0.06
    assert 0.035 < parts.count("pair") / len(parts) < 0.06
    assert emoji.split("1f98a", "flat") == "train"  # the fox stays


def test_styles_and_groups_choose_a_part_of_the_folder(emoji_folder: Path, everything_trains: None) -> None:
    source = emoji.open_emoji(f"{emoji_folder}?styles=flat,3d&groups=animals-nature")
    assert {p.style for p in source.pictures} == {"flat", "3d"}
    assert {p.concept.group for p in source.pictures} == {"animals-nature"}
    assert source.name.endswith("?styles=flat,3d&groups=animals-nature")


def test_a_subgroup_is_a_group_too(emoji_folder: Path, everything_trains: None) -> None:
    every = emoji.open_emoji(str(emoji_folder))
    subgroup = every.pictures[0].concept.subgroup
    source = emoji.open_emoji(f"{emoji_folder}?groups={subgroup}")
    assert {p.concept.subgroup for p in source.pictures} == {subgroup}
    assert len(source.pictures) == sum(p.concept.subgroup == subgroup for p in every.pictures)


def test_two_things_come_as_often_as_asked(emoji_folder: Path, everything_trains: None) -> None:
    def kinds(options: str) -> Counter[str]:
        source = emoji.open_emoji(f"{emoji_folder}{options}")
        return Counter(pickle.loads(pickle.dumps(source)).scene(k, 0).kind for k in range(1000))

    usual, many = kinds(""), kinds("?pairs=60")
    assert 80 < usual["two"] < 160
    assert 480 < many["two"] < 660  # symbols stay alone
    assert many["ground"] < usual["ground"]
    assert kinds("?pairs=0")["two"] == 0
    assert emoji.open_emoji(f"{emoji_folder}?styles=flat&pairs=60").name == f"emoji:{emoji_folder}?styles=flat&pairs=60"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("?styles=marble", "has no style marble; it has flat, noto, 3d"),
        ("?groups=cars", "has no group cars; it has "),
        ("?colour=red", "'colour=red' is no option"),
        ("?pairs=lots", "'pairs=lots' is no option"),
        ("?pairs=101", "or pairs=0..100"),
    ],
)
def test_an_option_that_does_not_fit_is_refused(options: str, said: str, emoji_folder: Path) -> None:
    with pytest.raises(DataError, match=re.escape(said)):
        open_source(f"emoji:{emoji_folder}{options}")


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a folder made by `limner data build emoji`"):
        open_source(f"emoji:{tmp_path}")


def test_a_damaged_folder_is_refused(emoji_folder: Path) -> None:
    index = emoji_folder / "index.jsonl"
    whole = index.read_text()
    index.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match="do not belong together"):
        open_source(f"emoji:{emoji_folder}")
    index.write_text(whole)
    (emoji_folder / "side64.npy").write_bytes((emoji_folder / "side64.npy").read_bytes()[:5000])
    with pytest.raises(DataError, match="not a folder made by"):
        open_source(f"emoji:{emoji_folder}")


def test_a_folder_of_another_format_is_refused(emoji_folder: Path) -> None:
    meta = json.loads((emoji_folder / "meta.json").read_text()) | {"format": 99}
    (emoji_folder / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataError, match="format 99"):
        open_source(f"emoji:{emoji_folder}")


def test_a_source_travels_to_another_process_by_name(emoji_folder: Path) -> None:
    source = emoji.open_emoji(f"{emoji_folder}?styles=flat")
    sent = pickle.dumps(source)
    assert len(sent) < 1000
    assert pickle.loads(sent).view(5, 16, 1).caption == source.view(5, 16, 1).caption


def test_captions_hold_the_names_tags_colours_numbers_and_scenes(emoji_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emoji, "CAPTIONS", 300)
    said = list(emoji.open_emoji(str(emoji_folder)).captions())
    assert {"a fox", "two foxes", "two mouse faces", "clever", "on a light blue background", "six"} <= set(said)
    assert any(" next to " in caption or " above " in caption for caption in said)
