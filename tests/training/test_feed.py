"""From a source to micro-batches."""

from __future__ import annotations

import dataclasses
import math
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from limner import tokens
from limner.config import TrainSettings
from limner.data.source import View
from limner.errors import ConfigError, DataError
from limner.training import feed
from limner.training.session import stage_of
from tests.training.tiny import Stripes, preset


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tokens.Tokenizer:
    return tokens.train(Stripes().captions(), 280, tmp_path_factory.mktemp("words") / "words.json")


def plan(tokenizer: tokens.Tokenizer, stage: str = "base", *, rank: int = 0, ranks: int = 1, **recipe: object) -> feed.Plan:
    settings, figures = stage_of(preset(**recipe), stage)
    return feed.plan(Stripes(), settings, figures, tokenizer, rank=rank, ranks=ranks)


def joined(batches: list[feed.Batch]) -> list[torch.Tensor]:
    rows = [[b.picture, b.eps, b.chances, *(b.tokens or ()), *(p for p in (b.low, b.known) if p is not None)] for b in batches]
    return [torch.cat(column) for column in zip(*rows)]


@pytest.mark.parametrize("inpaint", [False, True])
@pytest.mark.parametrize("stage", ["base", "upsampler"])
def test_a_step_holds_the_same_views_however_it_is_split(tokenizer: tokens.Tokenizer, stage: str, inpaint: bool) -> None:
    recipe = {"batch": 8, "inpaint": inpaint}
    whole = joined([feed.read(plan(tokenizer, stage, **recipe), 3)])
    turns = joined([feed.read(plan(tokenizer, stage, accumulate=4, **recipe), 12 + turn) for turn in range(4)])
    ranks = [plan(tokenizer, stage, accumulate=2, rank=rank, ranks=2, **recipe) for rank in range(2)]
    spread = joined([feed.read(ranks[rank], 6 + turn) for turn in range(2) for rank in range(2)])
    for one, two, three in zip(whole, turns, spread, strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, three)


def test_another_seed_or_view_has_other_draws() -> None:
    first, again, view, seed = (feed.draws(*key).random(4).tolist() for key in ((0, 5), (0, 5), (0, 6), (1, 5)))
    assert first == again
    assert first not in (view, seed)


def test_noise_is_standard_normal(tokenizer: tokens.Tokenizer) -> None:
    eps = feed.read(plan(tokenizer, batch=128), 0).eps
    count = eps.numel()
    assert abs(eps.mean().item()) < 5 / math.sqrt(count)
    assert abs(eps.var().item() - 1) < 5 * math.sqrt(2 / count)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_captions_are_dropped_at_the_recipes_rate(tokenizer: tokens.Tokenizer, share: float) -> None:
    batch = feed.read(plan(tokenizer, batch=1000, drop_captions=share), 0)
    assert batch.tokens is not None
    dropped = ~batch.tokens.mask.any(1)
    assert torch.equal(dropped, batch.chances[:, feed.DROP] < share)
    assert abs(dropped.double().mean().item() - share) <= 4 * math.sqrt(share * (1 - share) / 1000)


def test_a_dropped_caption_is_the_empty_prompt(tokenizer: tokens.Tokenizer) -> None:
    batch = feed.read(plan(tokenizer, batch=4, drop_captions=1.0), 0)
    empty = tokenizer.encode([""] * 4, 6)
    assert batch.tokens is not None
    assert torch.equal(batch.tokens.ids, empty.ids)
    assert torch.equal(batch.tokens.mask, empty.mask)


def test_the_smaller_picture_is_the_rounded_mean_of_each_square() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    low = feed.smaller(picture, 4)
    assert low.shape == (2, 2, 3)
    assert low[0, 1].tolist() == [round(float(picture[:4, 4:, c].mean())) for c in range(3)]


def test_a_crop_and_its_smaller_picture_show_the_same_place(tokenizer: tokens.Tokenizer) -> None:
    batch = feed.read(plan(tokenizer, "upsampler", batch=16), 0)
    assert batch.low is not None
    assert batch.picture.shape == (16, 3, 16, 16)
    assert batch.low.shape == (16, 3, 4, 4)
    for picture, low in zip(batch.picture, batch.low):
        assert np.array_equal(feed.smaller(picture.permute(1, 2, 0).numpy(), 4), low.permute(1, 2, 0).numpy())


class Redrawn(Stripes):
    """Stripes whose small pictures say where each of their pixels lies."""

    side = 8

    def view(self, k: int, side: int, seed: int) -> View:
        view = super().view(k, side, seed)
        low = np.zeros((self.side, self.side, 3), dtype=np.uint8)
        low[..., 0], low[..., 1] = np.arange(self.side)[:, None], np.arange(self.side)
        return View(view.image, view.caption, low)


def test_a_small_picture_that_comes_with_its_view_is_cut_at_the_crops_place(tokenizer: tokens.Tokenizer) -> None:
    true = plan(tokenizer, "upsampler", batch=32)
    given = dataclasses.replace(true, source=Redrawn())
    batch, other = feed.read(given, 0), feed.read(true, 0)
    assert torch.equal(batch.picture, other.picture)
    assert batch.low is not None
    for low, chances in zip(batch.low, batch.chances):
        top, left = (int(chances[c] * 5) for c in (feed.TOP, feed.LEFT))
        assert low[0].tolist() == [[top + i] * 4 for i in range(4)]
        assert low[1].tolist() == [[left + j for j in range(4)]] * 4


