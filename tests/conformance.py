"""What every system must do, whatever it is made of: `check_system(folder)` runs all of it on a checkpoint folder."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import limner
from limner import Image, Pipe, Progress, recipe
from limner.errors import InputError

PROMPT = "a red fox"
OTHER = "a blue square"


class System(NamedTuple):
    """A folder and its pipe in float32 on the CPU, where equal means equal."""

    folder: Path
    pipe: Pipe
    settings: tuple[str, ...] = ()  # sampling other than the model's own


def open_system(folder: Path, settings: tuple[str, ...] = ()) -> System:
    return System(folder, limner.load(folder, device="cpu", dtype="float32", settings=settings), settings)


def check_system(folder: Path, scratch: Path, settings: tuple[str, ...] = ()) -> None:
    """All of the suite on one checkpoint folder; `settings` may make its sampling shorter."""
    system = open_system(folder, settings)
    for check in CHECKS:
        check(system, scratch)


def pixels(image: Image) -> NDArray[np.int16]:
    return np.asarray(image.picture, np.int16)


def same(a: list[Image], b: list[Image]) -> bool:
    return len(a) == len(b) and all(np.array_equal(pixels(x), pixels(y)) for x, y in zip(a, b, strict=True))


def close(a: Image, b: Image) -> bool:
    """Equal but for the last bits of sums, which depend on how many pictures share a batch.

    Between two stages a picture is rounded to 8 bits: a last bit may tip one pixel of the small picture over, and the next
    stage shows that in the few pixels it grows into. Other noise would differ everywhere.
    """
    gap = np.abs(pixels(a) - pixels(b))
    return int(gap.max()) <= 8 and float((gap > 1).mean()) < 1e-3


def drawing_twice_gives_the_same(system: System, scratch: Path) -> None:
    assert same(system.pipe(PROMPT, n=2, seed=7), system.pipe(PROMPT, n=2, seed=7))


def loading_again_gives_the_same(system: System, scratch: Path) -> None:
    again = open_system(system.folder, system.settings)
    assert same(system.pipe(PROMPT, n=1, seed=7), again.pipe(PROMPT, n=1, seed=7))


def seeds_differ_and_zero_is_one(system: System, scratch: Path) -> None:
    zero, one = system.pipe(PROMPT, seed=0)[0], system.pipe(PROMPT, seed=1)[0]
    assert zero.recipe.seed == 0
    assert not np.array_equal(pixels(zero), pixels(one))


def no_seed_is_a_random_one_that_is_told(system: System, scratch: Path) -> None:
    first, second = system.pipe(PROMPT)[0], system.pipe(PROMPT)[0]
    assert first.recipe.seed != second.recipe.seed
    assert same([first], system.pipe(PROMPT, seed=first.recipe.seed))


def a_picture_depends_on_seed_and_number_alone(system: System, scratch: Path) -> None:
    together = system.pipe(PROMPT, n=3, seed=5, batch=3)
    for alone in (system.pipe(PROMPT, n=3, seed=5, batch=1), system.pipe(PROMPT, n=3, seed=5, batch=2)):
        assert all(close(a, b) for a, b in zip(together, alone, strict=True))
    last = system.pipe(PROMPT, n=1, seed=5, first=2)[0]
    assert last.recipe.index == 2
    assert close(last, together[2])


def pictures_of_one_seed_differ(system: System, scratch: Path) -> None:
    first, second = system.pipe(PROMPT, n=2, seed=0)
    assert not np.array_equal(pixels(first), pixels(second))


def words_matter(system: System, scratch: Path) -> None:
    assert not same(system.pipe(PROMPT, seed=0), system.pipe(OTHER, seed=0))


def a_negative_prompt_matters_and_needs_guidance(system: System, scratch: Path) -> None:
    plain = system.pipe(PROMPT, seed=0, guidance=2.0)
    assert not same(plain, system.pipe(PROMPT, seed=0, guidance=2.0, negative=OTHER))
    assert same(plain, system.pipe(PROMPT, seed=0, guidance=2.0, negative=""))
    with pytest.raises(InputError, match=r"negative prompt.*guidance"):
        system.pipe(PROMPT, seed=0, guidance=1.0, negative=OTHER)


def every_step_shows_a_preview(system: System, scratch: Path) -> None:
    items = list(system.pipe.stream(PROMPT, n=2, seed=0))
    steps = [item for item in items if isinstance(item, Progress)]
    for stage in system.pipe.settings.stages:
        mine = [step for step in steps if step.stage == stage.name]
        assert [step.step for step in mine] == list(range(1, mine[0].of + 1))
        for step in mine:
            assert step.preview.shape == (2, 3, stage.network.side, stage.network.side)
            assert torch.isfinite(step.preview).all()
    assert [item.recipe.index for item in items if isinstance(item, Image)] == [0, 1]
    assert same([item for item in items if isinstance(item, Image)], system.pipe(PROMPT, n=2, seed=0))


def a_stream_can_be_left_at_any_step(system: System, scratch: Path) -> None:
    before = system.pipe(PROMPT, seed=3)
    stream = system.pipe.stream(PROMPT, seed=3)
    next(stream)
    assert torch.is_grad_enabled()
    stream.close()
    assert torch.is_grad_enabled()
    assert same(before, system.pipe(PROMPT, seed=3))


def what_does_not_fit_is_said_with_its_words(system: System, scratch: Path) -> None:
    with pytest.warns(limner.PromptCutWarning, match="zebra"):
        drawn = system.pipe("a red fox " * 200 + "zebra", seed=0)
    assert drawn[0].recipe.prompt.endswith("zebra")


def any_words_can_be_drawn(system: System, scratch: Path) -> None:
    for prompt in ("", "🦊", "狐", "A FOX\tor\ntwo", "\u202efox"):
        assert system.pipe(prompt, seed=0)[0].picture.size == (system.pipe.side, system.pipe.side)


def what_cannot_be_words_is_refused_at_once(system: System, scratch: Path) -> None:
    for prompt in ("a\x00fox", "a\x1b[31mfox", "a\x7ffox", "\ud800", "x" * 10_001):
        with pytest.raises(InputError, match=r"^prompt: "):
            system.pipe(prompt, seed=0)


def the_recipe_says_it_all(system: System, scratch: Path) -> None:
    image = system.pipe(PROMPT, n=2, seed=4, steps=2, guidance=1.5, negative=OTHER, sampler="ddim")[1]
    made = image.recipe
    assert (made.prompt, made.negative, made.seed, made.index) == (PROMPT, OTHER, 4, 1)
    assert (made.stages[0].steps, made.stages[0].guidance, made.stages[0].sampler) == ("2", 1.5, "ddim")
    assert [stage.weights for stage in made.stages] == list(system.pipe.system.hashes.values())
    assert (made.torch, made.device, made.dtype) == (torch.__version__, "cpu", "float32")
    assert (made.width, made.height) == image.picture.size


def a_saved_picture_carries_its_recipe_and_is_drawn_again(system: System, scratch: Path) -> None:
    for seed, suffix in enumerate(("png", "webp")):
        images = system.pipe(PROMPT, n=2, seed=seed, steps=2)
        path = images[1].save(scratch / f"{{seed}}-{{i}}.{suffix}")
        assert recipe.read(path) == images[1].recipe
        again = limner.reproduce(path, model=system.folder)
        assert again.identical
        assert again.changed == ()


def its_sides_are_those_of_its_stages(system: System, scratch: Path) -> None:
    sides = [stage.network.side for stage in system.pipe.settings.stages]
    for side in sides:
        assert system.pipe.sized(side)(PROMPT, seed=0)[0].picture.size == (side, side)
    with pytest.raises(InputError, match="size"):
        system.pipe.sized(sides[-1] + 1)


def stages_do_not_share_noise(system: System, scratch: Path) -> None:
    from limner.diffusion import noise

    drawn = [noise.normal((4,), seed=0, index=0, stage=k, step=noise.FIRST) for k, _ in enumerate(system.pipe.settings.stages)]
    assert all(not torch.equal(a, b) for a, b in pairwise(drawn))


CHECKS = (
    drawing_twice_gives_the_same,
    loading_again_gives_the_same,
    seeds_differ_and_zero_is_one,
    no_seed_is_a_random_one_that_is_told,
    a_picture_depends_on_seed_and_number_alone,
    pictures_of_one_seed_differ,
    words_matter,
    a_negative_prompt_matters_and_needs_guidance,
    every_step_shows_a_preview,
    a_stream_can_be_left_at_any_step,
    what_does_not_fit_is_said_with_its_words,
    any_words_can_be_drawn,
    what_cannot_be_words_is_refused_at_once,
    the_recipe_says_it_all,
    a_saved_picture_carries_its_recipe_and_is_drawn_again,
    its_sides_are_those_of_its_stages,
    stages_do_not_share_noise,
)
