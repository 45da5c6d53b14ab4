"""One session of training: from a preset and a folder to a checkpoint, with its log and its sample grids.

A run may take many sessions; each goes on exactly where the last checkpoint was written.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from limner import tokens
from limner.config import Preset, StageSettings, TrainSettings, load_preset
from limner.data.pictures import Pictures
from limner.data.source import Source, open_source
from limner.errors import ConfigError, TrainingError
from limner.tokens import Tokenizer
from limner.training import checkpoints, distributed, exporting, feed, loop, samples, starting
from limner.training.distributed import Ranks
from limner.training.log import Line, Log, Voice, peak_memory_mb
from limner.training.loop import QUARTILES, Report, Run
from limner.training.starting import Start

LOGGED = 10  # steps a log line


def train(
    preset: Preset | str,
    stage: str,
    out: str | Path,
    *,
    data: str | Source | None = None,
    max_minutes: float | None = None,
    device: str = "auto",
    threads: int | None = None,
    workers: int = 0,
    resume: bool = True,
    changed: Sequence[str] = (),
    logged: int = LOGGED,
    voice: Voice | None = None,
) -> Path:
    """Train a stage of a preset, or of the preset of a name, in the folder `out` and return its newest checkpoint.

    A folder that holds a run of the same preset is continued; `changed` names settings (training.steps) that may differ
    from when it began. `data` stands in for the recipe's source; `voice` is how it speaks. Under torchrun every rank calls
    this alike.

    Raises: TrainingError when the run cannot go on; KeyboardInterrupt after saving, when told to stop.
    """
    preset, out = load_preset(preset) if isinstance(preset, str) else preset, Path(out)
    settings, recipe = stage_of(preset, stage)
    ranks = distributed.join(device)
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with _locked(out, ranks):
            saved, start = _begin(preset, stage, out, ranks, resume=resume, changed=frozenset(changed))
            source = open_source(recipe.data) if data is None else open_source(data) if isinstance(data, str) else data
            tokenizer = _tokenizer(settings, source, out, ranks, start)
            plan = feed.plan(source, settings, recipe, tokenizer, rank=ranks.rank, ranks=ranks.size)
            run = loop.build(settings, recipe, plan, ranks, out, start=start)
            if saved is not None:
                loop.restore(run, saved)
            _note_facts(run, saved, start)
            distributed.wait(ranks)
            return _session(run, max_minutes=max_minutes, workers=workers, logged=logged, voice=voice)
    finally:
        torch.set_num_threads(before)
        distributed.leave(ranks)


def stage_of(preset: Preset, stage: str) -> tuple[StageSettings, TrainSettings]:
    """The settings and the recipe of a stage.

    Raises: ConfigError naming the stages there are.
    """
    stages = {settings.name: settings for settings in preset.model.stages}
    recipe = checkpoints.recipe_of(preset, stage)
    if stage not in stages or recipe is None:
        trained = [settings.stage for settings in preset.training if settings.stage in stages]
        have = ", ".join(trained) or "none"
        raise ConfigError(f"{preset.model.name}: no stage {stage!r} with a training recipe; have: {have}")
    return stages[stage], recipe


def _session(run: Run, *, max_minutes: float | None, workers: int, logged: int, voice: Voice | None) -> Path:
    """Train until the end, the time or a signal; the last thing done is a checkpoint."""
    wishes = loop.Wishes()
    ends = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    recipe = run.recipe
    if run.ranks.first:
        log = Log(run.folder / "log.jsonl", step=run.step, steps=recipe.steps, voice=voice)
        log.say(f"{run.folder}: {_opening(run)}")
        told = ""  # of the pictures that cannot be used
    pending: list[Report] = []
    stop: loop.Stop = ""
    with loop.interruptible(wishes.interrupted):
        try:
            for report in loop.steps(run, workers=workers, wishes=wishes):
                stop = report.stop
                saves = run.step % recipe.save_every == 0 or run.step == recipe.steps or bool(stop)
                if run.ranks.first:
                    pending.append(report)
                    if run.step % logged == 0 or saves:
                        log.write(_line(run, pending))
                        pending = []
                    if saves:
                        loop.store(run)
                        left = _left_out(run.plan.source)
                        if left != told:
                            log.say(f"{run.plan.source.name}: left out {left}")
                        told = left
                    if stop:
                        log.say(f"{run.folder}: saved after step {run.step}; the same command goes on from there")
                    if recipe.sample_every and run.step % recipe.sample_every == 0:
                        _sample(run)
                    if ends is not None and time.monotonic() >= ends:
                        wishes.late.set()
        finally:
            if run.ranks.first:
                log.close()
    distributed.wait(run.ranks)
    if stop == "interrupted":
        raise KeyboardInterrupt
    newest = checkpoints.newest(run.folder)
    if newest is None:
        raise TrainingError(f"{run.folder}: nothing to train: the recipe has {recipe.steps} steps")
    return newest.path


def _begin(
    preset: Preset, stage: str, out: Path, ranks: Ranks, *, resume: bool, changed: frozenset[str]
) -> tuple[checkpoints.Saved | None, Start | None]:
    """The checkpoint to go on from; for a new run, whose preset is written down, None and what its recipe starts from."""
    exists = (out / "preset.json").is_file()
    distributed.wait(ranks)  # all have looked before the first writes
    saved = checkpoints.newest(out) if exists else None
    if exists and not resume:
        raise TrainingError(f"{out}: holds a run already; choose another folder, or resume it")
    if exists:
        checkpoints.same_run(out, preset, stage, changed)
    settings, recipe = stage_of(preset, stage)
    start = starting.find(recipe.start, settings) if recipe.start and saved is None else None
    distributed.wait(ranks)
    if ranks.first:
        checkpoints.begin(out, preset, stage)
    return saved, start


def _tokenizer(stage: StageSettings, source: Source, out: Path, ranks: Ranks, start: Start | None) -> Tokenizer | None:
    """The vocabulary of the stage; where it is a file and not there yet: the start's, or trained on the source's captions."""
    text = stage.network.text
    if text is None:
        return None
    name = text.vocabulary
    if name not in ("gpt2", "clip") and ranks.first and not (out / name).is_file():
        partial = out / f".{name}.partial"
        if start is not None and start.vocabulary is not None:
            shutil.copyfile(start.vocabulary, partial)
        else:
            tokens.train(source.captions(), text.rows, partial)
        partial.replace(out / name)
    distributed.wait(ranks)
    tokenizer = tokens.load(name, out)
    if tokenizer.size > text.rows:
        raise ConfigError(f"vocabulary {name!r} has {tokenizer.size} entries, the network has text.rows = {text.rows}")
    return tokenizer


def _sample(run: Run) -> None:
    """Draw the sample grid with the averaged weights and keep it as RUN/samples/step-N.png."""
    if not run.recipe.prompts and run.recipe.erase is None and run.stage.network.text is not None:
        return
    with loop.averaged(run) as network:
        sheet = samples.grid(network, run.stage, run.recipe, run.plan.tokenizer, run.plan.source, device=run.ranks.device)
    folder = run.folder / "samples"
    folder.mkdir(exist_ok=True)
    sheet.save(folder / f"step-{run.step:08d}.png")


def _line(run: Run, reports: Sequence[Report]) -> Line:
    """One log line of the steps since the last: means, except for what only the last step has."""
    last = reports[-1]
    count = len(reports)
    seconds = sum(r.seconds for r in reports)
    counts = [sum(r.counts[q] for r in reports) for q in range(QUARTILES)]
    sums = [sum(r.sums[q] for r in reports) for q in range(QUARTILES)]
    line: Line = {
        "step": last.step,
        "loss": sum(r.loss for r in reports) / count,
        **{name: sum(r.parts[name] for r in reports) / count for name in last.parts},
        "by_quartile": [s / c if c else None for s, c in zip(sums, counts)],
        "grad_norm": sum(r.norm for r in reports) / count,
        "lr": last.lr,
        "views": last.step * run.recipe.batch,
        "imgs_per_s": round(count * run.recipe.batch / seconds, 2),
        "data_wait": round(100 * sum(r.waited for r in reports) / seconds, 2),
        "peak_memory_mb": round(peak_memory_mb(run.ranks.device), 1),
        "eta_s": round((run.recipe.steps - last.step) * seconds / count, 1),
        "hours": round(run.seconds / 3600, 5),
    }
    return line


def _note_facts(run: Run, saved: checkpoints.Saved | None, start: Start | None) -> None:
    """What a run began from and every machine it was trained on go into its checkpoints, and from there onto the card."""
    here = exporting.machine(run.ranks.device, run.ranks.size)
    known = [] if saved is None else list(saved.facts.get("hardware", []))
    run.facts = {"data": run.plan.source.name, "hardware": [*known, *([] if here in known else [here])]}
    if start is not None:
        run.facts["start"] = {"name": start.name, "weights": start.hash}
    elif saved is not None and "start" in saved.facts:
        run.facts["start"] = saved.facts["start"]


def _left_out(source: Source) -> str:
    """Which pictures cannot be used and why, as far as this process has met them."""
    if not isinstance(source, Pictures):
        return ""
    return "; ".join(str(skipped) for skipped in (source.listed.skipped, source.skipped) if skipped.counts)


def _opening(run: Run) -> str:
    count = sum(p.numel() for p in run.parameters)
    where = f"{run.ranks.size} ranks on {run.ranks.device.type}" if run.ranks.size > 1 else str(run.ranks.device)
    begun = f"going on after step {run.step}" if run.step else "a new run"
    if not run.step and run.recipe.start:
        begun += f" from {run.recipe.start}"
    return f"{begun} of {run.recipe.steps}; {count:,} parameters; {where}; data {run.plan.source.name}"


@contextlib.contextmanager
def _locked(out: Path, ranks: Ranks) -> Iterator[None]:
    """Hold the run folder: two processes that train in one folder would destroy it.

    Raises: TrainingError when another process holds it.
    """
    if not ranks.first:
        yield
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"{out}: cannot be made: {error.strerror}") from None
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    with (out / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise TrainingError(f"{out}: another process trains in this folder; wait for it or choose another") from None
        yield
