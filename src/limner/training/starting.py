"""Where a run begins when not from fresh weights: the averaged weights and the words of a model, or of another run.

A network may take more pictorial conditions than the one it starts from, as an inpainting one does (GLIDE section 4.3): the
stem's weights for those begin at zero, so that at first they change nothing. In all else the two must be alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner import catalog, weights
from limner.config import StageSettings, UNetSettings
from limner.errors import CheckpointError, ConfigError
from limner.networks.unet import UNet, input_channels, inputs
from limner.training import checkpoints, exporting

STEM = "stem.weight"
_INPUTS = frozenset({"inpaint", "low_res", "latent"})  # what may be there in addition
_FREE = frozenset({"dropout"})  # what no weight depends on


class Start(NamedTuple):
    """A stage of a model or run that another run begins from."""

    name: str  # as the recipe says it
    hash: str  # sha256 of its weights file
    settings: StageSettings
    vocabulary: Path | None  # its own, where it has one
    tensors: Callable[[], Iterator[tuple[str, Tensor]]]  # its weights, one at a time


def find(name: str, stage: StageSettings) -> Start:
    """The stage of the same name in a model (a name or a folder) or in a run's folder.

    Raises: CheckpointError when there is none; ConfigError when a network of these settings cannot begin with its weights.
    """
    named = any(entry.name == name for entry in catalog.models())  # a run's folder must not hide a model
    is_run = not named and (Path(name) / "preset.json").is_file()
    start = _of_run(Path(name), stage.name) if is_run else _of_model(name, stage.name)
    _check(start, stage)
    return start


def fill(network: UNet, start: Start) -> None:
    """Give a network the weights to begin with, in place; inputs that the start does not have begin at zero.

    Raises: CheckpointError for weights that are damaged.
    """
    places = network.state_dict(keep_vars=True)
    left = set(places)
    old = start.settings.network
    for key, value in start.tensors():
        whole = key == STEM and value.ndim == 4 and value.shape[1] == input_channels(old) * old.patch**2
        fitting = with_inputs(value, old, network.settings) if whole else value
        if key not in left or places[key].shape != fitting.shape:
            raise CheckpointError(f"{start.name}: its {key} {list(value.shape)} does not fit its own settings; fetch it again")
        with torch.no_grad():
            places[key].copy_(fitting)
        left.discard(key)
    if left:
        raise CheckpointError(f"{start.name}: {len(left)} of its tensors are missing, the first is {min(left)}; fetch it again")


def with_inputs(weight: Tensor, old: UNetSettings, new: UNetSettings) -> Tensor:
    """A stem's weights laid out for more inputs, zero where there was none.

    Shapes: [C in k k] -> [C in' k k], both in the order of `unet.inputs`.
    """
    squares = new.patch**2
    pieces = torch.split(weight, [count * squares for count in inputs(old).values()], dim=1)
    had = dict(zip(inputs(old), pieces))
    height, width = weight.shape[2:]
    parts = [
        had[name] if name in had else weight.new_zeros(len(weight), count * squares, height, width)
        for name, count in inputs(new).items()
    ]
    return torch.cat(parts, dim=1)


def _of_model(name: str, stage: str) -> Start:
    try:
        folder = weights.read_folder(catalog.find(name))
    except CheckpointError as error:
        raise CheckpointError(f"training.start: {error}") from None
    settings = next((each for each in folder.settings.stages if each.name == stage), None)
    if settings is None:
        raise ConfigError(_no_stage(name, stage, [each.name for each in folder.settings.stages]))
    words = _vocabulary(folder.path, settings)
    return Start(name, folder.hashes[stage], settings, words, lambda: weights.read_tensors(folder.weights(stage)))


def _of_run(run: Path, stage: str) -> Start:
    preset, trained = checkpoints.read_preset(run)
    saved = checkpoints.newest(run)
    recipe = checkpoints.recipe_of(preset, trained)
    if trained != stage:
        raise ConfigError(_no_stage(str(run), stage, [trained]))
    if saved is None or recipe is None:
        raise CheckpointError(f"training.start: {run}: has no checkpoint yet; train it first")
    settings = next(each for each in preset.model.stages if each.name == stage)
    words = _vocabulary(run, settings)
    file = checkpoints.ema_file(recipe.ema[-1]) if recipe.ema else "weights.safetensors"
    state = exporting.averaged_state(saved, recipe)
    return Start(str(run), weights.sha256(saved.path / file), settings, words, lambda: iter(state.items()))


def _vocabulary(folder: Path, stage: StageSettings) -> Path | None:
    """The vocabulary that lies beside the weights; None where there is none to lie there."""
    text = stage.network.text
    if text is None or text.vocabulary in ("gpt2", "clip"):
        return None
    file = folder / text.vocabulary
    if not file.is_file():
        raise CheckpointError(f"training.start: {file}: missing; fetch or export the folder again")
    return file


def _check(start: Start, stage: StageSettings) -> None:
    """Refuse a start whose weights would mean something else in the new network."""
    for what in ("network", "diffusion"):
        was, now = (getattr(each, what).model_dump() for each in (start.settings, stage))
        for key in was:
            more = key in _INPUTS and not was[key]
            if was[key] != now[key] and key not in _FREE and not more:
                differing = _differing(f"{what}.{key}", was[key], now[key])
                raise ConfigError(
                    f"training.start: stage {stage.name!r} of {start.name} has {differing}; make them alike or start elsewhere"
                )
    if start.settings.low_side != stage.low_side and start.settings.network.low_res:
        raise ConfigError(
            f"training.start: stage {stage.name!r} of {start.name} enlarges {start.settings.low_side} px, "
            f"this one {stage.low_side} px; make them alike or start elsewhere"
        )


def _differing(path: str, was: Any, now: Any) -> str:
    """Both values of the first setting that differs, with its dotted path."""
    if isinstance(was, dict) and isinstance(now, dict):
        key = next(key for key in was if was[key] != now[key])
        return _differing(f"{path}.{key}", was[key], now[key])
    return f"{path} {was!r}, the preset {now!r}"


def _no_stage(name: str, stage: str, have: list[str]) -> str:
    return f"training.start: {name} has no stage {stage!r} to begin with; it has: {', '.join(have) or 'none'}"
