"""From a model's name and some words to pictures that carry their recipe; every system is reached through `load`.

How a system draws is its own file; what a picture remembers is `recipe.py`; `repeating.py` draws one again from that.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

import torch

from limner import catalog, recipe, weights
from limner.config import SamplerName, SamplingSettings, SystemSettings, overridden, parse
from limner.errors import ConfigError, InputError, UnsupportedError
from limner.recipe import Image, Recipe, StageRecipe
from limner.systems import adm, base, clip, dvae, glide
from limner.systems.base import Drawn, Dtype, Progress, Request
from limner.systems.glide import Glide

SEEDS = 2**32  # random seeds are drawn below this, so that a person can copy one; any integer is a seed
_DOES = {
    "clip": "scores pictures and words: limner.load(...).score(pictures, texts)",
    "dvae": "encodes and decodes: limner.load(...).encode(pictures) and .decode(codes)",
    "noised-clip": "scores noisy 64 px pictures for GLIDE; `limner export` writes its towers",
}
_WISHES = ("label", "clip_scale")  # of a request, beside what stands in every recipe


class Wishes(TypedDict, total=False):
    """What may be asked for beside the words; what is left out or None is the model's own choice."""

    label: int | None  # number of the class, for models that draw classes
    n: int  # pictures
    seed: int | None  # None = random; any integer is a seed
    steps: str | int | None  # of the first stage: 27, "ddim25", "fast27", ...
    guidance: float | None  # of the first stage; 1 = none
    clip_scale: float | None  # how hard the model's noised CLIP pulls, where it has one; 3 in GLIDE's notebook
    negative: str  # words to draw away from
    sampler: SamplerName | None  # of the first stage
    first: int  # number of the first picture under the seed
    batch: int  # pictures drawn at a time; bounds the memory, not the noise


class Pipe:
    """A loaded system. Called with words it gives pictures; `stream` gives every step on the way."""

    def __init__(self, system: base.System, name: str, *, dtype: torch.dtype = torch.float32, config_hash: str = "") -> None:
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

    def __call__(self, prompt: str = "", **wishes: Unpack[Wishes]) -> list[Image]:
        """Draw pictures of a prompt, or of a class: `pipe("a red fox")`, `pipe(label=207)`.

        Raises: InputError for a prompt that cannot be used; ConfigError for a setting that does not fit.
        """
        return [item for item in self.stream(prompt, **wishes) if isinstance(item, Image)]

    def stream(self, prompt: str = "", **wishes: Unpack[Wishes]) -> Iterator[Progress | Image]:
        """The same as a call, step by step: a Progress after every step, an Image for every finished picture.

        Whoever stops asking has cancelled. Raises: as a call does, at once.
        """
        return self.draw(request(prompt, **wishes))

    def draw(self, asked: Request) -> Iterator[Progress | Image]:
        """Draw a request; Progress and Images as they come.

        Raises: InputError for a prompt that cannot be used; ConfigError for a setting that does not fit.
        """
        self.check(asked)
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

    def guided(self, model: str | Path) -> Pipe:
        """The same system, which the noised CLIP of another model can guide; `clip_scale` says how hard.

        Raises: CheckpointError when there is no such model, or no noised CLIP that fits in it; UnsupportedError when this
            system does not read words.
        """
        if not isinstance(self.system, Glide):
            raise UnsupportedError(f"{self.name}: does not read words, so a CLIP cannot guide it; glide can be guided")
        system = self.system.guided(weights.read_folder(catalog.find(model)))
        return Pipe(system, self.name, dtype=self.dtype, config_hash=self.config_hash)

    def _of(self, stages: tuple[base.Stage, ...]) -> Pipe:
        return Pipe(self.system.of(stages), self.name, dtype=self.dtype, config_hash=self.config_hash)

    def check(self, asked: Request) -> None:
        """Refuse whatever can be refused before the first step.

        Raises: InputError for a prompt that cannot be used; ConfigError for a setting that does not fit.
        """
        self.system.check(asked)
        for stage in self.system.stages:
            sampling = stage.sampling(asked)
            base.count_steps(stage, sampling)
            base.sampler(sampling)

    def draw_together(self, asked: Sequence[Request]) -> Iterator[Progress | Image]:
        """One picture of each request, in their order; in one batch where the system can, else one after another.

        The noise of a picture is that of its own seed and number, so that company changes no more than its last bits.

        Raises: InputError for requests that are not sampled alike; and as `draw`.
        """
        base.check_together(asked)
        for each in asked:
            self.check(each)
        return self._draw_together(asked)

    def _draw_together(self, asked: Sequence[Request]) -> Iterator[Progress | Image]:
        if len(asked) == 1 or not isinstance(self.system, base.Sociable) or asked[0].clip_scale is not None:
            for each in asked:
                yield from self._draw(each)
            return
        waiting = iter(asked)
        for item in self.system.draw_together(asked):
            if not isinstance(item, Drawn):
                yield item
                continue
            image = self._finished(next(waiting), item)
            extra = {**image.recipe.extra, "together": len(asked)}  # others shared the batch, which moves last bits
            yield Image(image.picture, image.recipe.model_copy(update={"extra": extra}))

    def _draw(self, asked: Request) -> Iterator[Progress | Image]:
        for item in self.system.draw(asked):
            yield self._finished(asked, item) if isinstance(item, Drawn) else item

    def recipe(self, asked: Request, number: int, size: tuple[int, int]) -> Recipe:
        """What picture `number` of a request is made from. Units: size (width, height) in pixels."""
        start = asked.first + (number - asked.first) // asked.batch * asked.batch
        together = min(asked.batch, asked.first + asked.n - start)
        return Recipe(
            prompt=asked.prompt,
            negative=asked.negative,
            model=self.name,
            licence=self.settings.licence,
            config_hash=self.config_hash,
            seed=asked.seed,
            index=number,
            stages=tuple(_stage_recipe(stage, asked, self.system.hashes) for stage in self.system.stages),
            width=size[0],
            height=size[1],
            torch=torch.__version__,
            device=str(self.system.device),
            dtype=str(self.dtype).removeprefix("torch."),
            # How many share a batch moves the last bits of a sum, so an exact repetition needs to know it.
            extra={"batch": [start, together]} | self._extra(asked),
        )

    def _extra(self, asked: Request) -> dict[str, Any]:
        """The class or pull that was asked for, and the networks beside the stages."""
        wished = {name: getattr(asked, name) for name in _WISHES if getattr(asked, name) is not None}
        if asked.clip_scale is not None and isinstance(self.system, Glide) and self.system.guide is not None:
            wished["clip"] = self.system.guide.model
        parts = {part.name: self.system.hashes.get(part.name, "") for part in self.settings.parts}
        return wished | ({"parts": parts} if parts else {})

    def _finished(self, asked: Request, drawn: Drawn) -> Image:
        picture = self.system.pictures(drawn.picture[None])[0]
        return Image(picture, self.recipe(asked, drawn.number, picture.size))


