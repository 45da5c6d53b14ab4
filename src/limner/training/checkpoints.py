"""A run folder on disk: what is written, when it counts as written, and how it is read again.

    RUN/preset.json                    the preset and stage, fully expanded
    RUN/log.jsonl                      one line every few steps
    RUN/samples/step-00002000.png      sample grids
    RUN/step-00002000/                 a checkpoint; the last two are kept
        weights.safetensors            parameters and buffers by name, float32
        ema-0.999.safetensors          one file a rate: averaged parameters by name
        adamw.safetensors              exp_avg.NAME and exp_avg_sq.NAME
        levels.safetensors             what the importance sampler of t has seen, where there is one
        state.json                     step, seconds trained, sizes of the files above

A checkpoint is written under another name, flushed to the disk and renamed: a folder called step-N is complete.
No pickles anywhere.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from limner.config import Preset, TrainSettings, parse
from limner.errors import CheckpointError, TrainingError

FORMAT = 1
KEPT = 2
_NAME = re.compile(r"step-(\d{8,})")

# Settings that change what is shown or when, never the numbers of a run: a resume may bring other values.
HARMLESS = frozenset({"save_every", "sample_every", "prompts", "accumulate", "compile"})


class Saved(NamedTuple):
    """A complete checkpoint on disk."""

    path: Path
    step: int
    facts: dict[str, Any]


def save(run: Path, step: int, files: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any]) -> Saved:
    """Write a checkpoint so that it is there whole or not at all, then drop all but the last two.

    Raises: TrainingError when the disk says no; the checkpoints before are untouched.
    """
    final = run / f"step-{step:08d}"
    partial = run / f".step-{step:08d}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, tensors in files.items():
            save_file({key: t.detach().contiguous().cpu() for key, t in tensors.items()}, partial / name)
            _flush(partial / name)
        state = {"format": FORMAT, "step": step, "files": {name: (partial / name).stat().st_size for name in files}, **facts}
        (partial / "state.json").write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        _flush(partial / "state.json")
        _flush(partial)
        if final.exists():
            shutil.rmtree(final)
        partial.rename(final)
        _flush(run)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise TrainingError(_refused(run, step, error)) from None
    for old in _folders(run)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return Saved(final, step, state)


def newest(run: Path) -> Saved | None:
    """The last complete checkpoint of a run; leftovers of an interrupted save are swept away. None when there is none.

    Raises: CheckpointError when the newest one is damaged, or written by another version.
    """
    for leftover in run.glob(".step-*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    folders = _folders(run)
    return _look(folders[-1]) if folders else None


def tensors(saved: Saved, name: str) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of one file, mapped from the disk one at a time: reading takes no second copy of a model."""
    try:
        with safe_open(saved.path / name, framework="pt") as file:
            for key in file.keys():  # noqa: SIM118 - not a mapping
                yield key, file.get_tensor(key)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{saved.path / name}: cannot be read: {error}") from None


def begin(run: Path, preset: Preset, stage: str) -> None:
    """Write down what the run is made of."""
    run.mkdir(parents=True, exist_ok=True)
    tree = {"format": FORMAT, "stage": stage, "preset": preset.model_dump(mode="json")}
    write_text(run / "preset.json", json.dumps(tree, indent=2) + "\n")


def read_preset(run: Path) -> tuple[Preset, str]:
    """The preset and stage a run was begun with.

    Raises: CheckpointError when the folder is not a run.
    """
    path = run / "preset.json"
    try:
        tree = json.loads(path.read_text(encoding="utf-8"))
        return parse(Preset, tree["preset"], where=str(path)), str(tree["stage"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{run}: not a training run: {error}") from None


def same_run(run: Path, preset: Preset, stage: str, changed: frozenset[str] = frozenset()) -> None:
    """Refuse to go on with a run whose preset differs in anything that matters; `changed` names what may differ.

    Raises: TrainingError naming the first setting that differs.
    """
    was, began = read_preset(run)
    if began != stage:
        raise TrainingError(f"{run}: this run trains stage {began!r}, not {stage!r}; choose another folder")
    before, now = _matters(was, stage), _matters(preset, stage)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name) and name not in changed:
            raise TrainingError(
                f"{run}: {name} was {before.get(name)!r} when this run began and is {now.get(name)!r} now; "
                f"put it back, choose another folder, or allow the change (--allow {name})"
            )


def recipe_of(preset: Preset, stage: str) -> TrainSettings | None:
    """The recipe of a stage, where the preset has one."""
    return next((recipe for recipe in preset.training if recipe.stage == stage), None)


def ema_file(rate: float) -> str:
    """Name of the file that holds the averages of a rate."""
    return f"ema-{rate:g}.safetensors"


def write_text(path: Path, text: str) -> None:
    """Replace a small file in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    _flush(partial)
    partial.replace(path)


def _matters(preset: Preset, stage: str) -> dict[str, Any]:
    """Dotted names and values of all settings that the numbers of a run depend on."""
    found: dict[str, Any] = {}
    for settings in preset.model.stages:
        if settings.name == stage:
            tree = settings.model_dump(mode="json", exclude={"sampling", "name"})
            found |= _flat("stage", tree)
    recipe = recipe_of(preset, stage)
    if recipe is not None:
        found |= _flat("training", recipe.model_dump(mode="json", exclude={*HARMLESS, "stage"}))
    return found


def _flat(prefix: str, tree: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(f"{prefix}.{key}", value) if isinstance(value, dict) else {f"{prefix}.{key}": value}
    return flat


def _folders(run: Path) -> list[Path]:
    found = [(int(match[1]), path) for path in run.glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def _look(path: Path) -> Saved:
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        step, files, version = int(state["step"]), dict(state["files"]), state["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged: {error}; delete this folder to go on from the checkpoint before it") from None
    if version != FORMAT:
        raise CheckpointError(f"{path}: format {version}, this limner reads {FORMAT}")
    for name, size in files.items():
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found != size:
            raise CheckpointError(
                f"{path / name}: {'missing' if found is None else f'{found} bytes'} where {size} bytes were written; "
                "delete the folder to go on from the checkpoint before it"
            )
    return Saved(path, step, state)


def _refused(run: Path, step: int, error: Exception) -> str:
    before = _folders(run)
    kept = f"the checkpoint {before[-1].name} is whole" if before else "there is no earlier checkpoint"
    reason = error.strerror or error if isinstance(error, OSError) else error
    return f"{run}: could not save step {step}: {reason}; {kept}; make room and run the same command again"


def _flush(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return  # directories cannot be opened there
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
