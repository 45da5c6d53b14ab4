"""A model is taught to inpaint, stored beside the one it came from, and edits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.cli.conftest import Limner, opened

PRESET = """
[model]
name = "tiny-inpaint"

[[model.stages]]
name = "base"
[model.stages.network]
side = 8
inpaint = true
width = 8
multipliers = [1, 2]
blocks = 1
head_width = 8
groups = 2
ranged = false
attention = [2]
[model.stages.network.text]
vocabulary = "vocabulary.json"
rows = 300
context = 16
width = 16
depth = 1
heads = 2
[model.stages.diffusion]
levels = 50
target = "v"
variance = "fixed_small"
[model.stages.sampling]
sampler = "ddim"
steps = "4"
guidance = 2.0

[[model.stages]]
name = "upsampler"
low_side = 8
[model.stages.network]
side = 16
width = 8
multipliers = [1, 2]
blocks = 1
low_res = true

[[training]]
stage = "base"
start = "tiny"
data = "shapes"
batch = 2
steps = 2
[training.erase]
"""


def test_a_model_learns_to_inpaint_and_edits_with_the_upsampler_of_its_start(limner: Limner) -> None:
    Path("mine.toml").write_text(PRESET, encoding="utf-8")
    train = ("train", "mine.toml", "--stage", "base", "--out", "run", "--device", "cpu", "--threads", "1")
    said = limner(*train)
    assert (said.code, said.out) == (0, "run/step-00000002\n")
    assert "a new run from tiny of 2" in said.err
    assert limner("export", "run", "--share", "tiny", "--out", "mine").lines == ["mine"]
    shown = limner("models", "show", "./mine")
    assert "can draw, edit" in shown.out
    assert shown.out.count(", changes to tiny") == 2
    limner("draw", "a red fox", "-m", "./mine", "-s", "1", "-o", "whole.png")
    said = limner("edit", "whole.png", "a red hat", "--mask", "0,0,8,16", "-m", "./mine", "-s", "1", "-o", "edited.png")
    assert said.lines == ["edited.png"]
    old, new = (np.asarray(opened(name)) for name in ("whole.png", "edited.png"))
    assert np.array_equal(old[:, 8:], new[:, 8:])
    assert not np.array_equal(old, new)


def test_a_start_that_does_not_fit_is_one_line_and_leaves_no_run(limner: Limner) -> None:
    Path("mine.toml").write_text(PRESET, encoding="utf-8")
    for wrong, named in (
        ("training.0.start=nowhere", "training.start: 'nowhere': no such model or folder"),
        ("model.stages.0.network.width=16", "training.start: stage 'base' of tiny has network.width 8, the preset 16"),
    ):
        said = limner("train", "mine.toml", "--stage", "base", "--out", "run", "--device", "cpu", "--set", wrong)
        assert said.code != 0
        assert named in said.err
        assert len(said.err.strip().splitlines()) <= 2
        assert not Path("run/preset.json").exists()
