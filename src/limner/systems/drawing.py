"""From a model's name and some words to pictures that carry their recipe; every system is reached through `load`.

How a system draws is its own file; what a picture remembers is `recipe.py`; `repeating.py` draws one again from that.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import torch

from limner import catalog, images, recipe, weights
from limner.config import SamplerName, SamplingSettings, SystemSettings, overridden, parse
from limner.errors import ConfigError, InputError
from limner.recipe import Image, Recipe, StageRecipe
from limner.systems import base, glide
from limner.systems.base import Dtype, Progress, Request
from limner.systems.glide import Drawn, Glide

SEEDS = 2**32  # random seeds are drawn below this, so that a person can copy one; any integer is a seed


class Wishes(TypedDict, total=False):
    """What may be asked for beside the words; what is left out or None is the model's own choice."""

    n: int  # pictures
    seed: int | None  # None = random; any integer is a seed
    steps: str | int | None  # of the first stage: 27, "ddim25", "fast27", ...
    guidance: float | None  # of the first stage; 1 = none
    negative: str  # words to draw away from
    sampler: SamplerName | None  # of the first stage
    first: int  # number of the first picture under the seed
    batch: int  # pictures drawn at a time; bounds the memory, not the noise


class Pipe:
    """A loaded system. Called with words it gives pictures; `stream` gives every step on the way."""

    def __init__(self, system: Glide, name: str, *, dtype: torch.dtype = torch.float32, config_hash: str = "") -> None:
        self.system = system
        self.name = name
        self.dtype = dtype
        self.config_hash = config_hash or recipe.config_hash(system.settings)

    @property
    def settings(self) -> SystemSettings:
        """What the system is made of, sampling included."""
        return self.system.settings

    @property
    def side(self) -> int:
        """Pixels of a finished picture."""
        return self.system.stages[-1].settings.network.side

    def __call__(self, prompt: str, **wishes: Unpack[Wishes]) -> list[Image]:
        """Draw pictures of a prompt.

        Raises: InputError for a prompt that cannot be used; ConfigError for a setting that does not fit.
        """
        return [item for item in self.stream(prompt, **wishes) if isinstance(item, Image)]

    def stream(self, prompt: str, **wishes: Unpack[Wishes]) -> Iterator[Progress | Image]:
        """The same as a call, step by step: a Progress after every step, an Image for every finished picture.

        Whoever stops asking has cancelled. Raises: as a call does, at once.
        """
        return self.draw(request(prompt, **wishes))

    def draw(self, asked: Request) -> Iterator[Progress | Image]:
        """Draw a request; Progress and Images as they come.

        Raises: InputError for a prompt that cannot be used; ConfigError for a setting that does not fit.
        """
        self._check(asked)
        return self._draw(asked)

    def sized(self, side: int) -> Pipe:
        """The same system, stopped after the stage that gives pictures of this side.

        Raises: InputError naming the sides there are.
        """
        sides = [stage.settings.network.side for stage in self.system.stages]
        return self if side == sides[-1] else self.kept(1 + stage_of_side(self.name, sides, side))

    def resampled(self, samplings: Mapping[str, SamplingSettings]) -> Pipe:
        """The same system with other sampling for the stages named."""
        stages = tuple(
            dataclasses.replace(stage, settings=stage.settings.model_copy(update={"sampling": samplings[stage.settings.name]}))
            if stage.settings.name in samplings
            else stage
            for stage in self.system.stages
        )
        return self._of(stages)

    def kept(self, count: int) -> Pipe:
        """The same system, stopped after its first `count` stages."""
        return self._of(self.system.stages[:count])

    def _of(self, stages: tuple[base.Stage, ...]) -> Pipe:
        settings = self.settings.model_copy(update={"stages": tuple(stage.settings for stage in stages)})
        return Pipe(Glide(settings, stages, self.system.hashes), self.name, dtype=self.dtype, config_hash=self.config_hash)

    def _check(self, asked: Request) -> None:
        """Everything that can be refused before the first step."""
        base.check_prompt(asked.prompt)
        base.check_prompt(asked.negative, what="negative prompt")
        samplings = [stage.sampling(asked) for stage in self.system.stages]
        for stage, sampling in zip(self.system.stages, samplings, strict=True):
            base.count_steps(stage, sampling)
            base.sampler(sampling)
        if asked.negative and all(sampling.guidance == 1 for sampling in samplings):
            raise InputError("negative prompt: has no effect at guidance 1; use a guidance above 1, or leave it out")

    def _draw(self, asked: Request) -> Iterator[Progress | Image]:
        for item in self.system.draw(asked):
            yield self._finished(asked, item) if isinstance(item, Drawn) else item

    def _finished(self, asked: Request, drawn: Drawn) -> Image:
        picture = images.rounded(drawn.picture[None])[0]
        start = asked.first + (drawn.number - asked.first) // asked.batch * asked.batch
        together = min(asked.batch, asked.first + asked.n - start)
        return Image(
            picture,
            Recipe(
                prompt=asked.prompt,
                negative=asked.negative,
                model=self.name,
                config_hash=self.config_hash,
                seed=asked.seed,
                index=drawn.number,
                stages=tuple(_stage_recipe(stage, asked, self.system.hashes) for stage in self.system.stages),
                width=picture.width,
                height=picture.height,
                torch=torch.__version__,
                device=str(self.system.device),
                dtype=str(self.dtype).removeprefix("torch."),
                # How many share a batch moves the last bits of a sum, so an exact repetition needs to know it.
                extra={"batch": [start, together]},
            ),
        )


