"""What an edit costs beside a drawing at the same steps: `python benchmarks/edit_time.py --out benchmarks`.

A model that inpaints draws a whole picture, then repaints a part of it, turn by turn, so that whatever else the machine does
falls on both. Time is that of the processor and that of the clock; the ratio is that of the medians of processor time, which
other programs hardly change. A generator that repaints by replacement is timed beside it. With --fresh a model that is not
there yet is begun from its generator as a fine-tune is; its weights do not matter to its speed.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from limner import load_preset, weights
from limner.evaluation import bench_report, machine
from limner.networks.unet import UNet
from limner.recipe import Image
from limner.systems import edits
from limner.systems.drawing import Pipe, load_pipe
from limner.training import starting

MOST = 1.15  # an edit, in drawings at the same steps
PAIRS = {"glide-shapes-inpaint": "glide-shapes", "glide-emoji-inpaint": "glide-emoji"}
PROMPT = "a large red circle"


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("models", nargs="*", help="models that inpaint; those of the presets when none is named")
    asked.add_argument("--fresh", action="store_true", help="begin the presets' models from their generators")
    asked.add_argument("--rounds", type=int, default=15, help="times each is drawn")
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--out", type=Path, help="folder for the figures as JSON")
    given = asked.parse_args()
    torch.set_num_threads(given.threads)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in given.models or PAIRS:
            path = fresh(name, Path(folder)) if given.fresh else name
            found.append(measured(path, PAIRS.get(Path(name).name), given.rounds))
            print(json.dumps(found[-1], indent=2))
    here = machine.here(torch.device("cpu"))
    figures = {"machine": here.model_dump(), "threads": given.threads, "at most": MOST, "models": found}
    figures |= {
        "command": f"edit_time.py --rounds {given.rounds} --threads {given.threads}",
        "weights": "at step 0" if given.fresh else "trained",
    }
    if given.out is not None:
        file = given.out / f"edit-time_{bench_report.hardware(here)}_{datetime.date.today():%Y-%m}.json"
        file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def measured(model: str | Path, generator: str | None, rounds: int) -> dict[str, Any]:
    """Medians of a drawing and an edit by the model, and of an edit by the generator, in turns."""
    pipe = load_pipe(model, device="cpu")
    side = pipe.side
    picture = pipe(PROMPT, seed=0)[0].picture
    mask = f"{side // 4},{side // 4},{side // 2},{side // 2}"

    def edit(by: Pipe) -> Callable[[int], None]:
        return lambda seed: exhausted(edits.edit(by, picture, PROMPT, mask, seed=seed))

    jobs = {"drawing": lambda seed: exhausted(pipe.stream(PROMPT, seed=seed)), "edit": edit(pipe)}
    if generator is not None:
        jobs["edit by replacement"] = edit(load_pipe(generator, device="cpu"))
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in jobs}
    peaks: dict[str, float | None] = {}
    for seed in range(rounds + 1):
        for name, job in jobs.items():
            machine.reset_peak(torch.device("cpu"))
            wall, busy = time.perf_counter(), time.process_time()
            job(seed)
            taken = time.process_time() - busy, time.perf_counter() - wall
            if seed:  # the first of each is to be warm
                times[name].append(taken)
                peaks[name] = machine.peak_mb(torch.device("cpu"))
    medians = {name: [statistics.median(column) for column in zip(*each)] for name, each in times.items()}
    return {
        "model": pipe.name,
        "side": side,
        "steps": {stage.settings.name: stage.settings.sampling.steps for stage in pipe.system.stages},
        "processor seconds": {name: round(busy, 4) for name, (busy, _) in medians.items()},
        "clock seconds": {name: round(wall, 4) for name, (_, wall) in medians.items()},
        "peak memory MB": {name: None if peak is None else round(peak) for name, peak in peaks.items()},
        "edit in drawings": {name: round(busy / medians["drawing"][0], 3) for name, (busy, _) in medians.items()},
        "clock ratio": round(medians["edit"][1] / medians["drawing"][1], 3),
        "rounds": rounds,
    }


def exhausted(stream: Iterator[Any]) -> None:
    """Draw all of it."""
    for item in stream:
        if isinstance(item, Image):
            item.picture.load()


def fresh(preset: str, folder: Path) -> Path:
    """A preset's model as it begins: the generator's weights, its new inputs zero."""
    model = load_preset(preset).model
    states, files = {}, {}
    for stage in model.stages:
        network, start = UNet(stage.network), starting.find(PAIRS[preset], stage)
        starting.fill(network, start)
        states[stage.name] = network.state_dict()
        if start.vocabulary is not None:
            files[start.vocabulary.name] = start.vocabulary.read_bytes()
    return weights.save_folder(folder / preset, model, states, f"# {preset}\n", files)


if __name__ == "__main__":
    main()
