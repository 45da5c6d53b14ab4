"""From finished runs to a checkpoint folder: the averaged weights, the settings, and a card begun from the logs."""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from limner import catalog, weights
from limner.config import EraseSettings, Preset, StageSettings, TrainSettings
from limner.errors import CheckpointError, ConfigError
from limner.networks.unet import UNet
from limner.official import exporting
from limner.training import checkpoints
from limner.training.checkpoints import Saved
from limner.training.log import Line, read_log
from limner.training.outline import PREFIX

Layout = Literal["limner", "official", "diffusers"]
POINTS = 12  # of the loss curve in the card


class Finished(NamedTuple):
    """What a card says of one run."""

    path: Path
    preset: Preset
    stage: StageSettings
    recipe: TrainSettings
    saved: Saved
    lines: list[Line]
    rate: float | None  # of the average that is written; None = the weights as trained


class _Made(NamedTuple):
    """What goes into a checkpoint folder; stages and weights by name."""

    stages: dict[str, StageSettings]
    states: dict[str, dict[str, Tensor]]
    files: dict[str, bytes]
    notes: str
    bases: dict[str, weights.Base]


def export(
    runs: Path | Sequence[Path],
    out: Path,
    *,
    rate: float | None = None,
    dtype: torch.dtype = torch.bfloat16,
    notes: str = "",
    layout: Layout = "limner",
    share: str | None = None,
) -> Path:
    """Write the newest averaged weights of one run a stage as a checkpoint folder, with CARD.md begun from their logs.

    In the layout "official" or "diffusers", `runs` is one model, by name or folder, and is written as the originals were
    released; numbers keep their types.

    Stages are ordered as in the preset, those without a run are left out. With `share`, the model that the runs started from,
    only changes to its weights are stored, and stages without a run are its own. `rate` chooses an EMA (the recipe's last one);
    `notes` is Markdown that goes into the card as it is.

    Raises: CheckpointError when a folder is not a run, has no checkpoint yet, or the runs do not belong together.
    """
    named = [runs] if isinstance(runs, Path) else list(runs)
    if layout != "limner":
        if len(named) != 1:
            raise CheckpointError(f"export: name one model for the {layout} layout; got {len(named)}")
        exporting.export(weights.read_folder(catalog.find(named[0])), out, layout=layout)
        return out
    finished = [_read(run, rate) for run in named]
    if not finished:
        raise CheckpointError("export: name at least one training run")
    names = [run.stage.name for run in finished]
    if len(set(names)) < len(names):
        raise CheckpointError(f"export: two runs train the same stage; found stages {', '.join(names)}")
    models = {run.preset.model.name for run in finished}
    if len(models) > 1:
        raise CheckpointError(f"export: the runs belong to different models: {', '.join(sorted(models))}")
    order = [stage.name for stage in finished[0].preset.model.stages]
    finished.sort(key=lambda run: order.index(run.stage.name))
    files = _vocabularies(finished)
    for run in finished:
        files |= _figures(run)
    states = {run.stage.name: averaged_state(run.saved, run.recipe, rate) for run in finished}
    made = _Made({run.stage.name: run.stage for run in finished}, states, files, notes, {})
    if share is not None:
        made = _shared(made, order, weights.read_folder(catalog.find(share)))
    stages = tuple(made.stages[name] for name in order if name in made.stages)
    settings = finished[0].preset.model.model_copy(update={"stages": stages})
    text = card(finished, made.notes)
    return weights.save_folder(out, settings, made.states, text, made.files, dtype=dtype, bases=made.bases)


def _shared(made: _Made, order: Sequence[str], lender: weights.Folder) -> _Made:
    """The same, told as changes to the lender's weights; the lender's own stages take the places of those without a run."""
    name = lender.path.resolve().name
    notes = f"{made.notes.strip()}\n\nStored as changes to the weights of {name}, which have to be at hand.".strip()
    stages, states, files = dict(made.stages), dict(made.states), dict(made.files)
    for stage in lender.settings.stages:
        if stage.name in order and stage.name not in stages:
            stages[stage.name] = stage
            states[stage.name] = dict(weights.read_tensors(lender.weights(stage.name)))
            files = _vocabulary(lender.path, stage) | files
            notes += f" The {stage.name} is that of {name}."
    bases = {network: weights.Base(name, network, digest) for network, digest in lender.hashes.items()}
    return _Made(stages, states, files, notes, bases)


def averaged_state(saved: Saved, recipe: TrainSettings, rate: float | None = None) -> dict[str, Tensor]:
    """All weights of a checkpoint, its parameters averaged at a rate (the recipe's last one).

    Raises: ConfigError for a rate the run did not keep.
    """
    state = _exported(saved, "weights.safetensors")
    rates = recipe.ema
    if rate is None and not rates:
        return state
    chosen = rates[-1] if rate is None else rate
    if chosen not in rates:
        raise ConfigError(f"{saved.path}: no average at rate {chosen}; this run keeps {', '.join(map(str, rates)) or 'none'}")
    return state | _exported(saved, checkpoints.ema_file(chosen))


def _exported(saved: Saved, name: str) -> dict[str, Tensor]:
    """The tensors of a file that belong to the network."""
    return {key: value for key, value in checkpoints.tensors(saved, name) if not key.startswith(PREFIX)}


def card(finished: Sequence[Finished], notes: str = "") -> str:
    """The card of a model as Markdown: what it is, what it was trained on, for how long, how the loss fell."""
    model = finished[0].preset.model
    head = {"license": model.licence.lower(), "library_name": "limner", "pipeline_tag": "text-to-image", "language": "en"}
    lines = ["---", *(f"{key}: {value}" for key, value in head.items()), "---", "", f"# {model.name}", "", model.summary, ""]
    lines += [f"Licence of the weights: {model.licence}.", ""]
    if notes:
        lines += [notes.strip(), ""]
    for run in finished:
        lines += _stage_section(run)
    return "\n".join(lines).rstrip() + "\n"


