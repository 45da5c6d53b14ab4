"""Frozen, typed settings: what a network, a stage and a system are made of.

Presets are TOML for people (`presets/*.toml`, may say `extends = "name"`); checkpoints hold the same settings fully
expanded as `config.json`. Overrides are dotted paths: `stages.0.sampling.steps=27`. Training settings live here too,
because a preset carries both. Nothing here imports torch.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from limner.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)
Tree = dict[str, Any]
SamplerName = Literal["ddpm", "ddim", "heun", "dpmpp2m", "euler"]


class Frozen(BaseModel):
    """Base of all settings: cannot be changed, and refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TextSettings(Frozen):
    """A GLIDE text transformer (GLIDE section 2.1): bidirectional, pre-LN, its padding learned."""

    vocabulary: str = "gpt2"  # "gpt2", "clip", or the name of a tokenizer file in the checkpoint folder
    rows: int = Field(50257, ge=2)  # how many token ids the embedding holds
    context: int = Field(128, ge=1)  # tokens; longer prompts are cut, and the user is told
    width: int = Field(512, ge=1)
    depth: int = Field(16, ge=0)
    heads: int = Field(8, ge=1)
    learned_padding: bool = True  # pads get their own vector instead of the pad token's embedding
    final_norm: bool = True

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class UNetSettings(Frozen):
    """The one ADM U-Net of IDDPM, ADM, GLIDE and unCLIP (ADM appendix A; GLIDE section 2)."""

    side: int = Field(64, ge=1)  # pixels of the square picture it is built for
    channels: int = Field(3, ge=1)  # of the picture itself; conditions add their own
    width: int = Field(192, ge=1)
    multipliers: tuple[float, ...] = (1, 2, 3, 4)  # of width, one a level; the first may be a fraction
    blocks: int = Field(3, ge=1)  # residual blocks a level
    attention: tuple[int, ...] = (2, 4, 8)  # downsampling factors (after `patch`) at which attention is used
    middle_attention: bool = True  # unCLIP's upsamplers have none, so that crops and whole pictures are alike to them
    heads: int = Field(1, ge=1)  # used when head_width is None
    heads_up: int | None = None  # in the decoder; None = heads
    head_width: int | None = 64  # channels a head; overrides heads
    dropout: float = Field(0.0, ge=0, lt=1)
    scale_shift: bool = True  # the embedding scales and shifts (AdaGN) instead of adding
    residual_resample: bool = True  # BigGAN up / down blocks instead of convolutions or pooling
    conv_resample: bool = True  # without residual_resample: learned convolution, or plain pooling / nearest
    groups: int = Field(32, ge=1)  # of every group norm
    ranged: bool = True  # also predicts the variance: twice the output channels
    classes: int | None = None  # class-conditional when set
    text: TextSettings | None = None  # text-conditional when set
    low_res: bool = False  # takes a smaller picture, enlarged bilinearly (upsamplers)
    inpaint: bool = False  # takes a masked picture and its mask
    patch: int = Field(1, ge=1)  # pixel-unshuffle factor in front of the stem; 1 = as published

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.side % (self.patch * 2 ** (len(self.multipliers) - 1)):
            raise ValueError(f"side {self.side} cannot be halved {len(self.multipliers) - 1} times after patch {self.patch}")
        return self


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
    guidance: float = Field(1.0, ge=0)  # classifier-free guidance scale; 1 = none
    eta: float = Field(0.0, ge=0, le=1)  # ddim: 0 deterministic, 1 as noisy as ddpm
    temperature: float = Field(1.0, ge=0)  # scale of the first noise


class StageSettings(Frozen):
    """One network of a cascade with its process and its sampling."""

    name: str
    network: UNetSettings
    diffusion: DiffusionSettings = DiffusionSettings()
    sampling: SamplingSettings = SamplingSettings()
    low_side: int | None = None  # upsamplers: pixels of the smaller picture


class SystemSettings(Frozen):
    """A whole system: its stages in the order in which a picture passes them."""

    system: Literal["glide"] = "glide"
    name: str
    summary: str = ""
    licence: str = "Apache-2.0"
    stages: tuple[StageSettings, ...]


