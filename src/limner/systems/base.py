"""Where networks meet the mathematics: a stage that can be sampled, what a request asks for, how far it has come.

A `Stage` binds a network to its process, its words and its machine; `run` samples it. How stages make a picture is each
system's own file. Nothing here reads files or knows a file format.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self, runtime_checkable

import PIL.Image
import torch
from pydantic import Field
from torch import Tensor

from limner.config import Frozen, SamplerName, SamplingSettings, StageSettings, SystemSettings
from limner.diffusion import guidance, noise, samplers, schedules, targets
from limner.errors import ConfigError, InputError, ShapeError
from limner.networks import int8, packed
from limner.networks.unet import Modulation, UNet
from limner.tokens import Tokenizer

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
MOST_CHARACTERS = 10_000  # of a prompt; far beyond any context
SETTLED = 0.1  # share of the levels, the cleanest, where a sketch is not pulled to its words: they could only recolour it
_AHEAD = 32  # levels whose modulations are computed at once; bounds their memory


class Request(Frozen):
    """What to draw. Settings that are None are the model's own."""

    prompt: str = ""
    label: int | None = Field(None, ge=0)  # number of the class to draw, for models of classes
    negative: str = ""  # drawn away from; "" is the empty caption of classifier-free guidance
    n: int = Field(1, ge=1, le=10_000)
    seed: int = 0
    first: int = Field(0, ge=0)  # number of the first picture of this seed
    steps: str | None = Field(None, coerce_numbers_to_str=True)  # of the first stage: "27", "ddim25", ...
    guidance: float | None = Field(None, ge=0, le=100)
    clip_scale: float | None = Field(None, ge=0, le=1000)  # how hard the model's noised CLIP pulls; None = not at all
    sampler: SamplerName | None = None
    batch: int = Field(4, ge=1)  # pictures drawn at a time; bounds the memory, not the result


class Progress(NamedTuple):
    """How far a request has come, after each step of each stage."""

    stage: str
    step: int  # counts from 1
    of: int
    indices: tuple[int, ...]  # numbers of the pictures being drawn
    preview: Tensor  # the clean pictures the network sees by now, [B 3 H W] in [-1, 1]


class Drawn(NamedTuple):
    """A finished picture of a request."""

    number: int  # under the seed, from 0
    picture: Tensor  # [3 H W] in [-1, 1]
    earlier: tuple[Tensor, ...]  # the same picture after each stage before the last


class Hint(NamedTuple):
    """A picture that a stage starts from, or keeps outside a mask."""

    image: Tensor  # [1 3 H W] in [-1, 1], at the stage's own side
    repaint: Tensor | None = None  # [1 1 H W]: 1 where the stage may paint, 0 where the picture stays; None = everywhere
    strength: float = 1.0  # how much of the path is walked: 1 starts from noise alone (SDEdit's t_0)
    rounds: int = 1  # how often a step is taken, for networks that were not trained to inpaint (RePaint)


