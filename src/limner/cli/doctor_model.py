"""`limner doctor --model`: whether one model runs here, in which type, with how much memory, and how long a picture takes."""

from __future__ import annotations

from typing import Any

import torch

from limner import catalog, weights
from limner.cli.terminal import FAILED, Terminal
from limner.evaluation import fitness, machine
from limner.evaluation.fitness import Needed, Timed
from limner.systems import base, drawing
from limner.systems.base import Dtype
from limner.systems.drawing import Pipe

Facts = dict[str, Any]


def check(terminal: Terminal, model: str, device: str, dtype: Dtype) -> int:
    """Estimate, then load and measure; 1 when the model does not fit.

    Raises: CheckpointError when there is no such model; ConfigError for a device that is not here.
    """
    place = base.pick_device(device)
    kind = base.pick_dtype(dtype, place)
    released = catalog.not_pulled(model)
    folder = None if released else weights.read_folder(catalog.find(model))
    needed = fitness.promised(released, kind) if released else fitness.needed(folder, kind) if folder else None
    free = fitness.free_mb(place)
    if needed is None:  # one of the two is always there
        return FAILED
    facts: Facts = {"model": model, "device": str(place), "dtype": str(kind).removeprefix("torch."), **needed._asdict()}
    facts |= {"estimated_mb": needed.total_mb, "free_mb": free}
    _say_needed(terminal, facts, needed)
    if free is not None and needed.total_mb > free:
        terminal.warn(f"{model}: wants about {_mb(needed.total_mb)}, {_mb(free)} are free; it does not fit in this type")
        _result(terminal, facts | {"fits": False})
        return FAILED
    if folder is None:
        terminal.say(f"not here yet; run `limner models pull {model}`")
        _result(terminal, facts | {"fits": True, "measured": None})
        return 0
    measured = _measured(model, place, device, dtype)
    _say_measured(terminal, measured)
    _result(terminal, facts | {"fits": True, "measured": measured})
    return 0


def _measured(model: str, place: torch.device, device: str, dtype: Dtype) -> Facts:
    """Load the model and let it take a step: memory that it holds, the peak, and times."""
    before = machine.held_mb(place)
    machine.reset_peak(place)
    system = drawing.load(model, device=device, dtype=dtype)
    held = machine.held_mb(place) - before
    times: list[Timed] = fitness.timed(system.system) if isinstance(system, Pipe) else []
    peak = machine.peak_mb(place)
    return {
        "held_mb": round(held, 1),
        "peak_mb": None if peak is None else round(peak - before, 1),
        "stages": [each._asdict() | {"picture_seconds": each.picture} for each in times],
        "picture_seconds": sum(each.picture for each in times) if times else None,
    }


def _say_needed(terminal: Terminal, facts: Facts, needed: Needed) -> None:
    if terminal.json:
        return
    source = "counted" if needed.exact else "by the catalog"
    terminal.result(f"{facts['model']}: {needed.parameters:,} parameters ({source}), {facts['dtype']} on {facts['device']}")
    work = f" and {_mb(needed.work_mb)} to draw one picture" if needed.work_mb else ""
    free = "" if facts["free_mb"] is None else f"; {_mb(facts['free_mb'])} are free"
    loading = f", {_mb(needed.loading_mb)} while it is loaded" if needed.loading_mb > needed.weights_mb else ""
    terminal.result(f"estimated: {_mb(needed.weights_mb)} of weights{work}{loading}{free}")


def _say_measured(terminal: Terminal, measured: Facts) -> None:
    if terminal.json:
        return
    peak = "" if measured["peak_mb"] is None else f", {_mb(measured['peak_mb'])} at the most"
    terminal.result(f"measured: {_mb(measured['held_mb'])} when loaded{peak}")
    for stage in measured["stages"]:
        terminal.result(
            f"stage {stage['stage']}: {stage['side']} px, {stage['seconds']:.3g} s a step, {stage['steps']} steps, "
            f"{stage['picture_seconds']:.3g} s a picture"
        )
    if measured["picture_seconds"] is not None:
        terminal.result(f"a picture takes about {measured['picture_seconds']:.3g} s")


def _result(terminal: Terminal, facts: Facts) -> None:
    if terminal.json:
        terminal.result("", **facts)


def _mb(count: float) -> str:
    return f"{count / 1024:.2f} GB" if count >= 1024 else f"{count:.0f} MB"