class TrainSettings(Frozen):
    """How one stage is trained; the stage is named, the rest are figures of the recipe."""

    stage: str
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
    weighting: Literal["none", "min_snr"] = "none"
    levels: Literal["uniform", "loss_second_moment"] = "uniform"  # how t is drawn
    snr_cap: float = Field(5.0, gt=0)  # of min_snr
    drop_captions: float = Field(0.1, ge=0, le=1)
    drop_low_res_blur: float = Field(0.5, ge=0, le=1)  # share of views whose low-res condition is not blurred
    crop: int | None = None  # upsamplers: train on random crops of this many pixels of the target
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


def presets() -> list[str]:
    """Names of the presets that ship with limner."""
    return sorted(p.name.removesuffix(".toml") for p in resources.files("limner.presets").iterdir() if p.name.endswith(".toml"))


def load_preset(name: str | Path, overrides: Sequence[str] = ()) -> Preset:
    """Read a preset by name or path, follow `extends`, apply `a.b.0.c=value` overrides.

    Raises: ConfigError with the dotted path of the first wrong setting and the nearest right one.
    """
    tree = _read(name, ())
    for override in overrides:
        _override(tree, override)
    return parse(Preset, tree, where=str(name))


def overridden(settings: Settings, overrides: Sequence[str], *, where: str) -> Settings:
    """The same settings with `a.b.0.c=value` overrides applied.

    Raises: ConfigError as `load_preset` does.
    """
    tree: Tree = settings.model_dump(mode="json")
    for override in overrides:
        _override(tree, override)
    return parse(type(settings), tree, where=where)


def parse(kind: type[Settings], tree: Mapping[str, Any], *, where: str) -> Settings:
    """Build settings from plain data; errors name the dotted path and suggest the nearest name."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(_explain(kind, first, where)) from None


def dump(settings: BaseModel) -> str:
    """The settings, fully expanded, as indented JSON with a final newline."""
    return json.dumps(settings.model_dump(mode="json"), indent=2) + "\n"


def _read(name: str | Path, seen: tuple[str, ...]) -> Tree:
    if str(name) in seen:
        raise ConfigError(f"{name}: presets extend each other in a circle: {' -> '.join((*seen, str(name)))}")
    try:
        text = _find(name)
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{name}: not a text file in UTF-8") from None
    parent = tree.pop("extends", None)
    return tree if parent is None else _merge(_read(parent, (*seen, str(name))), tree)


def _find(name: str | Path) -> str:
    path = Path(name)
    if path.suffix == ".toml":
        if not path.is_file():
            raise ConfigError(f"{path}: no such preset file")
        return path.read_text(encoding="utf-8")
    shipped = resources.files("limner.presets").joinpath(f"{name}.toml")
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    raise ConfigError(f"{name}: no such preset{_did_you_mean(str(name), presets())}; have: {', '.join(presets())}")


def _merge(base: Tree, over: Tree) -> Tree:
    """Tables merge key by key; lists and values are replaced."""
    out = dict(base)
    for key, value in over.items():
        out[key] = _merge(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def _override(tree: Tree, override: str) -> None:
    path, separator, text = override.partition("=")
    if not separator or not path:
        raise ConfigError(f"--set {override}: write it as path.to.setting=value")
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word is a string
    node: Any = tree
    keys = path.split(".")
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, list):
            if not key.isdigit() or int(key) >= len(node):
                raise ConfigError(f"{path}: '{key}' is not one of the {len(node)} entries 0..{len(node) - 1}")
            if last:
                node[int(key)] = value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                node = node.setdefault(key, {})
        else:
            raise ConfigError(f"{path}: '{'.'.join(keys[:depth])}' is a plain value, it has no '{key}'")


def _explain(kind: type[BaseModel], error: Any, where: str) -> str:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    if error["type"] == "extra_forbidden":
        names = _fields_at(kind, error["loc"][:-1])
        return f"{where}: {path}: no such setting{_did_you_mean(str(error['loc'][-1]), names)}"
    found = "" if error["type"] == "missing" else f"; got {error['input']!r:.80}"
    return f"{where}: {path}: {error['msg'].removeprefix('Value error, ')}{found}"


def _fields_at(kind: Any, loc: Sequence[int | str]) -> list[str]:
    """Names of the settings that exist at a place inside `kind`."""
    for part in loc:
        if isinstance(part, str) and isinstance(kind, type) and issubclass(kind, BaseModel) and part in kind.model_fields:
            kind = kind.model_fields[part].annotation
        for inner in getattr(kind, "__args__", ()):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                kind = inner
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _did_you_mean(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
