"""How fast it draws: our loop against the same weights sampled the reference way, in one process.

Every variant is built anew from the same weights, so that the peak of one does not hide in another's. Times are medians
of several rounds after a warm-up; each round is one of the reference and, right after it, one of the variant, so that a machine
that slows down slows both. How a result is written down is in `bench_report`.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from limner import tokens
from limner.config import Frozen, StageSettings, load_preset
from limner.diffusion import noise, samplers, schedules, targets
from limner.errors import UnsupportedError
from limner.evaluation import machine, reference
from limner.evaluation.machine import Machine
from limner.networks.unet import UNet
from limner.systems import base
from limner.systems.base import Stage
from limner.systems.glide import Glide

Variant = Literal["reference", "float32", "bfloat16", "int8"]
Progress: TypeAlias = Callable[[str], None]
PROMPT = "a small red fox asleep beside a tall blue vase on a wooden table, oil painting"
SEED = 0  # of made-up weights and of the noise
MIDDLE = (500, 490)  # the step that is timed alone: from here to there
LABELS: dict[Variant, str] = {
    "reference": "reference way, eager float32",
    "float32": "ours, float32",
    "bfloat16": "ours, bfloat16",
    "int8": "ours, int8",
}
_KINDS = {  # of the operators that take the time; the first that fits the name
    "convolution": ("conv",),
    "attention": ("attention", "softmax", "bmm"),
    "linear layers": ("mm", "linear"),
    "norms": ("norm",),
    "moving memory": ("copy", "cat", "clone", "shuffle", "upsample", "pool", "split", "stack", "unfold"),
    "element by element": ("silu", "gelu", "add", "mul", "div", "sub", "clamp", "round", "min", "max", "where", "cos", "sin"),
}


class Timing(Frozen):
    """One variant's time and memory."""

    variant: Variant
    seconds: float  # median
    fastest: float
    slowest: float
    rounds: int
    once: float  # seconds a picture spent before the loop; 0 where the time holds them
    peak_mb: float | None  # above what the process held before: this variant's weights and work
    ratio: float  # the median over the rounds of the reference's time divided by this one's
    error: float  # |output - reference| / |reference|
    levels: float | None  # mean difference of finished pictures in steps of 0..255; None: none is finished
    parts: dict[str, float]  # where the time goes: kind of operator -> share


class Case(Frozen):
    """One thing that was timed in several ways."""

    name: str
    what: str
    parameters: int
    timings: tuple[Timing, ...]  # the first is the reference


class BenchResult(Frozen):
    """All cases of one run."""

    machine: Machine
    date: str
    command: str
    cases: tuple[Case, ...]


class Job(NamedTuple):
    """A piece of work in one variant, ready to be repeated; gives the output that must agree with the reference's."""

    work: Callable[[], Tensor]
    once: float
    finishes: bool  # whether the output is pictures


class Yardstick(NamedTuple):
    """What the variants are compared with."""

    job: Job
    output: Tensor


def official(
    name: str, variants: Sequence[Variant], device: torch.device, *, rounds: int = 5, progress: Progress = lambda text: None
) -> Case:
    """One step at a released network's size, its weights made from a seed: the base guided, the upsampler alone."""
    settings = next(stage for stage in load_preset("glide").model.stages if stage.name == name)
    return one_step(settings, f"GLIDE {name}, released size", variants, device, rounds=rounds, progress=progress)


def one_step(
    settings: StageSettings,
    name: str,
    variants: Sequence[Variant],
    device: torch.device,
    *,
    rounds: int = 5,
    progress: Progress = lambda text: None,
) -> Case:
    """One step of a stage as its settings sample it, its weights made from a seed."""
    halves = "both halves of the guidance" if settings.sampling.guidance != 1 else "no guidance"
    what = f"one step of one {settings.network.side} px picture, {halves}"

    def made(variant: Variant) -> Job:
        return _step(_stage(0, settings, made_up(settings), variant, device, _tokenizer(settings)), variant)

    return _case((name, what, _parameters([settings])), made, variants, device, rounds, progress)


