"""One noising process with a closed-form network: its tables, steps, losses and loops under their official names.

Official `t` is the index into the respaced process, one a sample; a limner sampler takes one level for the batch, so
single steps are made sample by sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import guidance, likelihood, losses, samplers, schedules, targets
from limner.diffusion.samplers import Step
from limner.diffusion.targets import Denoiser, Prediction
from tests.golden.case import Case
from tests.golden.runners.respace import kept

TARGETS = {"EPSILON": "eps", "START_X": "x0", "PREVIOUS_X": "previous"}
LOSSES = {"RESCALED_MSE": "rescaled_hybrid", "MSE": "hybrid", "KL": "kl", "RESCALED_KL": "rescaled_kl"}
Sampler = Callable[..., Iterator[Step]]


class Process:
    """What a case's config describes."""

    def __init__(self, config: dict, dtype: torch.dtype) -> None:
        glide = config["implementation"] == "glide"  # which knows one kind of network only
        self.settings = DiffusionSettings(
            schedule="linear" if config["noise_schedule"] == "linear" else "cosine",
            levels=config["steps"],
            target="eps" if glide else TARGETS[config["mean_type"]],
            variance="learned_range" if glide else config["var_type"].lower(),
            rescale_t=not glide and config["rescale_timesteps"],
        )
        self.dtype = dtype
        self.alpha_bar = schedules.of(self.settings)
        self.levels = kept(config["steps"], config["respacing"], config["implementation"])
        self.path = (*reversed(self.levels), schedules.CLEAN)
        self.short = schedules.respaced(self.alpha_bar, self.levels)
        learned = self.settings.variance.startswith("learned")
        fixed_loss = "simple" if config["loss_type"].endswith("MSE") else LOSSES[config["loss_type"]]
        self.loss = LOSSES[config["loss_type"]] if learned else fixed_loss

    def network(self, x: Tensor, t: Tensor) -> Tensor:
        said = 0.3 * x + targets.like(0.1 * self.lifted(t) / 1000, x)
        return torch.cat([said, x.tanh()], dim=1) if self.settings.variance.startswith("learned") else said

    def gradient(self, x: Tensor, t: Tensor) -> Tensor:
        clock = self.lifted(targets.timesteps(t, self.settings))
        return 0.5 * (0.2 - x) * (1 + targets.like(clock / 1000, x))

    def lifted(self, t: Tensor) -> Tensor:
        """Rescaled levels are float32, but the official float64 runs had all their casts lifted to float64."""
        if not self.settings.rescale_t or self.dtype == torch.float32:
            return t.to(self.dtype)
        return (t.double() * self.settings.levels / 1000).round() * (1000 / self.settings.levels)

    def denoiser(self, clip: Callable[[Tensor], Tensor] | None = targets.clip_unit) -> Denoiser:
        return targets.denoiser(self.network, self.alpha_bar, self.settings, path=self.path, clip=clip)

    def at_index(self, x_t: Tensor, i: Tensor) -> Tensor:
        """The network's output at indices of the respaced process, one a sample."""
        return self.network(x_t, targets.timesteps(torch.tensor(self.levels)[i], self.settings))


