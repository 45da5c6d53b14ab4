"""Beginning from another model's weights, with inputs that it did not have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from limner import images, training, weights
from limner.config import SystemSettings
from limner.data.source import View
from limner.errors import CheckpointError, ConfigError
from limner.networks.unet import UNet
from limner.systems import base, glide
from limner.systems.base import Hint
from limner.training import checkpoints, starting
from limner.training.log import read_log
from tests.training.tiny import Stripes, preset


def train(out: Path, stage: str = "base", **recipe: Any) -> Path:
    options = {name: recipe.pop(name) for name in ("max_minutes",) if name in recipe}
    return training.train(preset(**recipe), stage, out, data=Stripes(), device="cpu", threads=1, logged=1, **options)


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny cascade that has learnt a little, as a checkpoint folder."""
    folder = tmp_path_factory.mktemp("generator")
    runs = [folder / "run-base", folder / "run-upsampler"]
    for run, stage in zip(runs, ("base", "upsampler")):
        train(run, stage)
    return training.export(runs, folder / "tiny", dtype=torch.float32)


def started(generator: Path, stage: str = "base", **changes: Any) -> UNet:
    """The inpainting network of a stage at step 0."""
    settings = next(each for each in preset(inpaint=True, **changes).model.stages if each.name == stage)
    network = UNet(settings.network)
    starting.fill(network, starting.find(str(generator), settings))
    return network


@pytest.mark.parametrize("stage", ["base", "upsampler"])
def test_at_step_0_it_says_what_the_generator_says_whatever_the_mask(generator: Path, stage: str) -> None:
    system = glide.open_folder(weights.read_folder(generator), device="cpu", dtype="float32")
    old = next(each for each in system.stages if each.settings.name == stage)
    network = started(generator, stage).eval()
    side = old.settings.network.side
    x, picture = torch.randn(2, 2, 3, side, side)
    t = torch.tensor([3, 80])
    cond = {name: value.expand(2, *value.shape[1:]) for name, value in old.words(["red stripes"]).items()}
    if stage == "upsampler":
        cond["low_res"] = torch.randn(2, 3, 8, 8)
    wanted = old.net(x, t, cond)
    for known in (torch.zeros(2, 1, side, side), torch.ones(2, 1, side, side), torch.rand(2, 1, side, side).round()):
        assert torch.allclose(network(x, t, {**cond, "image": picture, "known": known}), wanted, atol=1e-6)
    assert torch.allclose(network(x, t, cond), wanted, atol=1e-6)


def test_the_new_inputs_begin_at_zero_and_learn(generator: Path, tmp_path: Path) -> None:
    network = started(generator)
    assert torch.equal(network.stem.weight[:, 3:], torch.zeros_like(network.stem.weight[:, 3:]))
    saved = checkpoints.newest(train(tmp_path / "run", inpaint=True, start=str(generator)).parent)
    assert saved is not None
    assert bool(dict(checkpoints.tensors(saved, "weights.safetensors"))["stem.weight"][:, 3:].any(dim=(0, 2, 3)).all())
    assert saved.facts["start"] == {"name": str(generator), "weights": weights.sha256(generator / "base.safetensors")}


def test_inputs_keep_their_places_when_others_come_between() -> None:
    old = preset().model.stages[1].network
    new = preset(inpaint=True).model.stages[1].network
    weight = torch.randn(5, 6 * old.patch**2, 3, 3)
    wide = starting.with_inputs(weight, old, new)
    squares = old.patch**2
    assert wide.shape == (5, 10 * squares, 3, 3)
    assert wide.shape[1:] == UNet(new).stem.weight.shape[1:]
    assert torch.equal(wide[:, : 3 * squares], weight[:, : 3 * squares])
    assert torch.equal(wide[:, 7 * squares :], weight[:, 3 * squares :])
    assert not wide[:, 3 * squares : 7 * squares].any()


def test_a_run_begins_with_the_averages_and_the_words_of_another_run(tmp_path: Path) -> None:
    train(tmp_path / "first")
    train(tmp_path / "second", start=str(tmp_path / "first"), max_minutes=0, lr=1e-12, drop_captions=0.2)
    first, second = checkpoints.newest(tmp_path / "first"), checkpoints.newest(tmp_path / "second")
    assert first is not None
    assert second is not None
    averages = dict(checkpoints.tensors(first, "ema-0.99.safetensors"))
    for file in ("weights.safetensors", "ema-0.99.safetensors"):
        for key, value in checkpoints.tensors(second, file):
            assert torch.allclose(value, averages[key], atol=1e-6), key
    assert (tmp_path / "first" / "words.json").read_bytes() == (tmp_path / "second" / "words.json").read_bytes()


