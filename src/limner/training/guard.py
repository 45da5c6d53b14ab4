"""When a number is not finite: which tensor it was, said in one line.

The seed of dropout lives here too, because the guard repeats a step to see where it went wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from limner.training import objectives
from limner.training.feed import Batch

if TYPE_CHECKING:
    from limner.training.loop import Run


def seed_dropout(seed: int, step: int, micro: int) -> None:
    """Set torch's generators for one micro-batch: a pure function of (seed, step, micro-batch)."""
    mixed = (seed % 2**20) << 44 | (step % 2**32) << 12 | micro % 2**12
    torch.manual_seed(mixed)


def explain(run: Run, batches: list[tuple[Batch, Tensor]], norm: float) -> str:
    """What was not finite in the step that was just computed: a weight, a layer's output, a loss term or a gradient."""
    said = f"step {run.step + 1}: "
    for name, p in zip(run.names, run.parameters):
        if not bool(p.detach().isfinite().all()):
            return f"{said}parameter {name} is not finite before the step"
    for turn, (batch, t) in enumerate(batches):
        seed_dropout(run.recipe.seed, run.step, turn * run.ranks.size + run.ranks.rank)
        if found := _first_in_forward(run, batch, t):
            return f"{said}{found}"
    for name, p in zip(run.names, run.parameters):
        if p.grad is not None and not bool(p.grad.isfinite().all()):
            return f"{said}the gradient of {name} is not finite (norm {norm}); a smaller lr or clip_norm may help"
    return f"{said}the loss or a gradient of another rank is not finite (norm {norm})"


def _first_in_forward(run: Run, batch: Batch, t: Tensor) -> str:
    """Name the first tensor on the way from the data to the loss that is not finite; "" when all are."""
    for name, tensor in (("picture", batch.picture), ("eps", batch.eps), ("low", batch.low)):
        if tensor is not None and not bool(tensor.isfinite().all()):
            return f"the data: {name} of the views from {batch.first} on is not finite"
    seen: list[str] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            tensors = output if isinstance(output, tuple) else (output,)
            if not seen and any(isinstance(o, Tensor) and not bool(o.isfinite().all()) for o in tensors):
                seen.append(f"the output of {name} ({type(module).__name__})")

        return hook

    hooks = [m.register_forward_hook(watch(name or "the network")) for name, m in run.network.named_modules()]
    try:
        encode = run.network.encode if run.network.text is not None else None
        with torch.no_grad():
            found = objectives.terms(run.network, encode, batch, t, stage=run.stage, recipe=run.recipe, alpha_bar=run.alpha_bar)
    finally:
        for hook in hooks:
            hook.remove()
    for name, part in {**found.parts, "loss": found.loss}.items():
        wrong = (~part.isfinite()).nonzero().flatten().tolist()
        if wrong:
            where = seen[0] if seen else "the objective"
            at = wrong[0]
            return f"loss term '{name}' is {float(part[at])} at t = {int(t[at])}, view {batch.first + at}; first in {where}"
    return ""