def load(
    name: str | Path, *, device: str = "auto", dtype: Dtype = "auto", settings: Sequence[str] = (), side: int | None = None
) -> Pipe:
    """A model by name (see `limner.models`) or checkpoint folder, ready to draw.

    `settings` are dotted overrides of how it is sampled, "stages.1.sampling.steps=4"; `side` stops after the stage that
    gives pictures of this many pixels.

    Raises: CheckpointError when there is no such model or its weights do not fit; ConfigError for a device, type or setting
        that does not exist; InputError for a side it cannot draw.
    """
    path = catalog.find(name)
    folder = weights.read_folder(path)
    chosen = sampled_settings(folder.settings, settings, where=path.resolve().name)
    if side is not None:
        stage_of_side(path.resolve().name, [stage.network.side for stage in chosen.stages], side)
    match chosen.system:
        case "glide":
            system = glide.open_folder(folder._replace(settings=chosen), device=device, dtype=dtype)
    pipe = Pipe(
        system,
        path.resolve().name,
        dtype=base.pick_dtype(dtype, system.device),
        config_hash=recipe.config_hash(folder.settings),
    )
    return pipe if side is None else pipe.sized(side)


def request(prompt: str, **wishes: Unpack[Wishes]) -> Request:
    """A checked request; a seed that is None becomes a random one.

    Raises: ConfigError naming the first setting that does not fit.
    """
    tree: dict[str, object] = {"prompt": prompt, **wishes}
    if tree.get("seed") is None:
        tree["seed"] = secrets.randbelow(SEEDS)
    return parse(Request, tree, where="draw")


def sampled_settings(settings: SystemSettings, overrides: Sequence[str], *, where: str) -> SystemSettings:
    """A trained system's settings with other sampling.

    Raises: ConfigError for a setting that does not exist, or that the weights were trained with.
    """
    if not overrides:
        return settings
    chosen = overridden(settings, overrides, where=where)
    if _without_sampling(chosen) != _without_sampling(settings):
        raise ConfigError(
            f"{where}: {', '.join(overrides)}: only stages.N.sampling can be set on a trained model; the rest is in its weights"
        )
    return chosen


def stage_of_side(name: str, sides: Sequence[int], side: int) -> int:
    """Which stage gives pictures of this side.

    Raises: InputError naming the sides there are.
    """
    if side not in sides:
        have = " or ".join(f"{s}x{s}" for s in sorted(set(sides)))
        raise InputError(f"size: {name} draws {have}; it cannot draw {side}x{side}")
    return len(sides) - 1 - list(reversed(sides)).index(side)


def _without_sampling(settings: SystemSettings) -> SystemSettings:
    stages = tuple(stage.model_copy(update={"sampling": SamplingSettings()}) for stage in settings.stages)
    return settings.model_copy(update={"stages": stages})


def _stage_recipe(stage: base.Stage, asked: Request, hashes: Mapping[str, str]) -> StageRecipe:
    sampling = stage.sampling(asked)
    return StageRecipe(
        name=stage.settings.name,
        weights=hashes.get(stage.settings.name, ""),
        sampler=sampling.sampler,
        steps=sampling.steps,
        guidance=sampling.guidance,
        eta=sampling.eta,
        temperature=sampling.temperature,
    )