def test_a_run_that_was_stopped_goes_on_without_its_start(generator: Path, tmp_path: Path) -> None:
    recipe = {"inpaint": True, "start": str(tmp_path / "start")}
    for name in ("parts", "whole"):
        (tmp_path / "start").symlink_to(generator)
        train(tmp_path / name, max_minutes=0 if name == "parts" else None, **recipe)
        (tmp_path / "start").unlink()
        train(tmp_path / name, **recipe)
    parts, whole = (read_log(tmp_path / name / "log.jsonl") for name in ("parts", "whole"))
    assert [line["loss"] for line in parts] == [line["loss"] for line in whole]
    for file in ("weights", "adamw", "ema-0.9", "ema-0.99"):
        name = f"step-00000012/{file}.safetensors"
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("stage", "changes", "named"),
    [
        ("base", {"diffusion": {"target": "eps"}}, r"diffusion\.target 'v', the preset 'eps'"),
        ("base", {"diffusion": {"levels": 50}}, r"diffusion\.levels 100, the preset 50"),
    ],
)
def test_a_start_of_another_process_is_refused(generator: Path, stage: str, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        started(generator, stage, **changes)


def test_a_start_of_another_shape_is_refused_and_nothing_is_written_down(generator: Path, tmp_path: Path) -> None:
    tree = preset(inpaint=True, start=str(generator)).model_dump(mode="json")
    tree["model"]["stages"][0]["network"]["text"]["depth"] = 2
    with pytest.raises(ConfigError, match=r"training\.start: stage 'base' of .* has network\.text\.depth 1, the preset 2"):
        training.train(type(preset()).model_validate(tree), "base", tmp_path / "run", data=Stripes(), device="cpu")
    assert not (tmp_path / "run" / "preset.json").exists()


def test_inputs_that_the_new_network_lacks_are_refused(tmp_path: Path) -> None:
    train(tmp_path / "first", inpaint=True, max_minutes=0)
    with pytest.raises(ConfigError, match=r"network\.inpaint True, the preset False"):
        starting.find(str(tmp_path / "first"), preset().model.stages[0])


@pytest.mark.parametrize("stage", ["base", "upsampler"])
def test_a_start_that_is_not_there_is_said(tmp_path: Path, stage: str) -> None:
    with pytest.raises(CheckpointError, match=r"training\.start: 'nowhere': no such model or folder"):
        train(tmp_path / "run", stage, inpaint=True, start="nowhere")


def test_a_start_without_the_stage_names_those_it_has(generator: Path, tmp_path: Path) -> None:
    folder = weights.read_folder(generator)
    state = dict(weights.read_tensors(folder.weights("upsampler")))
    settings = SystemSettings.model_validate(
        folder.settings.model_dump() | {"stages": [folder.settings.stages[1].model_dump()]}
    )
    only = weights.save_folder(tmp_path / "only", settings, {"upsampler": state}, "# only\n")
    with pytest.raises(ConfigError, match=r"has no stage 'base' to begin with; it has: upsampler"):
        started(only)


def damaged(generator: Path, out: Path, **changes: torch.Tensor | None) -> Path:
    """The generator with some tensors of its base replaced, or left out (None)."""
    folder = weights.read_folder(generator)
    states = {name: dict(weights.read_tensors(folder.weights(name))) for name in ("base", "upsampler")}
    for key, value in changes.items():
        if value is None:
            del states["base"][key.replace("__", ".")]
        else:
            states["base"][key.replace("__", ".")] = value
    words = {"words.json": (generator / "words.json").read_bytes()}
    return weights.save_folder(out, folder.settings, states, "# damaged\n", words)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"head__bias": None}, r"1 of its tensors are missing, the first is head\.bias"),
        ({"head__bias": torch.zeros(7)}, r"its head\.bias \[7\] does not fit its own settings"),
        ({"stem__weight": torch.zeros(16, 4, 3, 3)}, r"its stem\.weight \[16, 4, 3, 3\] does not fit its own settings"),
        ({"more": torch.zeros(1)}, r"its more \[1\] does not fit its own settings"),
    ],
)
def test_a_damaged_start_is_said(generator: Path, tmp_path: Path, changes: dict[str, torch.Tensor | None], named: str) -> None:
    with pytest.raises(CheckpointError, match=named):
        started(damaged(generator, tmp_path / "damaged", **changes))


