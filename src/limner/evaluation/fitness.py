"""Whether a model fits this machine: memory estimated before loading and measured after, and the time of a picture.

The time is that of one step of every stage, times the steps of the stage.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch

from limner import released, weights
from limner.config import NetworkSettings, StageSettings, UNetSettings
from limner.evaluation import machine
from limner.networks.building import build, hollow
from limner.systems import base
from limner.systems.base import Stage, System

MB = 2**20


class Needed(NamedTuple):
    """What a model will take, before it is loaded."""

    parameters: int
    weights_mb: float  # in the type it will compute in
    work_mb: float  # beside the weights, for one picture at a time; 0 where it is not known
    exact: bool  # False: from the catalog, because the model is not here

    @property
    def loading_mb(self) -> float:
        """While it is loaded: weights pass through float32."""
        return self.parameters * torch.float32.itemsize / MB

    @property
    def total_mb(self) -> float:
        """The most it takes at any time."""
        return max(self.weights_mb + self.work_mb, self.loading_mb)


class Timed(NamedTuple):
    """One stage on this machine."""

    stage: str
    side: int
    steps: int
    seconds: float  # of one step, for one picture

    @property
    def picture(self) -> float:
        """Seconds of all its steps."""
        return self.steps * self.seconds


def needed(folder: weights.Folder, dtype: torch.dtype) -> Needed:
    """What the networks of a checkpoint folder will take, counted on the meta device."""
    counts = {name: parameters(network) for name, network in folder.settings.networks().items()}
    work = max((_work(stage, dtype) for stage in folder.settings.stages), default=0.0)
    return Needed(sum(counts.values()), sum(counts.values()) * dtype.itemsize / MB, work, exact=True)


def promised(model: released.Model, dtype: torch.dtype) -> Needed:
    """What a released model that is not here will take, by the catalog: its weights alone."""
    return Needed(model.parameters, model.parameters * dtype.itemsize / MB, 0.0, exact=False)


def parameters(network: NetworkSettings) -> int:
    """How many numbers a network learns, without making it."""
    return sum(p.numel() for p in hollow(build, network).parameters())


def activations(network: UNetSettings) -> float:
    """Numbers held at once for one picture: all skip connections and some copies of the widest layer; an estimate."""
    side = network.side // network.patch
    skips = [network.width * factor * (side >> level) ** 2 for level, factor in enumerate(network.multipliers)]
    return (network.blocks + 1) * sum(skips) + 8 * max(skips)


def timed(system: System) -> list[Timed]:
    """The time of one step of every stage, for one picture; each stage makes one step before, to be warm."""
    found = []
    for stage in system.stages:
        steps = base.count_steps(stage, stage.settings.sampling)
        found.append(Timed(stage.settings.name, stage.settings.network.side, steps, _step(stage)))
    return found


def free_mb(device: torch.device) -> float | None:
    """Memory that is free now, of the accelerator or the machine; None where it is not told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / MB
    return machine.free_mb()


def _work(stage: StageSettings, dtype: torch.dtype) -> float:
    guided = 2 if stage.sampling.guidance != 1 and stage.network.text is not None else 1
    return guided * activations(stage.network) * dtype.itemsize / MB


def _step(stage: Stage) -> float:
    """Seconds of the second of two steps; of the first where there is but one."""
    network = stage.settings.network
    with torch.no_grad():
        words = stage.words(["a fox", ""])
    cond = {name: value[:1] for name, value in words.items()}
    null = {name: value[1:2] for name, value in words.items()}
    if network.low_res:
        low = stage.settings.low_side or network.side // 4
        cond["low_res"] = torch.zeros(1, network.channels, low, low, device=stage.device)
    if network.classes is not None:
        cond["label"] = torch.zeros(1, dtype=torch.int64, device=stage.device)
    steps = base.without_grad(base.run_each(stage, stage.settings.sampling, cond, null, seed=0, indices=(0,)))
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        made = next(steps, None)
        _wait(stage.device)
        seconds = time.perf_counter() - started if made is not None else seconds
    return seconds


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
