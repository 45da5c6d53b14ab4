"""The one training loop: open a run, yield its steps, save, log and show on the way.

A run is a pure function of its preset: what step n does depends on the weights after step n - 1 and on integers, never
on a clock, a batch split or what happened before a resume.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from limner.config import StageSettings, TrainSettings
from limner.diffusion import importance, schedules
from limner.diffusion.importance import LevelSampler
from limner.errors import CheckpointError, ConfigError, TrainingError
from limner.networks.unet import UNet
from limner.training import checkpoints, distributed, feed, guard, objectives, optimising, starting
from limner.training.distributed import Ranks
from limner.training.feed import LEVEL, Batch, Plan
from limner.training.outline import PREFIX, Outline
from limner.training.starting import Start

QUARTILES = 4
Stop = Literal["", "interrupted", "late"]


@dataclass
class Run:
    """An open run: everything a step reads and writes."""

    folder: Path
    stage: StageSettings
    recipe: TrainSettings
    plan: Plan
    ranks: Ranks
    network: UNet
    outline: Outline | None
    optimiser: torch.optim.AdamW
    averages: dict[float, list[Tensor]]  # EMA rate -> tensors in the order of the parameters
    alpha_bar: Tensor
    call: objectives.Raw
    levels: LevelSampler
    facts: dict[str, Any] = field(default_factory=dict)  # what every checkpoint tells besides, such as the hardware
    step: int = 0  # steps done
    seconds: float = 0.0  # trained, over all sessions
    names: list[str] = field(default_factory=list)
    parameters: list[nn.Parameter] = field(default_factory=list)


class Report(NamedTuple):
    """What one step did, the same on all ranks."""

    step: int  # steps done, this one included
    loss: float
    parts: dict[str, float]
    norm: float  # of the gradients, before clipping
    lr: float
    sums: list[float]  # of the loss, by quartile of t
    counts: list[float]  # of views, by quartile of t
    seconds: float
    waited: float  # seconds of these for data
    stop: Stop  # why this is the last step before its time, "" when it is not


@dataclass(frozen=True)
class Wishes:
    """What may end a run early; any rank may be told, all ranks stop after the same step."""

    interrupted: threading.Event = field(default_factory=threading.Event)
    late: threading.Event = field(default_factory=threading.Event)


def build(
    stage: StageSettings, recipe: TrainSettings, plan: Plan, ranks: Ranks, folder: Path, *, start: Start | None = None
) -> Run:
    """A run at step 0, its weights drawn from the recipe's seed or those of `start`, alike on all ranks.

    Raises: CheckpointError when the start's weights are damaged.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        network = UNet(stage.network)
        rough = _outline(network, recipe)
    if start is not None:
        starting.fill(network, start)
    network.to(ranks.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    network.train()
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    if rough is not None:
        rough.to(ranks.device)
        named += [(PREFIX + name, p) for name, p in rough.named_parameters()]
    parameters = [p for _, p in named]
    return Run(
        folder,
        stage,
        recipe,
        plan,
        ranks,
        network,
        rough,
        optimising.adamw(parameters, recipe),
        {rate: [p.detach().clone() for p in parameters] for rate in recipe.ema},
        schedules.of(stage.diffusion),
        torch.compile(network) if recipe.compile else network,
        importance.of(recipe.levels, stage.diffusion.levels),
        names=[name for name, _ in named],
        parameters=parameters,
    )


def _outline(network: UNet, recipe: TrainSettings) -> Outline | None:
    s = network.settings
    if not recipe.outline:
        return None
    if s.text is None:
        raise ConfigError(f"training.outline {recipe.outline:g}: stage {recipe.stage!r} reads no text; set it to 0")
    return Outline(s.text, s.embed or 4 * s.width, s.channels)


def steps(run: Run, *, workers: int = 0, until: int | None = None, wishes: Wishes | None = None) -> Iterator[Report]:
    """Train; one Report a step. Ends after `until` steps (the recipe's) or the step at which any rank was asked to stop.

    Raises: TrainingError when a loss or gradient is not finite; the weights are still those of the step before.
    """
    until = run.recipe.steps if until is None else until
    wishes = Wishes() if wishes is None else wishes
    turns = run.recipe.accumulate
    batches = feed.stream(run.plan, run.step * turns, until * turns, workers=workers, pin=run.ranks.device.type == "cuda")
    with contextlib.closing(batches):
        while run.step < until:
            report = _step(run, batches, wishes)
            yield report
            if report.stop:
                return


def _step(run: Run, batches: Iterator[Batch], wishes: Wishes) -> Report:
    """One step: gradients of all micro-batches, averaged over the ranks, clipped, applied; then the moving averages."""
    began, waited = time.perf_counter(), 0.0
    recipe, ranks = run.recipe, run.ranks
    run.optimiser.zero_grad(set_to_none=True)
    tally = _Tally(run.stage.diffusion.levels)
    for turn in range(recipe.accumulate):
        before = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - before
        drawn = objectives.levels_at(run.levels, batch.chances[:, LEVEL], run.stage.diffusion.levels, noisier=recipe.noisier)
        t, factor = (part.to(ranks.device) for part in drawn)
        guard.seed_dropout(recipe.seed, run.step, turn * ranks.size + ranks.rank)
        found = _evaluate(run, batch, t)
        torch.autograd.backward((found.loss * factor).mean() / recipe.accumulate)
        tally.add(batch, t, found, factor)
    gradients = [p.grad for p in run.parameters if p.grad is not None]
    distributed.average(ranks, gradients)
    norm = optimising.clip(gradients, recipe.clip_norm)
    figures = distributed.total(ranks, [wishes.interrupted.is_set(), wishes.late.is_set(), *tally.figures()])
    interrupted, late, loss, *rest = figures
    share = 1 / (recipe.accumulate * ranks.size)
    loss *= share
    if not (math.isfinite(loss) and math.isfinite(norm)):
        last = checkpoints.newest(run.folder) if ranks.first else None
        raise TrainingError(guard.explain(run, tally.batches, norm) + (f"; last good checkpoint: {last.path}" if last else ""))
    lr = optimising.lr_at(run.step, recipe)
    for group in run.optimiser.param_groups:
        group["lr"] = lr
    run.optimiser.step()
    if recipe.levels != "uniform":
        for t, losses in tally.seen:  # in the order of the views, however the step was split
            run.levels.update(distributed.gather(ranks, t), distributed.gather(ranks, losses.to(ranks.device)))
    for rate, averages in run.averages.items():
        optimising.ema_update(averages, run.parameters, rate, run.step)
    run.step += 1
    taken = time.perf_counter() - began
    run.seconds += taken
    sums, counts, parts = rest[:QUARTILES], rest[QUARTILES : 2 * QUARTILES], rest[2 * QUARTILES :]
    shares = {name: part * share for name, part in zip(tally.names, parts)}
    stop: Stop = "interrupted" if interrupted else "late" if late else ""
    return Report(run.step, loss, shares, norm, lr, sums, counts, taken, waited, stop)


def _evaluate(run: Run, batch: Batch, t: Tensor) -> objectives.Terms:
    encode = run.network.encode if run.network.text is not None else None
    outline = None if run.outline is None else run.outline.loss
    return objectives.terms(
        run.call, encode, batch, t, stage=run.stage, recipe=run.recipe, alpha_bar=run.alpha_bar, outline=outline
    )


class _Tally:
    """Sums over the micro-batches of one step, on the CPU."""

    def __init__(self, levels: int) -> None:
        self.levels = levels
        self.loss = 0.0
        self.sums = [0.0] * QUARTILES
        self.counts = [0.0] * QUARTILES
        self.parts: dict[str, float] = {}
        self.batches: list[tuple[Batch, Tensor]] = []
        self.seen: list[tuple[Tensor, Tensor]] = []  # levels and losses

    def add(self, batch: Batch, t: Tensor, found: objectives.Terms, factor: Tensor) -> None:
        """Count a micro-batch in."""
        self.batches.append((batch, t))
        loss = found.loss.detach().double().cpu()
        self.seen.append((t, loss))
        self.loss += float((loss * factor.cpu()).mean())
        for name, part in found.parts.items():
            self.parts[name] = self.parts.get(name, 0.0) + float(part.detach().mean())
        for level, value in zip(t.tolist(), loss.tolist()):
            quartile = level * QUARTILES // self.levels
            self.sums[quartile] += value
            self.counts[quartile] += 1

    @property
    def names(self) -> list[str]:
        """Names of the parts, in the order of `figures`."""
        return sorted(self.parts)

    def figures(self) -> list[float]:
        """What is summed over the ranks: loss, quartile sums, quartile counts, parts."""
        return [self.loss, *self.sums, *self.counts, *(self.parts[name] for name in self.names)]


def store(run: Run) -> checkpoints.Saved:
    """Write a checkpoint of the run as it is."""
    files: dict[str, dict[str, Tensor]] = {"weights.safetensors": _state(run)}
    for rate, averages in run.averages.items():
        files[checkpoints.ema_file(rate)] = dict(zip(run.names, averages))
    states = [run.optimiser.state[p] for p in run.parameters]
    files["adamw.safetensors"] = {
        f"{kind}.{name}": state[kind] for kind in ("exp_avg", "exp_avg_sq") for name, state in zip(run.names, states)
    }
    if levels := run.levels.state():
        files["levels.safetensors"] = {name: torch.from_numpy(np.array(values)) for name, values in levels.items()}
    facts = {**run.facts, "seconds": run.seconds, "views": run.step * run.recipe.batch}
    return checkpoints.save(run.folder, run.step, files, facts)


def restore(run: Run, saved: checkpoints.Saved) -> None:
    """Set the run to a checkpoint, in place: tensor by tensor into memory that a fresh run holds too.

    Raises: CheckpointError when a file is damaged or does not fit the network.
    """
    _fill(saved, "weights.safetensors", _state(run))
    for rate, averages in run.averages.items():
        _fill(saved, checkpoints.ema_file(rate), dict(zip(run.names, averages)))
    states = [run.optimiser.state[p] for p in run.parameters]
    moments = {f"{kind}.{name}": s[kind] for kind in ("exp_avg", "exp_avg_sq") for name, s in zip(run.names, states)}
    _fill(saved, "adamw.safetensors", moments)
    for state in states:
        state["step"].fill_(float(saved.step))
    if run.levels.state():
        run.levels.restore({name: t.numpy() for name, t in checkpoints.tensors(saved, "levels.safetensors")})
    run.step = saved.step
    run.seconds = float(saved.facts["seconds"])


def _state(run: Run) -> dict[str, Tensor]:
    """Every tensor of the run's modules by name, the tensors themselves."""
    state: dict[str, Tensor] = run.network.state_dict(keep_vars=True)
    if run.outline is not None:
        state |= {PREFIX + name: value for name, value in run.outline.state_dict(keep_vars=True).items()}
    return state


def _fill(saved: checkpoints.Saved, name: str, places: dict[str, Any]) -> None:
    left = set(places)
    for key, value in checkpoints.tensors(saved, name):
        if key not in left or places[key].shape != value.shape:
            raise CheckpointError(f"{saved.path / name}: {key} {list(value.shape)} does not fit the network")
        with torch.no_grad():
            places[key].copy_(value)
        left.discard(key)
    if left:
        raise CheckpointError(f"{saved.path / name}: {len(left)} tensors are missing, the first is {min(left)}")


@contextlib.contextmanager
def averaged(run: Run, rate: float | None = None) -> Iterator[UNet]:
    """The network with the weights of an EMA rate (the last one) for as long as the context lasts; nothing is copied."""
    averages = run.averages[run.recipe.ema[-1] if rate is None else rate] if run.averages else run.parameters
    kept = [p.data for p in run.parameters]
    for p, average in zip(run.parameters, averages):
        p.data = average.data
    run.network.eval()
    try:
        yield run.network
    finally:
        for p, data in zip(run.parameters, kept):
            p.data = data
        run.network.train()


@contextlib.contextmanager
def interruptible(asked: threading.Event) -> Iterator[None]:
    """Let Ctrl-C or SIGTERM set an event; the second one interrupts at once. Outside the main thread: do nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
