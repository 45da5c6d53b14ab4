"""What was timed, written down: Markdown for people and JSON for programs, named after subject, hardware and month."""

from __future__ import annotations

import re
from pathlib import Path

from limner.config import dump
from limner.errors import LimnerError
from limner.evaluation.bench import LABELS, BenchResult, Case, Timing
from limner.evaluation.machine import Machine


def markdown(result: BenchResult) -> str:
    """The result as a page."""
    lines = ["# Speed", "", f"Measured on {result.date} by `{result.command}`, one process.", "", *_machine(result.machine), ""]
    for case in result.cases:
        lines += _case(case)
    return "\n".join(lines).rstrip() + "\n"


def write(result: BenchResult, folder: Path, subject: str) -> list[Path]:
    """Write both files, `<subject>_<hardware>_<yyyy-mm>`; an older pair of that name is replaced.

    Raises: LimnerError when the disk refuses.
    """
    stem = folder / f"{subject}_{hardware(result.machine)}_{result.date[:7]}"
    files = [stem.with_name(stem.name + ".md"), stem.with_name(stem.name + ".json")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, (markdown(result), dump(result)), strict=True):
            file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise LimnerError(f"{folder}: cannot be written ({error.strerror or error})") from None
    return files


def hardware(machine: Machine) -> str:
    """The hardware as a part of a file name: "amd-epyc-family-25-model-17-2-cores"."""
    words = machine.accelerator or f"{machine.processor} {machine.cores} cores"
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def _machine(machine: Machine) -> list[str]:
    rows = [
        ("processor", f"{machine.processor}, {machine.cores} cores, {machine.threads} threads used"),
        ("matrix units", ", ".join(machine.units) or "none known"),
        ("accelerator", machine.accelerator or "none"),
        ("memory", "not known" if machine.memory_gb is None else f"{machine.memory_gb:g} GB"),
        ("software", f"{machine.system}, Python {machine.python}, torch {machine.torch}, limner {machine.limner}"),
    ]
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]


def _case(case: Case) -> list[str]:
    lines = [f"## {case.name}", "", f"{case.what}; {case.parameters:,} parameters.", ""]
    lines += ["| | median s | fastest to slowest | times faster | once a picture s | peak MB | differs from the reference by |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [_row(timing) for timing in case.timings]
    lines += ["", "Times faster: the median over the rounds, in each of which the reference ran right before the variant."]
    lines += ["Peak: above what the process held before, so a variant's weights and its work. Where the time goes:", ""]
    lines += [f"- {LABELS[timing.variant]}: {_shares(timing)}" for timing in case.timings]
    return [*lines, ""]


def _row(timing: Timing) -> str:
    peak = "not known" if timing.peak_mb is None else f"{timing.peak_mb:,.0f}"
    away = f"{timing.error:.2%}" + ("" if timing.levels is None else f", {timing.levels:.2f} of 255 a pixel")
    cells = [
        LABELS[timing.variant],
        f"{timing.seconds:.3f}",
        f"{timing.fastest:.3f} to {timing.slowest:.3f} ({timing.rounds} rounds)",
        f"{timing.ratio:.2f}",
        f"{timing.once:.3f}",
        peak,
        "-" if timing.variant == "reference" else away,
    ]
    return f"| {' | '.join(cells)} |"


def _shares(timing: Timing) -> str:
    return ", ".join(f"{kind} {share:.0%}" for kind, share in timing.parts.items() if share >= 0.01)
