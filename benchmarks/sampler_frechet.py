"""The default sampler against the reference one by Frechet distance: `python benchmarks/sampler_frechet.py --out benchmarks`.

The same captions, seeds and first noise, drawn by the model's own sampler and by ancestral sampling (DDPM) of many steps; only
the first stage's sampler differs. Both are compared with the same real pictures, in one process. With few pictures the ratio
of two such distances wanders by some per cent by itself: read it beside the halves, the same ratio for every other picture.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import limner
from limner.data.source import Source, open_source
from limner.evaluation import bench_report, drawing, features, frechet, machine
from limner.evaluation.drawing import Wishes
from limner.systems import base
from limner.systems.glide import Glide

DATA = "emoji:data/emoji?styles=flat,noto&groups=animals-nature,food-drink"
MOST = 1.02  # the default sampler's distance, in those of the reference sampler


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--model", default="glide-emoji")
    asked.add_argument("--data", default=DATA, help="as `limner eval frechet` takes it")
    asked.add_argument("-n", type=int, default=300, help="pictures of each sampler")
    asked.add_argument("--steps", default="250", help="of the reference sampler, ddpm")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, default=Path("benchmarks"), help="folder for the JSON file")
    given = asked.parse_args()
    system = limner.load(given.model).system
    if not isinstance(system, Glide):
        sys.exit(f"{given.model}: draws no words; name a model such as glide-emoji")
    ways = {"default": Wishes(seed=given.seed), "reference": Wishes(seed=given.seed, sampler="ddpm", steps=given.steps)}
    found = compared(system, open_source(given.data), ways, given.n)
    here = machine.here(base.pick_device("cpu"))
    report = {"date": datetime.date.today().isoformat(), "machine": here.model_dump(), "data": given.data, **found}
    file = given.out / f"sampler-frechet_{bench_report.hardware(here)}_{report['date'][:7]}.json"
    file.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"default {found['ratio']:.3f} of the reference's distance (at most {MOST}); {file}")


def compared(system: Glide, source: Source, ways: dict[str, Wishes], n: int) -> dict[str, Any]:
    """Distances of n drawings each way to the source's held-out pictures, and the default's in those of the reference."""
    net = features.efficientnet()
    first = drawing.described(system, ways["default"])
    real = source.held_out(first.side)
    captions = [real[k % len(real)].caption for k in range(n)]
    known = features.of(net, (view.image for view in real))
    seen, out = {}, {"n": n, "n_real": len(real), "features": net.described.model_dump()}
    for name, wishes in ways.items():
        began = time.process_time()
        pictures = (one.picture for one in drawing.draw(system, captions, wishes))
        seen[name] = features.of(net, pictures, lambda done, name=name: print(f"{name}: {done} of {n}", file=sys.stderr))
        out[name] = {
            "distance": frechet.distance(seen[name], known),
            "processor seconds": round(time.process_time() - began, 1),
            "drawing": drawing.described(system, wishes).model_dump(),
        }
    out["ratio"] = ratio([seen["default"], seen["reference"]], known)
    out["ratio of halves"] = [ratio([each[k::2] for each in seen.values()], known) for k in (0, 1)]
    return out


def ratio(pair: Sequence[np.ndarray], known: np.ndarray) -> float:
    """The first's distance to the real pictures in the second's."""
    default, reference = (frechet.distance(each, known) for each in pair)
    return default / reference


if __name__ == "__main__":
    main()
