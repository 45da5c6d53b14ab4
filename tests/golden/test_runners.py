"""Runners on cases of another size or with other options than the committed ones."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.config import PriorSettings
from limner.networks.diffusion_prior import DiffusionPrior
from tests.golden.case import Case
from tests.golden.conftest import VECTORS
from tests.golden.runners import consistency_losses, diffusers_prior, discrete_samplers, glide_pipeline, karras_samplers

PIPELINE = VECTORS / "openai" / "glide_pipeline_inpaint_cfg5"
SAMPLER = VECTORS / "unclip_dalle3" / "dpmpp2m_karras_10"
DDIM = VECTORS / "unclip_dalle3" / "ddim_linear_20"
MULTISTEP = VECTORS / "unclip_dalle3" / "dpmpp2m_linear_10"
CONSISTENCY = VECTORS / "unclip_dalle3" / "cm_loss_training"


def changed(folder: Path, to: Path, config: dict[str, Any], inputs: dict[str, Tensor]) -> Case:
    """The case with other options and inputs, its expected outputs as they were."""
    spec = copy.deepcopy(Case(folder).spec)
    spec["config"] |= config
    for name, x in inputs.items():
        kind = str(x.dtype).removeprefix("torch.")
        if isinstance(spec["inputs"], list):
            entry = next(entry for entry in spec["inputs"] if entry["name"] == name)
            entry |= {"dist": "values", "dtype": kind, "shape": list(x.shape), "values": x.tolist()}
        else:
            spec["inputs"][name] = {"kind": "values", "dtype": kind, "shape": list(x.shape), "values": x.flatten().tolist()}
    (to / "case.json").write_text(json.dumps(spec))
    (to / "expected.safetensors").write_bytes((folder / "expected.safetensors").read_bytes())
    return Case(to, torch.float64)


@pytest.mark.parametrize("own_rows", [True, False], ids=["a prompt and a source each", "one for the batch"])
def test_a_picture_of_the_glide_pipeline_does_not_depend_on_its_batch(tmp_path: Path, *, own_rows: bool) -> None:
    given = Case(PIPELINE).inputs()
    shared = {
        name: given[name]
        for name in ("tokens", "mask", "uncond_tokens", "uncond_mask", "source_small", "source_large", "mask_small")
    }
    other = torch.Generator().manual_seed(0)
    noise = {
        name: torch.cat([given[name], torch.randn(given[name].shape, generator=other)], dim=axis)
        for name, axis in {"base_noise": 0, "base_loop_noise": 1, "up_noise": 0, "up_loop_noise": 1}.items()
    }
    # The noise of two pictures stands [first, first without words, second, second without]; officially all with words lead.
    order = torch.tensor([0, 2, 1, 3])
    noise |= {"base_noise": noise["base_noise"][order], "base_loop_noise": noise["base_loop_noise"][:, order]}
    rows = {name: torch.cat([x, x]) for name, x in shared.items()} if own_rows else shared
    both = glide_pipeline.run(changed(PIPELINE, tmp_path, {"batch": 2}, rows | noise))
    alone = glide_pipeline.run(Case(PIPELINE, torch.float64))
    torch.testing.assert_close(both["base_full_batch"][[0, 2]], alone["base_full_batch"])
    torch.testing.assert_close(both["up_samples"][:1], alone["up_samples"])


def test_the_diffusers_prior_without_a_mask_sees_every_token_from_every_other() -> None:
    torch.manual_seed(0)
    own = PriorSettings(clip=8, words=8, context=5, width=16, depth=2, heads=2)
    net = DiffusionPrior(own).eval()
    with torch.no_grad():
        for value in net.parameters():
            value.normal_(std=0.3)
    cond, x, t = {"text": torch.randn(2, 5, 8), "pooled": torch.randn(2, 8)}, torch.randn(2, 8), torch.tensor([3, 900])
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        before, causal = diffusers_prior.both_ways(net, x, t, cond), net(x, t, cond)
        cond["text"] = cond["text"][:, order]  # the words change places and take their positions along
        net.positions[: len(order)] = net.positions[order]
        torch.testing.assert_close(diffusers_prior.both_ways(net, x, t, cond), before)
        assert not torch.allclose(net(x, t, cond), causal, atol=1e-3)


def test_louder_noise_of_ancestral_steps_is_as_much_louder(tmp_path: Path) -> None:
    def second(loudness: float) -> Tensor:
        """What two steps make before the last, which adds no noise."""
        folder = tmp_path / str(loudness)
        folder.mkdir()
        config = {"sampler": "euler_ancestral", "steps": 2, "s_noise": loudness}
        return karras_samplers.run(changed(SAMPLER, folder, config, {}))["x_scaled_before_each_step"][1]

    quiet = second(0.0)
    torch.testing.assert_close(second(1.5) - quiet, 1.5 * (second(1.0) - quiet))


def scheduled(folder: Path, to: Path, config: dict[str, Any], **options: object) -> dict[str, Tensor]:
    """What the case gives with other options of its scheduler."""
    to.mkdir(exist_ok=True)
    kwargs = Case(folder).config["kwargs"] | options
    return discrete_samplers.run(changed(folder, to, {**config, "kwargs": kwargs}, {}))


def test_clipped_steps_of_ddim_keep_the_noise_that_the_network_said(tmp_path: Path) -> None:
    """As diffusers has it: only what is seen as clean is clipped."""
    free, clipped = (
        scheduled(DDIM, tmp_path, {"steps": 2}, clip_sample=clip, clip_sample_range=0.25)["trajectory"][0]
        for clip in (False, True)
    )
    alpha_bar = (1 - torch.linspace(1e-4, 0.02, 1000)).cumprod(0).double()  # two steps visit levels 500 and 0
    x, mean, spread = Case(DDIM).input("x_T").double(), Case(DDIM).input("mean").double(), Case(DDIM).config["s"] ** 2
    signal = alpha_bar[500]
    x_0 = mean + signal.sqrt() * spread / (signal * spread + 1 - signal) * (x - signal.sqrt() * mean)
    assert (x_0.abs() > 0.25).any()
    torch.testing.assert_close(clipped - free, alpha_bar[0].sqrt() * (x_0.clamp(-0.25, 0.25) - x_0), rtol=0, atol=1e-6)


def test_a_schedule_stretched_to_no_signal_begins_with_pure_noise(tmp_path: Path) -> None:
    stretched = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}
    first = scheduled(DDIM, tmp_path, {"steps": 1}, **stretched)["final"]
    torch.testing.assert_close(first, Case(DDIM).input("mean").double().expand_as(first))  # nothing of x_T is left to be seen


def test_levels_noisier_than_asked_for_are_left_out(tmp_path: Path) -> None:
    sigmas = scheduled(MULTISTEP, tmp_path, {}, lambda_min_clipped=-2.0)["sigmas"]
    assert sigmas[0] <= math.exp(2) < scheduled(MULTISTEP, tmp_path, {})["sigmas"][0]


@pytest.mark.parametrize(
    ("option", "value"), [("solver_order", 3), ("algorithm_type", "sde-dpmsolver++"), ("use_lu_lambdas", True)]
)
def test_a_solver_that_limner_does_not_have_is_not_taken_for_another(tmp_path: Path, option: str, value: object) -> None:
    with pytest.raises(ValueError, match="no such solver"):
        scheduled(MULTISTEP, tmp_path, {}, **{option: value})


def test_losses_of_consistency_training_take_pictures_too(tmp_path: Path) -> None:
    x_0, noise = (torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    large = consistency_losses.run(changed(CONSISTENCY, tmp_path, {}, {"x0": x_0, "noise": noise}))["loss"]
    rows = [
        consistency_losses.run(changed(CONSISTENCY, tmp_path, {}, {"x0": x_0[:, i, j], "noise": noise[:, i, j]}))["loss"]
        for i in range(3)
        for j in range(6)
    ]
    torch.testing.assert_close(large, torch.stack(rows).mean(0))