def load(
    name: str | Path, *, device: str = "auto", dtype: Dtype = "auto", settings: Sequence[str] = (), side: int | None = None
) -> Any:
    """A model by name (see `limner.models`) or checkpoint folder, ready to use: what draws is a `Pipe`, CLIP is a
    `systems.clip.Scorer`, DALL-E's autoencoder a `systems.dvae.Dvae`.

    `settings` are dotted overrides of how it is sampled, "stages.1.sampling.steps=4"; `side` stops after the stage that
    gives pictures of this many pixels.

    Raises: CheckpointError when there is no such model or its weights do not fit; ConfigError for a device, type or setting
        that does not exist; InputError for a side it cannot draw; UnsupportedError for networks without a system.
    """
    folder = weights.read_folder(catalog.find(name))
    if not folder.settings.stages and (settings or side is not None):
        raise ConfigError(f"{name}: draws nothing, so it has neither sampling to set nor a size")
    match folder.settings.system:
        case "clip":
            return clip.open_folder(folder, device=device, dtype=dtype)
        case "dvae":
            return dvae.open_folder(folder, device=device, dtype=dtype)
        case _:
            return _pipe(folder, device=device, dtype=dtype, settings=settings, side=side)


def load_pipe(
    name: str | Path, *, device: str = "auto", dtype: Dtype = "auto", settings: Sequence[str] = (), side: int | None = None
) -> Pipe:
    """`load` for what draws.

    Raises: as `load` does, and UnsupportedError for a model that does not draw.
    """
    return _pipe(weights.read_folder(catalog.find(name)), device=device, dtype=dtype, settings=settings, side=side)


def _pipe(folder: weights.Folder, *, device: str, dtype: Dtype, settings: Sequence[str], side: int | None) -> Pipe:
    name = folder.path.resolve().name
    system: base.System
    chosen = folder._replace(settings=sampled_settings(folder.settings, settings, where=name))
    if side is not None:
        stage_of_side(name, [stage.network.side for stage in chosen.settings.stages], side)
    match chosen.settings.system:
        case "glide":
            system = glide.open_folder(chosen, device=device, dtype=dtype)
        case "adm":
            system = adm.open_folder(chosen, device=device, dtype=dtype)
        case other:
            does = _DOES.get(other, "has its networks alone: `limner export` writes them, networks.building.build makes them")
            raise UnsupportedError(f"{name}: a {other} model does not draw; it {does}")
    config_hash = recipe.config_hash(folder.settings)
    pipe = Pipe(system, name, dtype=base.pick_dtype(dtype, system.device), config_hash=config_hash)
    return pipe if side is None else pipe.sized(side)


def request(prompt: str = "", **wishes: Unpack[Wishes]) -> Request:
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
