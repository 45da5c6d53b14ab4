"""Scalings, weights and the growing grid of consistency training."""

from __future__ import annotations

import torch
from torch import Tensor

from limner.diffusion import consistency, schedules
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    c = case.config
    low, high, spread = c["sigma_min"], c["sigma_max"], c["sigma_data"]
    probe = torch.tensor([low, *c["probe_sigmas"], high], dtype=torch.float64)
    grid = {"start_levels": c["start_scales"], "end_levels": c["end_scales"], "start_rate": c["start_ema"]}
    falling = schedules.karras_sigmas(c["steps"], low, high, c["rho"]).flip(0)
    out = {
        "sigmas": torch.cat([falling, torch.zeros(1, dtype=torch.float64)]),
        "probe": probe,
        "rescaled_t": consistency.network_time(probe),
        "ema_and_num_scales": torch.tensor(
            [consistency.progress(step, c["total_steps"], **grid) for step in c["probe_steps"]], dtype=torch.float64
        ),
    }
    edm = consistency.edm_scalings(probe, spread=spread)
    own = consistency.boundary_scalings(probe, spread=spread, least=low)
    for name, (skip, gain, into) in {"edm": edm, "cm": own}.items():
        out |= {f"{name}_c_skip": skip, f"{name}_c_out": gain, f"{name}_c_in": into}
    kinds = {"karras": "karras", "snr": "snr", "snr+1": "snr+1", "truncated-snr": "truncated-snr", "uniform": "uniform"}
    for name, kind in kinds.items():
        out[f"weight_{name}"] = consistency.weight(kind, probe, spread=spread)
    return out
