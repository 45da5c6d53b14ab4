import numpy as np
import pytest

from limner.data.dice import dice
from limner.data.shapes import GRID, Shapes, arrange, draw, illustrate, open_shapes
from limner.data.shapes_words import Description, Item, canonical, describe, held_out, parse
from limner.errors import DataError, InputError


def test_a_view_is_a_pure_function_of_its_number_side_and_seed() -> None:
    first, again = Shapes().view(41, 32, 3), Shapes().view(41, 32, 3)
    assert first.caption == again.caption
    assert np.array_equal(first.image, again.image)
    assert {Shapes().view(k, 32, 3).caption for k in range(20)} != {Shapes().view(k, 32, 4).caption for k in range(20)}


@pytest.mark.parametrize("side", [32, 48, 64, 100, 256])
def test_a_view_has_the_side_that_was_asked_for(side: int) -> None:
    image = Shapes().view(0, side, 0).image
    assert image.shape == (side, side, 3)
    assert image.dtype == np.uint8


def test_the_same_scene_is_drawn_at_every_side() -> None:
    small, large = (Shapes().view(5, side, 0).image.astype(float) for side in (32, 128))
    shrunk = large.reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert abs(shrunk - small).max() < 3


def test_training_never_meets_a_held_out_description() -> None:
    captions = [Shapes().view(k, 32, 0).caption for k in range(3000)] + list(Shapes().captions(1000))
    assert not any(held_out(parse(caption)) for caption in captions)


def test_captions_without_a_place_come_as_often_as_asked_and_none_is_held_out() -> None:
    def told(source: Shapes) -> tuple[int, int]:
        several = [d for k in range(1000) if len((d := parse(source.view(k, 32, 0).caption)).items) > 1]
        assert not any(held_out(description) for description in several)
        return len(several), sum(not description.relations for description in several)

    count, plain = told(Shapes())
    assert 0.11 < plain / count < 0.21  # 15 % of pairs, 20 % of trios
    count, half = told(open_shapes("unplaced=50"))
    assert 0.53 < half / count < 0.63
    count, every = told(open_shapes("unplaced=100"))
    assert every == count > 600
    assert [Shapes(0).view(k, 32, 5).caption for k in range(9)] == [open_shapes().view(k, 32, 5).caption for k in range(9)]


@pytest.mark.parametrize("options", ["unplaced=101", "unplaced=", "unplaced=x", "placed=3", "unplaced"])
def test_other_options_are_refused_in_a_line(options: str) -> None:
    with pytest.raises(DataError, match=r"is no option; there is unplaced=0\.\.100"):
        open_shapes(options)


def test_held_out_views_are_distinct_unseen_and_always_the_same() -> None:
    views = Shapes().held_out(32, 60)
    assert len({view.caption for view in views}) == 60
    assert all(held_out(parse(view.caption)) for view in views)
    assert [v.caption for v in Shapes().held_out(32, 60)] == [v.caption for v in views]


def test_shapes_lie_inside_the_border_and_apart() -> None:
    for k in range(1500):
        roll = dice(k)
        scene = arrange(describe(roll), roll)
        boxes = np.array([[x - e / 2, y - e / 2, x + e / 2, y + e / 2] for _, _, _, x, y, e in scene.shapes]) * GRID
        assert boxes.min() > 2 - 1e-6
        assert boxes.max() < GRID - 2 + 1e-6
        for i, box in enumerate(boxes):
            gaps = np.maximum(box[:2] - boxes[:i, 2:], boxes[:i, :2] - box[2:]).max(1)
            assert (gaps > 2 - 1e-6).all()


def test_a_caption_can_be_illustrated_and_nonsense_cannot() -> None:
    picture = illustrate("a large black square", 32)
    assert 100 < (picture.sum(-1) < 200).sum() < 180
    with pytest.raises(InputError, match="no sentence"):
        illustrate("a red fox")


def test_four_shapes_are_refused() -> None:
    with pytest.raises(InputError, match="1 to 3 shapes; got 4"):
        arrange(Description((Item("circle", "red"),) * 4), dice(0))


def test_an_empty_scene_is_the_plain_ground() -> None:
    from limner.data.shapes import GROUND, Scene

    assert (draw(Scene(()), 32) == GROUND).all()


def test_equal_meanings_have_equal_pictures_of_their_items() -> None:
    above = parse("a red circle above a blue square")
    below = parse("a blue square below a red circle")
    assert canonical(above) == canonical(below)
