"""What strength does to a sketch: two distances, and whether they turn back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from limner.config import dump
from limner.data import shapes_judge
from limner.data.shapes import illustrate
from limner.data.shapes_words import parse
from limner.errors import InputError
from limner.evaluation import strength
from limner.evaluation.strength import Point
from limner.systems.drawing import Pipe
from tests.evaluation.tiny import system


@pytest.mark.parametrize(
    ("shown", "said", "share"),
    [
        ("a red circle", "a red circle", 1),
        ("a red circle", "a blue circle", 1 / 2),
        ("a red circle and a blue square", "a red circle", 1 / 2),
        ("a red circle above a blue square", "a red circle above a blue square", 1),
        ("a red circle above a blue square", "a red circle below a blue square", 3 / 4),
        ("a red circle", "a red circle above a blue square", 1 / 4),
        ("a small red circle", "a large red circle", 1 / 2),
    ],
)
def test_the_facts_of_a_caption_are_counted(shown: str, said: str, share: float) -> None:
    scene = shapes_judge.read(illustrate(shown, 32, seed=1))
    assert strength.true_share(scene, parse(said)) == share


def test_a_stronger_sketch_is_further_from_where_it_began() -> None:
    done: list[int] = []
    found = strength.sweep(Pipe(system(), "tiny"), (0.5, 1.0), pairs=2, progress=lambda k, of: done.append(k))
    assert [point.strength for point in found.points] == [0.5, 1.0]
    assert done == [1, 2, 3, 4]
    assert all(point.to_sketch > 0 and 0 <= point.to_caption <= 1 for point in found.points)
    assert json.loads(dump(found))["drawing"]["model"] == "tiny"


def test_a_distance_that_turns_back_is_seen() -> None:
    found = strength.sweep(Pipe(system(), "tiny"), (1.0,), pairs=1)

    def turned(*points: tuple[float, float]) -> strength.Sweep:
        return found.model_copy(
            update={"points": tuple(Point(strength=k / 10, to_sketch=a, to_caption=b) for k, (a, b) in enumerate(points))}
        )

    there = turned((1, 0.9), (2, 0.9), (3, 0.1))
    assert (there.leaves_the_sketch, there.nears_the_caption) == (True, True)
    back = turned((1, 0.9), (3, 0.1), (2, 0.2))
    assert (back.leaves_the_sketch, back.nears_the_caption) == (False, False)


def test_pictures_too_small_to_read_are_refused() -> None:
    made = system()
    stage = made.stages[0]
    network = stage.settings.network.model_copy(update={"side": 16})
    small = made.of((replace(stage, settings=stage.settings.model_copy(update={"network": network})),))
    with pytest.raises(InputError, match="needs a model of words that draws 32 px"):
        strength.sweep(Pipe(small, "tiny"), (0.5,))
