from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from limner.errors import InputError
from limner.evaluation import drawing, emoji
from limner.evaluation.drawing import Illustrated, Wishes
from tests.evaluation import tiny


def test_true_drawings_are_nearly_all_named_right_and_noise_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny.emoji(tmp_path / "emoji")
    glide = tiny.system()
    noise = emoji.evaluate(glide, source, tiny.COLOURS, Wishes(), n=20)
    by_prompt = {emoji.prompt(picture): source.single(picture, 32) for picture in source.pictures}
    couples = emoji.coupled(emoji.in_order(source.train))
    by_prompt |= {emoji.prompt(*couple): source.couple(*couple, 32) for couple in couples}

    def draw(glide: object, captions: list[str], wishes: Wishes) -> list[Illustrated]:
        return [Illustrated(k, text, by_prompt[text]) for k, text in enumerate(captions)]

    monkeypatch.setattr(drawing, "draw", draw)
    true = emoji.evaluate(glide, source, tiny.COLOURS, Wishes(), n=20)
    assert true.seen.top_5.hits >= 18 > noise.seen.top_5.hits
    assert true.unseen_style.top_5.share == true.real_unseen_style.top_5.share
    assert true.seen.top_1.share > noise.seen.top_1.share
    assert true.two == true.real_two
    assert true.two.each.top_5.hits >= 36 > noise.two.each.top_5.hits
    assert true.two.both.hits >= 16 > noise.two.both.hits
    assert noise.concepts == len({p.concept.key for p in source.train})
    assert set(noise.seen.wrong) <= set(by_prompt)


def test_the_centroids_come_from_all_styles_but_never_from_the_unseen_pairs(tmp_path: Path) -> None:
    tiny.emoji(tmp_path / "emoji")
    source = tiny.emoji(tmp_path / "emoji", ["flat"])
    other = tiny.emoji(tmp_path / "emoji")
    counted: list[int] = []

    def extract(pictures: list[np.ndarray]) -> np.ndarray:
        counted.append(len(pictures))
        return tiny.mean_colour(pictures)

    assert not source.part("pair")  # one style alone has none
    with pytest.raises(InputError, match="open more styles"):
        emoji.evaluate(tiny.system(), source, tiny.COLOURS._replace(extract=extract), Wishes(), n=1)
    result = emoji.evaluate(tiny.system(), other, tiny.COLOURS._replace(extract=extract), Wishes(), n=1)
    # One drawing of each list, the third in halves, drawn and real.
    assert sum(counted) == len(other.train) + len(other.part("pair")) + 2 + 2 * 2
    assert result.reference == other.name


@pytest.mark.parametrize(
    ("name", "opened"),
    [
        ("emoji:data/e?styles=flat,noto&groups=food-drink", "data/e?groups=food-drink"),
        ("emoji:data/e?styles=flat", "data/e"),
        ("emoji:data/e", "data/e"),
    ],
)
def test_a_choice_of_styles_is_taken_back(name: str, opened: str) -> None:
    assert emoji.in_all_styles(name) == opened


def test_a_prompt_names_the_thing_and_its_style(tmp_path: Path) -> None:
    picture = tiny.emoji(tmp_path / "emoji").train[0]
    assert emoji.prompt(picture) == f"a {picture.concept.label}, {picture.style} style"


def test_a_prompt_for_two_names_them_from_left_to_right(tmp_path: Path) -> None:
    left, right = emoji.coupled(tiny.emoji(tmp_path / "emoji").train)[0]
    said = f"a {left.concept.label} to the left of a {right.concept.label}, {left.style} style"
    assert emoji.prompt(left, right) == said


def test_couples_share_a_style_and_show_two_things(tmp_path: Path) -> None:
    pictures = tiny.emoji(tmp_path / "emoji", concepts=5).pictures
    couples = emoji.coupled(pictures)
    assert [left for left, _ in couples] == list(pictures)
    assert all(left.style == right.style and left.concept.key != right.concept.key for left, right in couples)
    assert emoji.coupled(pictures[:2]) == []  # one thing in two styles


def test_halves_are_the_squares_beside_the_middle() -> None:
    picture = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    left, right = emoji.halves(picture)
    assert (left == picture[2:6, :4]).all()
    assert (right == picture[2:6, 4:]).all()


def test_both_halves_must_be_right_at_once(tmp_path: Path) -> None:
    pictures = [p for p in tiny.emoji(tmp_path / "emoji").train if p.style == "flat"][:8]
    rows = np.eye(8)
    centroids = emoji.Centroids(tuple(p.concept.key for p in pictures), tuple("abcdefgh"), np.zeros(8), rows)
    couples = [(pictures[k], pictures[k + 1]) for k in (0, 2, 4)]
    drawn = np.stack([rows[0], rows[1], rows[2], -rows[3], -rows[4], -rows[5]])
    found = emoji.together(couples, drawn, centroids)
    assert (found.each.top_1.hits, found.both.hits, found.both.of) == (3, 1, 3)


def test_the_order_is_drawn_by_lot_and_does_not_depend_on_the_order_given(tmp_path: Path) -> None:
    pictures = tiny.emoji(tmp_path / "emoji").train
    assert emoji.in_order(pictures) == emoji.in_order(pictures[::-1])
    assert emoji.in_order(pictures) != list(pictures)
    assert emoji.in_order(pictures) != emoji.in_order(pictures, "another purpose")


def test_the_five_nearest_count_and_the_sixth_does_not(tmp_path: Path) -> None:
    pictures = [p for p in tiny.emoji(tmp_path / "emoji").train if p.style == "flat"][:8]
    angles = np.linspace(0.1, 1.4, 8)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centroids = emoji.Centroids(tuple(p.concept.key for p in pictures), tuple("abcdefgh"), np.zeros(2), rows)
    found = emoji.named(pictures, np.tile(rows[0], (8, 1)), centroids)
    assert (found.top_1.hits, found.top_5.hits, found.pairs) == (1, 5, 8)
    assert list(found.wrong) == [emoji.prompt(p) for p in pictures[5:]]
    assert set(found.wrong.values()) == {"a"}
