"""Classifiers of guided-diffusion: logits, and the gradient that guides."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from limner.config import ClassifierSettings
from limner.diffusion import guidance
from limner.networks.classifier import Classifier, log_likelihood
from limner.official import adm, layout
from tests.golden.case import Case


def run(case: Case) -> dict[str, Tensor]:
    given, weights, args = case.inputs(), case.weights(), case.config["args"]
    own = settings(args)
    keys = adm.classifier_keys(own, head_major=not args.get("use_new_attention_order", False))
    state = layout.to_limner(weights, keys, where=case.component)
    back = layout.to_official(state, keys, where=case.component)
    assert all(torch.equal(back[name], value) for name, value in weights.items())
    net = Classifier(own).eval().to(case.dtype)
    net.load_state_dict(state)
    log_prob = functools.partial(log_likelihood, net, classes=given["y"])
    gradient = guidance.gradient_of(log_prob, case.config.get("classifier_scale", 1.0))
    with torch.no_grad():
        return {"logits": net(given["x"], given["t"]), "grad": gradient(given["x"], given["t"])}


def settings(args: dict[str, Any]) -> ClassifierSettings:
    """limner's settings for the arguments of the official class."""
    head_width = args.get("num_head_channels", -1)
    return ClassifierSettings(
        side=args["image_size"],
        channels=args["in_channels"],
        width=args["model_channels"],
        multipliers=tuple(args.get("channel_mult", (1, 2, 4, 8))),
        blocks=args["num_res_blocks"],
        attention=tuple(args["attention_downsample"]),
        heads=args.get("num_heads", 1),
        head_width=None if head_width == -1 else head_width,
        dropout=args.get("dropout", 0.0),
        scale_shift=args.get("use_scale_shift_norm", False),
        residual_resample=args.get("resblock_updown", False),
        conv_resample=args.get("conv_resample", True),
        classes=args["out_channels"],
        pool=args.get("pool", "adaptive"),
    )
