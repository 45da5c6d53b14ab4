"""Runners on cases of another size or with other options than the committed ones."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from limner.config import PriorSettings
from limner.networks.diffusion_prior import DiffusionPrior
from tests.golden.case import Case
from tests.golden.conftest import VECTORS
from tests.golden.runners import diffusers_prior, glide_pipeline, karras_samplers

PIPELINE = VECTORS / "openai" / "glide_pipeline_inpaint_cfg5"
SAMPLER = VECTORS / "unclip_dalle3" / "dpmpp2m_karras_10"


def changed(folder: Path, to: Path, config: dict[str, Any], inputs: dict[str, Tensor]) -> Case:
    """The case with other options and inputs, its expected outputs as they were."""
    spec = copy.deepcopy(Case(folder).spec)
    spec["config"] |= config
    for name, x in inputs.items():
        kind = str(x.dtype).removeprefix("torch.")
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