def pictures(
    system: Glide,
    variants: Sequence[Variant],
    *,
    prompt: str = PROMPT,
    rounds: int = 5,
    n: int = 1,
    progress: Progress = lambda text: None,
) -> Case:
    """Whole pictures of a model, all stages and all steps, words included.

    Note: the prompt moves no time, but how far variants differ: what a model never learned it draws by a hair's breadth.
    """
    stages = system.stages
    states = [{key: value.clone() for key, value in stage.net.state_dict().items()} for stage in stages]

    def made(variant: Variant) -> Job:
        built = [
            _stage(stage.number, stage.settings, _filled(stage.settings, state), variant, stage.device, stage.tokenizer)
            for stage, state in zip(stages, states, strict=True)
        ]
        return Job(lambda: _cascade(built, variant, prompt, n), 0.0, True)

    steps = " + ".join(
        f"{base.count_steps(stage, stage.settings.sampling)} {stage.settings.sampling.sampler}" for stage in stages
    )
    what = f"{n} whole {stages[-1].settings.network.side} px picture{'s' * (n > 1)}, {steps} steps, {prompt!r}"
    about = (system.settings.name, what, _parameters([stage.settings for stage in stages]))
    return _case(about, made, variants, system.device, rounds, progress)


def made_up(settings: StageSettings) -> UNet:
    """A network with weights from a seed, the layers that training begins at zero filled too, so that all work counts."""
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        net = UNet(settings.network)
    with torch.no_grad():
        for parameter in net.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02, generator=generator)
    return net


def _filled(settings: StageSettings, state: Mapping[str, Tensor]) -> UNet:
    net = UNet(settings.network)
    net.load_state_dict(state)
    return net


def _tokenizer(settings: StageSettings) -> tokens.Tokenizer | None:
    return None if settings.network.text is None else tokens.load(settings.network.text.vocabulary)


def _stage(
    number: int, settings: StageSettings, net: UNet, variant: Variant, device: torch.device, tokenizer: tokens.Tokenizer | None
) -> Stage:
    """A network made ready the way a variant wants it."""
    if variant == "reference":
        ready = net.to(device).eval().requires_grad_(False)
        return Stage(number, settings, ready, tokenizer, schedules.of(settings.diffusion), device)
    dtype = torch.float32 if variant == "float32" else torch.bfloat16
    return base.stage(number, settings, net, tokenizer, device=device, dtype=dtype, integers=variant == "int8")


def _step(stage: Stage, variant: Variant) -> Job:
    """One step in the middle of the path; the output is what the network said, guided."""
    settings = stage.settings
    side = settings.network.side
    x = noise.batch((settings.network.channels, side, side), seed=SEED, indices=[0], stage=0, step=noise.FIRST).to(stage.device)
    low = None
    if settings.low_side is not None:
        low = noise.batch(
            (settings.network.channels, settings.low_side, settings.low_side), seed=SEED, indices=[0], stage=1, step=0
        )
        low = low.clamp(-1, 1).to(stage.device)
    began = time.perf_counter()
    with torch.no_grad():
        network = _network(stage, variant, low)
    once = time.perf_counter() - began
    said: list[Tensor] = []

    def watched(x_t: Tensor, t: Tensor) -> Tensor:
        said.append(network(x_t, t))
        return said[-1]

    def work() -> Tensor:
        said.clear()
        denoise = targets.denoiser(watched, stage.alpha_bar, settings.diffusion, path=MIDDLE)
        draws = noise.draws(x, seed=SEED, indices=[0], stage=0)
        samplers.last(base.sampler(settings.sampling)(denoise, stage.alpha_bar, x, MIDDLE, draws))
        return said[-1]

    return Job(work, once, False)


def _network(stage: Stage, variant: Variant, low: Tensor | None) -> targets.Network:
    scale = stage.settings.sampling.guidance
    if variant == "reference":
        return reference.network(stage, [PROMPT, ""], scale, low)
    words = stage.words([PROMPT, ""])
    cond = {key: value[:1] for key, value in words.items()} | ({} if low is None else {"low_res": low})
    return base.guided(stage, scale, cond, {key: value[1:] for key, value in words.items()})


