"""`limner bench`: how fast it draws, against the same weights sampled the reference way."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from limner.cli.flags import Device, option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner.evaluation.bench import BenchResult


class Part(StrEnum):
    """A network at its released size."""

    base = "base"
    upsampler = "upsampler"


class Way(StrEnum):
    """How our loop computes."""

    float32 = "float32"
    bfloat16 = "bfloat16"
    int8 = "int8"


@verb
def bench(
    terminal: Terminal,
    *,
    model: Annotated[list[str] | None, option("--model", "-m", help="Time whole pictures of this model; repeatable.")] = None,
    official: Annotated[
        list[Part] | None, option("--official", help="Time one step at the released size, made-up weights; repeatable.")
    ] = None,
    ways: Annotated[
        list[Way] | None, option("--way", help="How to compute; repeatable; the default is all that run here.")
    ] = None,
    prompt: Annotated[
        str | None, option("--prompt", help="What the model draws; words it knows tell most of how far the ways differ.")
    ] = None,
    rounds: Annotated[int, option("--rounds", help="Of which the median is told.", min=1)] = 5,
    n: Annotated[int, option("-n", help="Pictures at a time.", min=1)] = 1,
    device: Device = "auto",
    out: Annotated[Path | None, option("--out", "-o", help="Also write Markdown and JSON into this folder.")] = None,
) -> None:
    """Time drawing in one process: the reference way, then ours; medians, peak memory, and where the time goes.

    limner bench --official base --official upsampler --model glide-emoji
    """
    from limner.errors import ConfigError
    from limner.evaluation import bench_report

    if not model and not official:
        raise ConfigError("nothing to time; name a --model, or --official base, or both")
    result = _timed(terminal, model or [], official or [], list(ways or Way), device, prompt=prompt, rounds=rounds, n=n)
    files = [] if out is None else bench_report.write(result, out, "drawing")
    terminal.result(bench_report.markdown(result).rstrip(), **result.model_dump(mode="json"))
    for file in files:
        terminal.say(f"written: {file}")


def _timed(
    terminal: Terminal,
    models: list[str],
    parts: list[Part],
    ways: list[Way],
    device: str,
    *,
    prompt: str | None,
    rounds: int,
    n: int,
) -> BenchResult:
    import datetime

    import limner
    from limner.evaluation import bench as timing
    from limner.evaluation import machine
    from limner.systems import base

    place = base.pick_device(device)
    variants: list[timing.Variant] = [way.value for way in ways]
    cases = [timing.official(part.value, variants, place, rounds=rounds, progress=terminal.say) for part in parts]
    for name in models:
        system = limner.load(name, device=device, dtype="float32").system
        words = timing.PROMPT if prompt is None else prompt
        cases.append(timing.pictures(system, variants, prompt=words, rounds=rounds, n=n, progress=terminal.say))
    command = " ".join(["limner", *sys.argv[1:]])
    return timing.BenchResult(
        machine=machine.here(place), date=datetime.date.today().isoformat(), command=command, cases=tuple(cases)
    )
