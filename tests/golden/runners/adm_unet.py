"""Networks of improved-diffusion and guided-diffusion: one forward."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.golden.case import Case
from tests.golden.runners.networks import network


def run(case: Case) -> dict[str, Tensor]:
    given = case.inputs()
    net = network(case, case.config, case.weights(), given["x"].shape[-1])
    seen: dict[str, Tensor] = {}
    watch = net.middle[-1].register_forward_hook(lambda _module, _args, out: seen.update(middle_block=out))
    cond = {name: given[theirs] for name, theirs in (("label", "y"), ("low_res", "low_res")) if theirs in given}
    with torch.no_grad():
        out = net(given["x"], given["t"], cond)
    watch.remove()
    return {"out": out, **seen}