def _cascade(stages: Sequence[Stage], variant: Variant, prompt: str, n: int) -> Tensor:
    """Whole pictures, words and all. Shapes: -> [n 3 H W]."""
    x: Tensor | None = None
    for stage in stages:
        low = None if x is None else base.round_8bit(x)
        sampling, numbers = stage.settings.sampling, range(n)
        if variant == "reference":
            steps = reference.run(stage, sampling, [prompt, ""], seed=SEED, indices=numbers, low_res=low)
        else:
            steps = base.run(stage, sampling, stage.words([prompt, ""]), seed=SEED, indices=numbers, low_res=low)
        x = samplers.last(steps)
    return torch.empty(0) if x is None else x


def _case(
    about: tuple[str, str, int],
    made: Callable[[Variant], Job],
    variants: Sequence[Variant],
    device: torch.device,
    rounds: int,
    progress: Progress,
) -> Case:
    name, what, parameters = about
    timings: list[Timing] = []
    yardstick: Yardstick | None = None
    for variant in dict.fromkeys(("reference", *variants)):
        progress(f"{name}: {LABELS[variant]}")
        held = machine.held_mb(device)
        try:
            job = made(variant)
        except UnsupportedError as error:
            progress(f"{name}: {LABELS[variant]} left out: {error}")
            continue
        with torch.no_grad():
            timing, output = _timed(job, variant, rounds, yardstick)
        yardstick = Yardstick(job, output) if yardstick is None else yardstick
        peak = None if timing.peak_mb is None else timing.peak_mb - held
        timings.append(timing.model_copy(update={"peak_mb": peak}))
        del job
    return Case(name=name, what=what, parameters=parameters, timings=tuple(timings))


def _timed(job: Job, variant: Variant, rounds: int, yardstick: Yardstick | None) -> tuple[Timing, Tensor]:
    output = job.work()  # warm-up: kernels are chosen, caches filled
    device = output.device
    gc.collect()
    machine.reset_peak(device)
    job.work()
    peak = machine.peak_mb(device)
    pairs = [(None if yardstick is None else _clocked(yardstick.job, device), _clocked(job, device)) for _ in range(rounds)]
    seconds = [own for _, own in pairs]
    truth = output if yardstick is None else yardstick.output
    timing = Timing(
        variant=variant,
        seconds=statistics.median(seconds),
        fastest=min(seconds),
        slowest=max(seconds),
        rounds=rounds,
        once=job.once,
        peak_mb=peak,
        ratio=statistics.median((own if other is None else other) / own for other, own in pairs),
        error=relative(output, truth),
        levels=float((base.round_8bit(output) - base.round_8bit(truth)).abs().mean() * 127.5) if job.finishes else None,
        parts=parts(job.work),
    )
    return timing, output


def _clocked(job: Job, device: torch.device) -> float:
    """Seconds of one round."""
    _wait(device)
    began = time.perf_counter()
    job.work()
    _wait(device)
    return time.perf_counter() - began


def relative(output: Tensor, truth: Tensor) -> float:
    """|output - truth| / |truth|, over all values."""
    return float((output.double() - truth.double()).norm() / truth.double().norm())


def parts(work: Callable[[], object]) -> dict[str, float]:
    """Where the time of some work goes: kind of operator -> share, the largest first."""
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        work()
    spent: dict[str, float] = {}
    for event in seen.key_averages():
        kind = next((kind for kind, names in _KINDS.items() if any(name in event.key for name in names)), "other")
        spent[kind] = spent.get(kind, 0.0) + event.self_cpu_time_total
    total = sum(spent.values()) or 1.0
    return dict(sorted(((kind, time / total) for kind, time in spent.items()), key=lambda pair: -pair[1]))


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _parameters(settings: Sequence[StageSettings]) -> int:
    with torch.device("meta"):
        nets: list[nn.Module] = [UNet(each.network) for each in settings]
    return sum(parameter.numel() for net in nets for parameter in net.parameters())
