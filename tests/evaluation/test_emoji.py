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
    by_prompt = {emoji.prompt(picture): picture for picture in source.pictures}

    def draw(glide: object, captions: list[str], wishes: Wishes) -> list[Illustrated]:
        return [Illustrated(k, text, source.single(by_prompt[text], 32)) for k, text in enumerate(captions)]

    monkeypatch.setattr(drawing, "draw", draw)
    true = emoji.evaluate(glide, source, tiny.COLOURS, Wishes(), n=20)
    assert true.seen.top_5.hits >= 18 > noise.seen.top_5.hits
    assert true.unseen_style.top_5.share == true.real_unseen_style.top_5.share
    assert true.seen.top_1.share > noise.seen.top_1.share
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
    assert sum(counted) == len(other.train) + len(other.part("pair")) + 2
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
