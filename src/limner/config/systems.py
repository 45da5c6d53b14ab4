"""Systems, stages and training recipes: what a checkpoint's `config.json` and a preset hold."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from limner.config.networks import NetworkSettings, UNetSettings
from limner.config.settings import Frozen

SamplerName = Literal["ddpm", "ddim", "heun", "dpmpp2m", "euler"]
SystemName = Literal[
    "glide",
    "adm",
    "min-dalle",
    "t5",
    "dvae",
    "latent-vae",
    "consistency-decoder",
    "clip",
    "noised-clip",
    "coca",
    "unclip",
]


class DiffusionSettings(Frozen):
    """The noising process a stage was trained with."""

    schedule: Literal["linear", "cosine"] = "cosine"
    levels: int = Field(1000, ge=2)  # T
    shift: float = Field(1.0, gt=0)  # > 1: more noise at every level, signal-to-noise divided by shift^2
    target: Literal["eps", "x0", "v", "previous"] = "eps"
    variance: Literal["fixed_small", "fixed_large", "learned", "learned_range"] = "learned_range"
    rescale_t: bool = False  # the network receives t * 1000 / T (improved-diffusion)


class SamplingSettings(Frozen):
    """How a stage is sampled unless the caller says otherwise."""

    sampler: SamplerName = "ddpm"
    steps: str = Field("100", coerce_numbers_to_str=True)  # a respacing: "100", "ddim25", "10,10,3,2,2", "" = all
    guidance: float = Field(1.0, ge=0)  # classifier-free guidance scale, 1 = none; of adm the classifier's, 0 = none
    eta: float = Field(0.0, ge=0, le=1)  # ddim: 0 deterministic, 1 as noisy as ddpm
    temperature: float = Field(1.0, ge=0)  # scale of the first noise


class StageSettings(Frozen):
    """One network of a cascade with its process and its sampling."""

    name: str
    network: UNetSettings
    diffusion: DiffusionSettings = DiffusionSettings()
    sampling: SamplingSettings = SamplingSettings()
    low_side: int | None = None  # upsamplers: pixels of the smaller picture


class PartSettings(Frozen):
    """A network of a system that draws nothing itself: a classifier, a tower of CLIP, an autoencoder."""

    name: str
    network: NetworkSettings


class SystemSettings(Frozen):
    """A whole system: its stages in the order in which a picture passes them, and its other networks."""

    system: SystemName = "glide"
    name: str
    summary: str = ""
    licence: str = "Apache-2.0"
    stages: tuple[StageSettings, ...] = ()
    parts: tuple[PartSettings, ...] = ()

    def networks(self) -> dict[str, NetworkSettings]:
        """Every network of the system by the name of its weights file: the stages, then the parts."""
        stages = {stage.name: stage.network for stage in self.stages}
        return {**stages, **{part.name: part.network for part in self.parts}}


class EraseSettings(Frozen):
    """What is erased from a picture while a network learns to inpaint (GLIDE section 4.3).

    The first five are shares of the views and add up to 1; sizes are (least, most) in sides of the picture.
    """

    boxes: float = Field(0.25, ge=0, le=1)  # one to three rectangles
    strokes: float = Field(0.15, ge=0, le=1)  # one to three lines of a thick brush
    objects: float = Field(0.35, ge=0, le=1)  # a thing that lies on a plain ground, or its box; a blob where there is none
    everything: float = Field(0.2, ge=0, le=1)  # the generator's own task
    nothing: float = Field(0.05, ge=0, le=1)
    box: tuple[float, float] = (0.15, 0.75)  # sides of a rectangle
    brush: tuple[float, float] = (0.06, 0.25)  # thickness of a line
    margin: tuple[float, float] = (0.03, 0.12)  # how much wider than the thing its region is, on every side

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        total = self.boxes + self.strokes + self.objects + self.everything + self.nothing
        if not math.isclose(total, 1, abs_tol=1e-6):
            raise ValueError(
                f"the shares boxes, strokes, objects, everything and nothing must add up to 1; they make {total:g}"
            )
        for name, (least, most) in (("box", self.box), ("brush", self.brush), ("margin", self.margin)):
            if not 0 < least <= most <= 1:
                raise ValueError(f"{name} must be two sizes with 0 < least <= most <= 1; got {least:g} and {most:g}")
        return self


class TrainSettings(Frozen):
    """How one stage is trained; the stage is named, the rest are figures of the recipe."""

    stage: str
    start: str = ""  # the model (a name or a folder) or the run to begin from; "" = fresh weights
    data: str = ""  # a data source: "shapes", a built folder, a folder of pictures, a manifest, shards
    batch: int = Field(32, ge=1)  # views a step, over all ranks and accumulations
    accumulate: int = Field(1, ge=1)  # micro-batches a step and rank
    steps: int = Field(100_000, ge=1)
    lr: float = Field(3e-4, gt=0)
    warmup: int = Field(500, ge=0)  # steps of linear rise
    decay: Literal["cosine", "constant"] = "cosine"  # to zero at the last step
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(0.0, ge=0)
    clip_norm: float = Field(1.0, gt=0)
    ema: tuple[float, ...] = (0.999,)  # rates; the last one is what is exported
    loss: Literal["simple", "hybrid", "rescaled_hybrid", "kl", "rescaled_kl"] = "simple"
    weighting: Literal["none", "min_snr", "snr_plus_one"] = "none"
    levels: Literal["uniform", "loss_second_moment"] = "uniform"  # how t is drawn
    noisier: float = Field(1.0, ge=1)  # uniform t drawn as T * u ** (1 / noisier): above 1, noisy levels more often
    snr_cap: float = Field(5.0, gt=0)  # of both weightings
    outline: float = Field(0.0, ge=0)  # weight of a loss that asks the words alone for the mean picture; 0 = none
    drop_captions: float = Field(0.1, ge=0, le=1)
    drop_low_res_blur: float = Field(0.5, ge=0, le=1)  # share of views whose low-res condition is not blurred
    crop: int | None = None  # upsamplers: train on random crops of this many pixels of the target
    erase: EraseSettings | None = None  # networks that inpaint: which regions they are not shown
    bf16: bool = True  # autocast; norms, softmax and loss stay float32
    seed: int = 0
    save_every: int = Field(500, ge=1)  # steps
    sample_every: int = Field(2000, ge=0)  # steps; 0 = never
    prompts: tuple[str, ...] = ()  # of the sample grid
    compile: bool = False


class Preset(Frozen):
    """A named system with the recipe that trains each of its stages."""

    model: SystemSettings
    training: tuple[TrainSettings, ...] = ()
