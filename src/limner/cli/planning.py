"""`limner draw --dry-run`: what would be drawn and what it needs, without reading the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from limner import catalog, weights
from limner.cli.terminal import Terminal
from limner.config import StageSettings
from limner.diffusion import schedules
from limner.evaluation import fitness
from limner.systems import base, drawing
from limner.systems.base import Dtype, Request

Facts = dict[str, Any]


def of(model: str, requests: Sequence[Request], settings: Sequence[str], side: int | None, device: str, dtype: Dtype) -> Facts:
    """The plan as plain data.

    Raises: what drawing would raise before its first step.
    """
    path = catalog.find(model)
    folder = weights.read_folder(path)
    chosen = drawing.sampled_settings(folder.settings, settings, where=path.name)
    stages = chosen.stages
    if side is not None:
        stages = stages[: 1 + drawing.stage_of_side(path.name, [stage.network.side for stage in stages], side)]
    place = base.pick_device(device)
    kind = base.pick_dtype(dtype, place)
    batch = min(requests[0].batch, max(asked.n for asked in requests))
    plans = [_stage(stage, requests[0] if not k else None, kind, batch) for k, stage in enumerate(stages)]
    return {
        "model": path.name,
        "pictures": sum(asked.n for asked in requests),
        "prompts": len(requests),
        "seeds": list(dict.fromkeys(asked.seed for asked in requests)),
        "size": f"{stages[-1].network.side}x{stages[-1].network.side}",
        "device": str(place),
        "dtype": str(kind).removeprefix("torch."),
        "stages": plans,
        "memory_mb": round(sum(plan["weights_mb"] for plan in plans) + max(plan["work_mb"] for plan in plans)),
    }


def say(terminal: Terminal, plan: Facts, out: str) -> None:
    """The plan as lines, or as one object."""
    text = [
        f"{plan['pictures']} of {plan['size']} by {plan['model']} on {plan['device']} in {plan['dtype']}, to {out}",
        f"seed {', '.join(map(str, plan['seeds']))}",
        *(
            f"stage {stage['name']}: {stage['side']} px, {stage['sampler']} {stage['steps']} steps, "
            f"guidance {stage['guidance']:g}, {stage['parameters']:,} parameters"
            for stage in plan["stages"]
        ),
        f"about {plan['memory_mb']} MB beside Python and torch",
    ]
    terminal.result("\n".join(text), **plan, out=out)


def _stage(stage: StageSettings, asked: Request | None, kind: torch.dtype, batch: int) -> Facts:
    wished = {} if asked is None else {"steps": asked.steps, "guidance": asked.guidance, "sampler": asked.sampler}
    sampling = stage.sampling.model_copy(update={key: value for key, value in wished.items() if value is not None})
    count = fitness.parameters(stage.network)
    alpha_bar = schedules.of(stage.diffusion)
    guided = 2 if sampling.guidance != 1 and stage.network.text is not None else 1
    return {
        "name": stage.name,
        "side": stage.network.side,
        "sampler": sampling.sampler,
        "steps": len(schedules.path(len(alpha_bar), sampling.steps, alpha_bar=alpha_bar)) - 1,
        "guidance": sampling.guidance,
        "parameters": count,
        "weights_mb": count * kind.itemsize / 2**20,
        "work_mb": guided * batch * fitness.activations(stage.network) * kind.itemsize / 2**20,
    }