def _stage_section(run: Finished) -> list[str]:
    facts = run.saved.facts
    with torch.device("meta"):
        count = sum(p.numel() for p in UNet(run.stage.network).parameters())
    recipe = run.recipe
    rows = [
        ("parameters", f"{count:,}"),
        ("picture", f"{run.stage.network.side} px" + (f" from {run.stage.low_side} px" if run.stage.low_side else "")),
        *([("started from", f"{start['name']}, weights {start['weights'][:12]}")] if (start := facts.get("start")) else []),
        *([("erased", _erased(recipe.erase))] if recipe.erase else []),
        ("data", str(facts.get("data", recipe.data))),
        ("steps", f"{run.saved.step:,} of {recipe.steps:,}"),
        ("views", f"{facts['views']:,} (batch {recipe.batch})"),
        ("hours of training", f"{facts['seconds'] / 3600:.2f}"),
        ("hardware", "; ".join(facts.get("hardware", [])) or "not recorded"),
        ("optimiser", f"AdamW, lr {recipe.lr:g}, betas {recipe.betas}, {recipe.warmup} steps of warm-up, {recipe.decay} decay"),
        ("objective", f"target {run.stage.diffusion.target}, loss {recipe.loss}, weighting {recipe.weighting}"),
        ("weights", "as trained" if run.rate is None else f"average at rate {run.rate:g}"),
        ("seed", str(recipe.seed)),
    ]
    lines = [f"## Stage {run.stage.name}", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows), ""]
    curve = thinned(run.lines, POINTS)
    if curve:
        lines += ["| step | views | loss | gradient norm |", "|---|---|---|---|"]
        lines += [f"| {p['step']:,} | {p['views']:,} | {p['loss']:.4f} | {p['grad_norm']:.3f} |" for p in curve]
        lines += ["", f"The whole curve: `training-{run.stage.name}.jsonl`.", ""]
    if _grids(run.path):
        lines += [f"Fixed prompts, drawn at the last stop: `samples-{run.stage.name}.png`.", ""]
    return lines


def _erased(recipe: EraseSettings) -> str:
    shares = recipe.model_dump(include={"boxes", "strokes", "objects", "everything", "nothing"})
    return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share)


def thinned(lines: Sequence[Line], points: int) -> list[Line]:
    """At most `points` lines, evenly spaced, the mean of the losses between them, the last line's other figures."""
    if not lines:
        return []
    edges = [round(k * len(lines) / points) for k in range(points + 1)]
    groups = [lines[a:b] for a, b in pairwise(edges) if b > a]
    return [{**group[-1], "loss": sum(line["loss"] for line in group) / len(group)} for group in groups]


def machine(device: torch.device, ranks: int) -> str:
    """What trains here, in words: processor or accelerator, ranks and threads, torch."""
    if device.type == "cuda":
        where = f"{ranks} x {torch.cuda.get_device_name(device)}"
    else:
        where = f"{_processor()}, {ranks} rank{'s' if ranks > 1 else ''} x {torch.get_num_threads()} threads ({device.type})"
    return f"{where}, torch {torch.__version__}"


def _processor() -> str:
    try:
        rows = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        rows = []
    named = next((row.split(":", 1)[1].strip() for row in rows if row.startswith("model name")), "")
    return named or platform.processor() or platform.machine()


def _read(run: Path, rate: float | None) -> Finished:
    preset, name = checkpoints.read_preset(run)
    saved = checkpoints.newest(run)
    if saved is None:
        raise CheckpointError(f"{run}: has no checkpoint yet; train it first")
    stage = next(stage for stage in preset.model.stages if stage.name == name)
    recipe = checkpoints.recipe_of(preset, name)
    if recipe is None:
        raise CheckpointError(f"{run}: its preset has no recipe for stage {name!r}")
    chosen = rate if rate is not None or not recipe.ema else recipe.ema[-1]
    return Finished(run, preset, stage, recipe, saved, read_log(run / "log.jsonl"), chosen)


def _vocabularies(finished: Sequence[Finished]) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for run in finished:
        for name, data in _vocabulary(run.path, run.stage).items():
            if files.setdefault(name, data) != data:
                raise CheckpointError(f"{run.path}: its {name} differs from the other run's; one of them needs another name")
    return files


def _vocabulary(folder: Path, stage: StageSettings) -> dict[str, bytes]:
    """The vocabulary that a stage has of its own, by the name of its file."""
    text = stage.network.text
    own = text is not None and text.vocabulary not in ("gpt2", "clip")
    return {text.vocabulary: (folder / text.vocabulary).read_bytes()} if text is not None and own else {}


def _figures(run: Finished) -> dict[str, bytes]:
    """The thinned curve and the last sample grid of a run, as files of the checkpoint."""
    keys = ("step", "views", "loss", "grad_norm", "lr", "imgs_per_s", "hours", "by_quartile")
    curve: list[dict[str, Any]] = [{key: line[key] for key in keys if key in line} for line in thinned(run.lines, 200)]
    files = {f"training-{run.stage.name}.jsonl": "".join(json.dumps(point) + "\n" for point in curve).encode()}
    grids = _grids(run.path)
    return files | ({f"samples-{run.stage.name}.png": grids[-1].read_bytes()} if grids else {})


def _grids(run: Path) -> list[Path]:
    return sorted((run / "samples").glob("step-*.png"))
