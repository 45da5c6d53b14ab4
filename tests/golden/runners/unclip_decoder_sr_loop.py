"""The whole way from an image embedding to the enlarged picture: guided decoder, then both upsamplers."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.diffusion import guidance, samplers, schedules, targets
from limner.networks.text_projection import TextProjection
from limner.networks.unet import UNet
from limner.official import diffusers_unclip
from tests.golden.case import Case
from tests.golden.runners.unclip_networks import diffusers_text_projection, diffusers_unet, filled
from tests.golden.runners.unclip_scheduler import clip_of, process


def run(case: Case) -> dict[str, Tensor]:
    with torch.no_grad():
        small = decoded(case).clamp(-1, 1)
        side = case.input("sr_x_T").shape[-2:]
        raw = enlarged(case, small)
        return {
            "small": small,
            "upscaled_condition": F.interpolate(small, side, mode="bicubic", align_corners=False, antialias=True),
            "raw": raw,
            "image": (raw * 0.5 + 0.5).clamp(0, 1),
        }


def decoded(case: Case) -> Tensor:
    """The small picture."""
    config, given, weights = case.config, case.inputs(), case.weights()
    settings = diffusers_text_projection(config["text_proj"])
    keys = diffusers_unclip.text_projection_keys(settings, "text_proj.")
    projection = filled(case, TextProjection, settings, weights, keys)
    own = diffusers_unet(config["decoder"], low_res=False)
    net = filled(case, UNet, own, weights, diffusers_unclip.unet_keys(own, "decoder."))
    image = given["image_embeddings"]
    both = torch.cat([projection.no_image(len(image)), image])  # the case has those without words in front
    words = net.project(projection(both, given["prompt_embeds"], given["text_hidden"], given["mask"]))
    null = {name: value[: len(image)] for name, value in words.items()}
    cond = {name: value[len(image) :] for name, value in words.items()}
    network = guidance.cfg(net, config["guidance"], cond, null)
    return drawn(case, lambda _: network, "decoder", given["x_T"])


def enlarged(case: Case, small: Tensor) -> Tensor:
    """The picture enlarged: the last step has a network of its own."""
    own = diffusers_unet(case.config["sr"], low_res=True).model_copy(update={"enlarge": "bicubic"})
    weights = case.weights()
    first, last = (
        filled(case, UNet, own, weights, diffusers_unclip.unet_keys(own, f"super_res_{which}.")) for which in ("first", "last")
    )
    cond = {"low_res": small}
    return drawn(case, lambda last_step: lambda x, t: (last if last_step else first)(x, t, cond), "sr", case.input("sr_x_T"))


def drawn(case: Case, network: Callable[[bool], targets.Network], name: str, x_T: Tensor) -> Tensor:
    """A picture sampled as the scheduler `name` says; the network may be another one in the last step."""
    described = case.config[f"{name}_scheduler"]
    settings = process(described)
    alpha_bar = schedules.of(settings)
    path = schedules.path(settings.levels, str(case.config[f"{name}_steps"]))

    def said(x: Tensor, t: Tensor) -> Tensor:
        return network(int(t[0]) == path[-2])(x, t)

    def noise(k: int) -> Tensor:
        return case.drawn(f"noise.{name}.{k}", tuple(x_T.shape))

    denoise = targets.denoiser(said, alpha_bar, settings, path=path, clip=clip_of(described))
    return samplers.last(samplers.ddpm(denoise, alpha_bar, x_T, path, noise))