def run(case: Case) -> dict[str, Tensor]:
    process = Process(case.config, case.dtype)
    inputs = case.inputs()
    x, noise = inputs["x"], inputs["noise"]
    out = {"timestep_map": torch.tensor(process.levels)}
    out |= closed_forms(process, inputs["x_start"], x, inputs["t"], noise)
    rows = [one_sample(process, case, x[i : i + 1], noise[i : i + 1], int(t)) for i, t in enumerate(inputs["t"])]
    out |= {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
    if case.config["implementation"] != "glide":
        out |= training(process, inputs["x_start"], inputs["t"], noise)
    if case.has("loop_noise"):
        out |= loops(process, case, x, inputs["loop_noise"])
        if case.config["implementation"] != "glide":
            out |= bound(process, inputs["x_start"], inputs["loop_noise"])
    return out


def closed_forms(process: Process, x_start: Tensor, x: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
    table = process.short
    signal, limits = table[t], targets.bounds(table, t, t - 1)
    return {
        "q_mean": targets.like(signal.sqrt(), x) * x_start,
        "q_variance": targets.like(1 - signal, x).expand_as(x),
        "q_log_variance": targets.like((1 - signal).log(), x).expand_as(x),
        "q_sample": targets.q_sample(x_start, t, table, noise),
        "posterior_mean": targets.posterior_mean(x_start, x, t, t - 1, table),
        "posterior_variance": targets.like(limits.small, x).expand_as(x),
        "posterior_log_variance": targets.like(limits.log_small, x).expand_as(x),
    }


def one_sample(process: Process, case: Case, x: Tensor, noise: Tensor, i: int) -> dict[str, Tensor]:
    table = process.alpha_bar
    ends = (len(table), *process.path)
    above, t, s = ends[len(process.levels) - 1 - i :][:3]
    out: dict[str, Tensor] = {}

    def said(name: str, denoiser: Denoiser) -> Prediction:
        seen = denoiser(x, t, s)
        out[f"{name}.mean"] = targets.mean_of(seen, x, t, s, table)
        out[f"{name}.pred_xstart"] = seen.x0
        out[f"{name}.variance"] = seen.variance.expand_as(x)
        out[f"{name}.log_variance"] = seen.log_variance.expand_as(x)
        return seen

    def step(sampler: Sampler, denoiser: Denoiser, **options: float) -> Tensor:
        return samplers.last(sampler(denoiser, table, x, (t, s), lambda _: noise, **options))

    plain, bare = process.denoiser(), process.denoiser(None)
    pushed = guidance.pushed(plain, process.gradient)
    said("p_clip", plain)
    said("p_noclip", bare)
    said("p_denoisedfn", targets.edited(targets.edited(bare, lambda z: 0.5 * z + 0.25), targets.clip_unit))
    out["condition_mean"] = targets.mean_of(pushed(x, t, s), x, t, s, table)
    shifted, _ = targets.noise_of(pushed(x, t, s), x, t, table)
    out["condition_score.pred_xstart"] = shifted
    out["condition_score.mean"] = targets.posterior_mean(shifted, x, t, s, table)
    for name in case.expected:
        if name in ("p_sample", "p_sample_cond"):
            out[name] = step(samplers.ddpm, pushed if name.endswith("_cond") else plain)
        elif name.startswith("ddim_eta") and not name.endswith(".f64"):
            eta = float(name.removeprefix("ddim_eta").removesuffix("_cond"))
            out[name] = step(samplers.ddim, pushed if name.endswith("_cond") else plain, eta=eta)
    backwards = (t, s) if above == len(table) else (above, t, s)
    out["ddim_reverse"] = next(samplers.ddim_inverse(plain, table, x, backwards, lambda _: noise)).x
    return out


def training(process: Process, x_start: Tensor, t: Tensor, noise: Tensor) -> dict[str, Tensor]:
    table = process.short
    x_t = targets.q_sample(x_start, t, table, noise)
    output = process.at_index(x_t, t)
    parts = losses.terms(output, x_start, x_t, t, noise, table, process.settings, loss=process.loss)
    out = {f"training.{name}": value for name, value in parts.items()}
    for name, clip in (("clip0", None), ("clip1", targets.clip_unit)):
        seen = targets.predict(output, x_t, t, t - 1, alpha_bar=table, settings=process.settings, clip=clip)
        out[f"vb_terms_bpd.{name}"] = likelihood.bound_term(seen, x_start, x_t, t, t - 1, alpha_bar=table)
    return out | {"prior_bpd": likelihood.prior_bits(x_start, table)}


def bound(process: Process, x_start: Tensor, loop_noise: Tensor) -> dict[str, Tensor]:
    terms = list(
        likelihood.bits_per_dim(
            process.network, x_start, process.alpha_bar, process.settings, lambda k: loop_noise[k], path=process.path
        )
    )
    prior = likelihood.prior_bits(x_start, process.alpha_bar, process.path[0])
    bits = torch.stack([term.bits for term in terms], dim=1)
    return {
        "bpd_loop.vb": bits,
        "bpd_loop.xstart_mse": torch.stack([term.x0_mse for term in terms], dim=1),
        "bpd_loop.mse": torch.stack([term.eps_mse for term in terms], dim=1),
        "bpd_loop.prior_bpd": prior,
        "bpd_loop.total_bpd": bits.sum(dim=1) + prior,
    }


def loops(process: Process, case: Case, x: Tensor, loop_noise: Tensor) -> dict[str, Tensor]:
    out = {}
    for name in case.expected:
        if not name.startswith("loop_") or name.endswith(".f64"):
            continue
        denoiser = process.denoiser()
        if name.endswith("_cond"):
            denoiser = guidance.pushed(denoiser, process.gradient)
        word = name.removesuffix("_cond").removeprefix("loop_")
        draw = loop_noise.__getitem__
        if word == "p":
            steps = samplers.ddpm(denoiser, process.alpha_bar, x, process.path, draw)
        else:
            steps = samplers.ddim(denoiser, process.alpha_bar, x, process.path, draw, eta=float(word.removeprefix("ddim")))
        out[name] = samplers.last(steps)
    return out
