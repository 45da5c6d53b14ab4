"""The head that teaches the text transformer what is where, and is thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from limner.config import TextSettings
from limner.errors import ConfigError
from limner.networks.transformer import TextTransformer
from limner.training import exporting, loop
from limner.training.outline import FINE, GRID, PREFIX, Outline
from limner.training.session import train
from tests.training.test_loop import opened
from tests.training.tiny import Stripes, preset

SMALL = TextSettings(vocabulary="-", rows=8, context=3, width=32, depth=2, heads=2)


def test_it_draws_one_coarse_picture_a_text() -> None:
    text, pooled = TextTransformer(SMALL, 64)(torch.zeros(2, 3, dtype=torch.int64), None)
    assert Outline(SMALL, 64, 3)(text, pooled).shape == (2, 3, GRID * FINE, GRID * FINE)


def test_the_loss_is_the_distance_to_the_picture_made_small() -> None:
    outline = Outline(SMALL, 64, 3)
    text, pooled = TextTransformer(SMALL, 64)(torch.zeros(2, 3, dtype=torch.int64), None)
    large = torch.rand(2, 3, 64, 64)
    small = torch.nn.functional.avg_pool2d(large, 2)
    torch.testing.assert_close(outline.loss(text, pooled, large), (outline(text, pooled) - small).square().mean((1, 2, 3)))


def test_it_learns_which_word_stands_first() -> None:
    torch.manual_seed(0)
    ids = torch.tensor([[1, 3, 2], [2, 3, 1]])
    pictures = torch.ones(2, 3, 32, 32)
    pictures[0, :, :16], pictures[1, :, 16:] = -1, -1
    tower, outline = TextTransformer(SMALL, 64), Outline(SMALL, 64, 3)
    optimiser = torch.optim.AdamW([*tower.parameters(), *outline.parameters()], 3e-3)
    for _ in range(60):
        loss = outline.loss(*tower(ids, None), pictures).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 0.1  # both texts alike would leave 1


def test_its_term_is_logged_and_weighted(tmp_path: Path) -> None:
    report = next(loop.steps(opened(tmp_path, outline=0.5)))
    assert report.parts["outline"] > 0
    assert report.loss == pytest.approx(report.parts["mse"] + 0.5 * report.parts["outline"], rel=1e-5)


def test_its_weights_are_kept_in_the_run_and_left_out_of_the_model(tmp_path: Path) -> None:
    train(preset(outline=0.5, steps=1), "base", tmp_path / "run", data=Stripes())
    exporting.export(tmp_path / "run", tmp_path / "model")
    kept, given = (
        load_file(next(tmp_path.glob(found))) for found in ("run/step-*/weights.safetensors", "model/base.safetensors")
    )
    assert any(name.startswith(PREFIX) for name in kept)
    assert given.keys() == {name for name in kept if not name.startswith(PREFIX)}


def test_a_stage_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"training\.outline 1: stage 'upsampler' reads no text; set it to 0"):
        train(preset(outline=1.0), "upsampler", tmp_path / "run", data=Stripes())