def test_a_small_picture_of_another_size_is_refused(tokenizer: tokens.Tokenizer) -> None:
    source = Redrawn()
    source.side = 16
    with pytest.raises(DataError, match="stripes: its small pictures have 16 px, stage 'upsampler' takes 8"):
        feed.read(dataclasses.replace(plan(tokenizer, "upsampler"), source=source), 0)


def test_crops_come_from_everywhere_in_the_picture() -> None:
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(32)[:, None], np.arange(32)[None]
    corners = {tuple(feed.cut(picture, 16, 4, feed.draws(0, k).random(feed.CHANCES))[0, 0, :2].tolist()) for k in range(600)}
    assert corners == {(top, left) for top in range(0, 17, 4) for left in range(0, 17, 4)}


@pytest.mark.parametrize("stage", ["base", "upsampler"])
def test_what_is_erased_leaves_all_other_draws_as_they_were(tokenizer: tokens.Tokenizer, stage: str) -> None:
    plain, erasing = (feed.read(plan(tokenizer, stage, batch=8, inpaint=inpaint), 2) for inpaint in (False, True))
    assert erasing.known is not None
    for one, two in zip(joined([plain]), joined([erasing]), strict=False):
        assert torch.equal(one, two)


def test_regions_are_erased_at_the_recipes_rates(tokenizer: tokens.Tokenizer) -> None:
    shares = {"boxes": 0.5, "strokes": 0, "objects": 0, "everything": 0.3, "nothing": 0.2}
    known = feed.read(plan(tokenizer, batch=1000, inpaint=True, erase=shares), 0).known
    assert known is not None
    assert known.shape == (1000, 1, 8, 8)
    assert set(known.unique().tolist()) == {0, 1}
    means = known.double().mean(dim=(1, 2, 3))
    for share, found in ((0.3, (means == 0).double().mean().item()), (0.2, (means == 1).double().mean().item())):
        assert abs(found - share) <= 4 * math.sqrt(share * (1 - share) / 1000)


def test_regions_of_crops_lie_in_the_crop(tokenizer: tokens.Tokenizer) -> None:
    boxes = {"boxes": 1, "strokes": 0, "objects": 0, "everything": 0, "nothing": 0}
    batch = feed.read(plan(tokenizer, "upsampler", batch=16, crop=16, inpaint=True, erase=boxes), 0)
    assert batch.known is not None
    assert batch.known.shape == (16, 1, 16, 16)
    assert bool(((batch.known == 0).flatten(1).any(1) & (batch.known == 1).flatten(1).any(1)).all())


@pytest.mark.parametrize(
    ("recipe", "named"),
    [
        ({"inpaint": True, "erase": None}, "inpaints: say with training.erase what it is not shown"),
        ({"inpaint": False, "erase": {}}, "does not inpaint: leave it out"),
    ],
)
def test_a_recipe_that_does_not_fit_the_network_is_refused(
    tokenizer: tokens.Tokenizer, recipe: dict[str, object], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        plan(tokenizer, **recipe)


@pytest.mark.parametrize(
    ("stage", "recipe", "named"),
    [
        ("base", {"batch": 5, "accumulate": 2}, "training.batch 5"),
        ("upsampler", {"crop": 18}, "training.crop 18"),
        ("upsampler", {"crop": 64}, "training.crop 64"),
    ],
)
def test_a_recipe_that_cannot_be_dealt_out_is_refused(
    tokenizer: tokens.Tokenizer, stage: str, recipe: dict[str, int], named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        plan(tokenizer, stage, **recipe)


def test_a_crop_is_refused_where_there_is_no_smaller_picture(tokenizer: tokens.Tokenizer) -> None:
    settings, _ = stage_of(preset(), "base")
    with pytest.raises(ConfigError, match=r"training\.crop is for upsamplers"):
        feed.plan(Stripes(), settings, TrainSettings(stage="base", crop=8), tokenizer)


def test_text_without_a_tokenizer_is_refused() -> None:
    with pytest.raises(ConfigError, match="no tokenizer"):
        feed.plan(Stripes(), *stage_of(preset(), "base"), None)


def test_a_low_side_that_does_not_divide_is_refused() -> None:
    settings, recipe = stage_of(preset(), "upsampler")
    with pytest.raises(ConfigError, match="low_side must divide side 32; got 12"):
        feed.plan(Stripes(), settings.model_copy(update={"low_side": 12}), recipe, None)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_worker_processes_give_what_the_thread_gives(tokenizer: tokens.Tokenizer) -> None:
    one, two = (joined(list(feed.stream(plan(tokenizer), 2, 7, workers=workers))) for workers in (0, 2))
    for a, b in zip(one, two, strict=True):
        assert torch.equal(a, b)


def test_reading_ahead_keeps_the_order() -> None:
    assert list(feed.ahead(lambda n: n * n, range(3, 40))) == [n * n for n in range(3, 40)]


def test_an_error_of_the_source_is_raised_in_the_reader() -> None:
    def make(number: int) -> int:
        if number == 2:
            raise ConfigError("view 2 is broken")
        return number

    numbers: Iterator[int] = feed.ahead(make, range(5))
    assert [next(numbers), next(numbers)] == [0, 1]
    with pytest.raises(ConfigError, match="view 2 is broken"):
        next(numbers)


def test_closing_the_stream_ends_its_thread() -> None:
    numbers = feed.ahead(lambda n: n, range(10**9))
    assert next(numbers) == 0
    numbers.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "limner-feed"]