@dataclass(frozen=True)
class Stage:
    """A network bound to its process, its vocabulary and its machine."""

    number: int
    settings: StageSettings
    net: UNet
    tokenizer: Tokenizer | None
    alpha_bar: Tensor  # [T] float64
    device: torch.device

    def sampling(self, request: Request) -> SamplingSettings:
        """This stage's sampling with the request's wishes; only the first stage is steered.

        A bare number of steps keeps the kind of spacing that the model was set up with.
        """
        own = self.settings.sampling
        if self.number:
            return own
        steps = request.steps
        if steps is not None and steps.isdigit() and request.sampler in (None, own.sampler):
            spacing = re.fullmatch(r"(snr|trail)\d+", own.steps)
            steps = f"{spacing[1]}{steps}" if spacing else steps
        # A noised CLIP takes the place of classifier-free guidance (GLIDE's notebook), unless both are asked for.
        pull = 1.0 if request.guidance is None and request.clip_scale is not None else request.guidance
        wished = {"steps": steps, "guidance": pull, "sampler": request.sampler}
        return own.model_copy(update={key: value for key, value in wished.items() if value is not None})

    def words(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Texts encoded and their keys and values projected, once. Shapes: -> {name: [len(texts) ...]}; {} without text."""
        text = self.settings.network.text
        if text is None or self.tokenizer is None:
            return {}
        tokens = self.tokenizer.encode(texts, text.context)
        return self.net.project(self.net.encode(tokens.ids.to(self.device), tokens.mask.to(self.device)))

    def cut(self, text: str) -> str:
        """The words at the end of a prompt that this stage will not see; "" when it sees all."""
        settings = self.settings.network.text
        return "" if settings is None or self.tokenizer is None else self.tokenizer.cut(text, settings.context)


class System(Protocol):
    """A model that draws: its stages in the order in which a picture passes them."""

    settings: SystemSettings
    stages: tuple[Stage, ...]
    hashes: dict[str, str]  # network -> sha256 of its weights

    @property
    def device(self) -> torch.device:
        """Where it draws."""

    def check(self, request: Request) -> None:
        """Refuse what can be refused before the first step. Raises: InputError saying what cannot be asked of it."""

    def draw(self, request: Request, hints: Mapping[int, Hint] | None = None) -> Iterator[Progress | Drawn]:
        """Progress after every step, Drawn for every picture when it is finished."""

    def of(self, stages: tuple[Stage, ...]) -> Self:
        """The same system with other stages."""

    def pictures(self, x: Tensor) -> list[PIL.Image.Image]:
        """Finished pictures in 8 bits, as the original code makes them. Shapes: [B 3 H W]. Units: [-1, 1]."""


@runtime_checkable
class Sociable(Protocol):
    """A system that draws pictures of several requests in one batch."""

    def draw_together(self, requests: Sequence[Request]) -> Iterator[Progress | Drawn]:
        """One picture of each request, in their order; they may differ in words, seed and number alone."""


def check_together(requests: Sequence[Request]) -> None:
    """Refuse requests that cannot share a batch.

    Raises: InputError for none, for one of several pictures, or when they are not sampled alike.
    """
    if any(request.n != 1 for request in requests) or not requests:
        raise InputError("together: give one request or more, each of one picture")
    alike = {
        request.model_copy(update={"prompt": "", "negative": "", "seed": 0, "first": 0, "batch": 1}) for request in requests
    }
    if len(alike) > 1:
        raise InputError("together: the requests differ in more than words, seed and number; draw them one after another")


def stage(
    number: int,
    settings: StageSettings,
    net: UNet,
    tokenizer: Tokenizer | None,
    *,
    device: torch.device,
    dtype: torch.dtype,
    integers: bool = False,
) -> Stage:
    """Make a network ready to sample on a device: evaluation mode, its type, channels last, its weights packed.

    `integers` makes the convolutions of its residual blocks work in 8-bit integers.
    Raises: UnsupportedError when this machine has no 8-bit units.
    """
    net = net.to(device).eval().requires_grad_(False)
    if dtype != torch.float32:
        net.cast(dtype)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    packed.pack(int8.quantise(net) if integers else net)
    return Stage(number, settings, net, tokenizer, schedules.of(settings.diffusion), device)


def run(
    stage: Stage,
    sampling: SamplingSettings,
    words: Mapping[str, Tensor],
    *,
    seed: int,
    indices: Sequence[int],
    low_res: Tensor | None = None,
    hint: Hint | None = None,
    push: guidance.Gradient | None = None,
) -> Iterator[samplers.Step]:
    """Sample one stage for the pictures `indices` of a seed; `push` as in `run_each`.

    Shapes: words {name: [1 ...] or [2 ...]}, the prompt and what is drawn away from; low_res [B 3 h w] -> Steps of [B 3 H W].
    """
    batch = len(indices)
    cond = {name: value[:1].expand(batch, *value.shape[1:]) for name, value in words.items()}
    null = {name: value[1:2] for name, value in words.items() if len(value) > 1}
    if low_res is not None:
        cond["low_res"] = low_res
    return run_each(stage, sampling, cond, null, seed=seed, indices=indices, hint=hint, push=push)


def run_each(
    stage: Stage,
    sampling: SamplingSettings,
    cond: Mapping[str, Tensor],
    null: Mapping[str, Tensor],
    *,
    seed: int | Sequence[int],
    indices: Sequence[int],
    hint: Hint | None = None,
    push: guidance.Gradient | None = None,
) -> Iterator[samplers.Step]:
    """Sample one stage, every picture under its own conditions; a picture is the same in whatever batch it is drawn.

    `seed` is one for all, or one for each of `indices`; `push` is the gradient of a score that every step shall climb.

    Shapes: cond {name: [B ...]}, null {name: [1 ...] or [B ...]} or {} for no guidance -> Steps of [B 3 H W].
    """
    network = stage.settings.network
    path = walked(stage, sampling, hint)
    if network.inpaint and hint is not None and hint.repaint is not None:
        cond = {**cond, **_spread({"image": hint.image, "known": 1 - hint.repaint}, len(indices), stage.device)}
    net = guided(stage, sampling.guidance, cond, null, path=path)
    denoise = targets.denoiser(net, stage.alpha_bar, stage.settings.diffusion, path=path)
    if null and hint is not None and hint.repaint is None and hint.strength < 1:
        unguided = guided(stage, 1.0, cond, {}, path=path)
        settled = targets.denoiser(unguided, stage.alpha_bar, stage.settings.diffusion, path=path)
        denoise = guidance.above(SETTLED * len(stage.alpha_bar), denoise, settled)
    shape = (network.channels, network.side, network.side)
    x_T = noise.batch(shape, seed=seed, indices=indices, stage=stage.number, step=noise.FIRST).to(stage.device)
    draws = noise.draws(x_T, seed=seed, indices=indices, stage=stage.number)
    sample, start = sampler(sampling), sampling.temperature * x_T
    if hint is not None:
        image = hint.image.to(x_T)
        if hint.repaint is not None:
            denoise = guidance.keep(denoise, image, hint.repaint.to(x_T), clip=targets.clip_unit)
        if hint.strength < 1:
            start = targets.q_sample(image.expand_as(x_T), path[0], stage.alpha_bar, x_T)
        if hint.rounds > 1:
            sample = samplers.resampled(sample, hint.rounds)
    if push is not None:
        denoise = guidance.pushed(denoise, push)
    return sample(denoise, stage.alpha_bar, start, path, draws)


def walked(stage: Stage, sampling: SamplingSettings, hint: Hint | None) -> tuple[int, ...]:
    """The levels that are visited: all of the path, or with a hint of less strength the end of it, at least one step."""
    path = schedules.path(len(stage.alpha_bar), sampling.steps, alpha_bar=stage.alpha_bar)
    if hint is None or hint.strength >= 1:
        return path
    return path[-1 - max(1, round(hint.strength * (len(path) - 1))) :]


def _spread(values: Mapping[str, Tensor], batch: int, device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device).expand(batch, *value.shape[1:]) for name, value in values.items()}


def guided(
    stage: Stage, scale: float, cond: Mapping[str, Tensor], null: Mapping[str, Tensor], *, path: Sequence[int] = ()
) -> targets.Network:
    """The stage's network bound to its conditions: one call for both halves, one half alone when there is no null.

    What depends on the level alone is computed for many levels of `path` at once; other levels may be asked for too.
    """
    levels = targets.timesteps(torch.tensor(path[:-1], dtype=torch.int64), stage.settings.diffusion)
    place = {t: k for k, t in enumerate(levels.tolist())}
    ready: dict[float, list[Modulation]] = {}

    def call(x: Tensor, t: Tensor, bound: dict[str, Tensor]) -> Tensor:
        now = float(t[0])  # one level for the whole batch
        if now in place and now not in ready:
            soon = levels[place[now] :][:_AHEAD]
            ready.clear()
            ready.update(zip(soon.tolist(), stage.net.modulations(soon.to(t.device), bound), strict=True))
        output: Tensor = stage.net(_channels_last(x), t, bound, ready.get(now))
        return output

    return guidance.cfg(call, scale if null else 1.0, cond, null)


def count_steps(stage: Stage, sampling: SamplingSettings, hint: Hint | None = None) -> int:
    """How many Steps `run` will yield."""
    steps = len(walked(stage, sampling, hint)) - 1
    return steps if hint is None else (steps - 1) * hint.rounds + 1


def without_grad(steps: Iterator[samplers.Step]) -> Iterator[samplers.Step]:
    """The same steps, each computed without recording gradients (not inference mode: guidance may differentiate inside)."""
    while True:
        with torch.no_grad():
            step = next(steps, None)
        if step is None:
            return
        yield step


def sampler(sampling: SamplingSettings) -> samplers.Sampler:
    """The sampler of some settings, its keywords bound.

    Raises: ConfigError for a name without a sampler.
    """
    if sampling.sampler == "ddim":
        return lambda denoise, alpha_bar, x_T, path, draws, /: samplers.ddim(
            denoise, alpha_bar, x_T, path, draws, eta=sampling.eta
        )
    if sampling.sampler not in samplers.SAMPLERS:
        raise ConfigError(f"sampler: there is no '{sampling.sampler}'; have: {', '.join(samplers.SAMPLERS)}")
    return samplers.SAMPLERS[sampling.sampler]


def round_8bit(x: Tensor) -> Tensor:
    """Pictures as the next stage was trained to see them: rounded to 256 values (GLIDE's notebook).

    Shapes: [B C H W] -> the same. Units: [-1, 1].
    """
    return ((x.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def check_prompt(text: str, *, what: str = "prompt") -> None:
    """Refuse a prompt that cannot be meant.

    Raises: InputError saying what is wrong with it.
    """
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"{what}: {len(text):,} characters; at most {MOST_CHARACTERS:,} are taken; shorten it")
    bad = sorted({f"U+{ord(c):04X}" for c in text if unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\n\r"})
    if bad:
        raise InputError(f"{what}: holds control characters ({', '.join(bad[:5])}); remove them")


def pick_device(name: str = "auto") -> torch.device:
    """The device a name means; "auto" is the first accelerator, or the CPU.

    Raises: ConfigError when there is no such device here.
    """
    if name == "auto":
        return (torch.accelerator.is_available() and torch.accelerator.current_accelerator()) or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device '{name}' is not usable here ({str(error).splitlines()[0]:.80}); use 'auto' or 'cpu'"
        ) from None
    return device


def pick_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """The type the network's trunk runs in; "auto" is bfloat16 where the hardware multiplies it, else float32.

    Raises: ConfigError for another name.
    """
    match name:
        case "float32":
            return torch.float32
        case "bfloat16":
            return torch.bfloat16
        case "float16":
            return torch.float16
        case "auto":
            return torch.bfloat16 if multiplies_bfloat16(device) else torch.float32
    raise ConfigError(f"dtype '{name}': use auto, float32, bfloat16 or float16")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has bfloat16 units, so that the narrow type is faster and not only smaller."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return bool(able.get("amx_bf16") or able.get("avx512_bf16") or able.get("sve_bf16") or able.get("bf16"))
    return False


def check_low_res(stage: Stage, low_res: Tensor) -> None:
    """Refuse a picture that a stage cannot enlarge.

    Raises: ShapeError.
    """
    side = stage.settings.low_side
    if side is not None and low_res.shape[-2:] != (side, side):
        raise ShapeError(f"{stage.settings.name}: enlarges pictures of {side}x{side}; got {list(low_res.shape[-2:])}")


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)