def test_a_start_without_its_vocabulary_is_said(generator: Path, tmp_path: Path) -> None:
    out = damaged(generator, tmp_path / "mute")
    for name in ("words.json", weights.SUMS):
        (out / name).unlink()
    with pytest.raises(CheckpointError, match=r"words\.json: missing"):
        started(out)


def test_a_start_that_enlarges_other_pictures_is_refused(generator: Path) -> None:
    stage = preset(inpaint=True).model.stages[1].model_copy(update={"low_side": 16})
    with pytest.raises(ConfigError, match="enlarges 8 px, this one 16 px"):
        starting.find(str(generator), stage)


def test_a_folder_of_a_run_does_not_hide_a_model(generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_MODELS", str(generator.parent))
    monkeypatch.chdir(tmp_path)
    checkpoints.begin(tmp_path / "tiny", preset(), "base")
    assert starting.find("tiny", preset().model.stages[0]).hash == weights.sha256(generator / "base.safetensors")


def test_a_run_without_a_checkpoint_cannot_be_a_start(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path / "run", preset(), "base")
    with pytest.raises(CheckpointError, match="has no checkpoint yet; train it first"):
        starting.find(str(tmp_path / "run"), preset().model.stages[0])


def test_a_run_of_another_stage_cannot_be_a_start(tmp_path: Path) -> None:
    checkpoints.begin(tmp_path / "run", preset(), "upsampler")
    with pytest.raises(ConfigError, match="no stage 'base' to begin with; it has: upsampler"):
        starting.find(str(tmp_path / "run"), preset().model.stages[0])


def test_a_mask_of_everything_draws_what_no_mask_draws(generator: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", inpaint=True, start=str(generator))
    out = training.export(tmp_path / "run", tmp_path / "mine", dtype=torch.float32)
    stage = glide.open_folder(weights.read_folder(out), device="cpu", dtype="float32").stages[0]
    words, sampling = stage.words(["red stripes", ""]), stage.settings.sampling
    picture = torch.rand(1, 3, 8, 8) * 2 - 1

    def drawn(hint: Hint | None) -> torch.Tensor:
        *_, step = base.run(stage, sampling, words, seed=0, indices=[0], hint=hint)
        return step.x

    with torch.no_grad():
        assert torch.equal(drawn(None), drawn(Hint(picture, torch.ones(1, 1, 8, 8))))
        half = torch.ones(1, 1, 8, 8)
        half[..., :4] = 0
        assert torch.allclose(drawn(Hint(picture, half))[..., :4], picture[..., :4], atol=1e-6)


class Plain(Stripes):
    """Pictures of one colour each, so that what is known says all about what is not."""

    def view(self, k: int, side: int, seed: int) -> View:
        """The k-th colour."""
        colour = np.random.default_rng([seed, k]).integers(0, 256, 3, dtype=np.uint8)
        return View(np.broadcast_to(colour, (side, side, 3)).copy(), "on")


def test_a_hole_is_filled_better_than_by_the_generator(tmp_path: Path) -> None:
    source = Plain()
    figures = {"batch": 8, "lr": 3e-3, "drop_captions": 0.0, "ema": (0.8,), "steps": 60, "save_every": 60}
    generator = preset(**figures)
    training.train(generator, "base", tmp_path / "run", data=source, device="cpu", threads=1)
    made = training.export(tmp_path / "run", tmp_path / "made", dtype=torch.float32)
    tuned = preset(inpaint=True, start=str(made), **figures)
    training.train(tuned, "base", tmp_path / "tuned", data=source, device="cpu", threads=1)
    better = training.export(tmp_path / "tuned", tmp_path / "better", dtype=torch.float32)

    repaint = torch.ones(1, 1, 8, 8)
    repaint[..., :3] = 0

    def error(folder: Path) -> float:
        stage = glide.open_folder(weights.read_folder(folder), device="cpu", dtype="float32").stages[0]
        words, total = stage.words(["on"]), 0.0
        sampling = stage.settings.sampling.model_copy(update={"steps": "6", "guidance": 1.0})
        for k in range(8):
            picture = images.pixels_to_tensor(source.view(k, 8, 99).image[None])
            with torch.no_grad():
                *_, step = base.run(stage, sampling, words, seed=0, indices=[k], hint=Hint(picture, repaint))
            total += float((step.x - picture).square().mean())
        return total

    assert error(better) < 0.8 * error(made)
