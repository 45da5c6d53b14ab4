"""How soon `limner serve` answers, and what it holds while nobody asks.

    python benchmarks/serve_start.py --out benchmarks

Starts the server several times on an empty data folder, asks /healthz until it answers, and reads the process's memory: idle,
and after one picture of the smallest model in the box. Seconds are told by the clock and, because other work may be on the
machine, of the process's own processor time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import torch

from limner.evaluation import bench_report, machine

MODEL = "glide-shapes"
PATIENCE = 120  # seconds until a server that does not answer is given up


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--out", type=Path, default=Path("benchmarks"), help="folder of the result")
    asked.add_argument("--starts", type=int, default=5)
    args = asked.parse_args()
    runs = [once() for _ in range(args.starts)]
    middle = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}
    here = machine.here(torch.device("cpu"))
    date = datetime.date.today().isoformat()
    report: dict[str, Any] = {
        "command": f"python benchmarks/serve_start.py --starts {args.starts}",
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip(),
        "date": date,
        "machine": here.model_dump(mode="json"),
        "niceness": os.nice(0),  # below 0 it goes before the other work on the machine
        "load_average": [round(value, 1) for value in os.getloadavg()],
        "model": MODEL,
        "median": middle,
        "runs": runs,
    }
    print(json.dumps(middle, indent=1))
    name = f"serve-start_{bench_report.hardware(here)}_{date[:7]}.json"
    (args.out / name).write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def once() -> dict[str, float]:
    """One start: seconds until it answers, and megabytes before and after the first picture."""
    with tempfile.TemporaryDirectory() as data:
        command = [sys.executable, "-m", "limner", "serve", "--port", "0", "--json", "--quiet", "--data", data]
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                url = json.loads(process.stdout.readline())["url"]
                answered(f"{url}/healthz")
                seconds = time.monotonic() - began
                spent = processor_seconds(process.pid)
                idle = resident_mb(process.pid)
                drawn = time.monotonic()
                draw(url)
                first = time.monotonic() - drawn
                loaded = resident_mb(process.pid)
            finally:
                process.terminate()
    return {
        "ready_s": round(seconds, 2),
        "ready_cpu_s": round(spent, 2),
        "idle_mb": round(idle, 1),
        "first_picture_s": round(first, 2),
        "after_picture_mb": round(loaded, 1),
    }


def processor_seconds(process: int) -> float:
    """What a process has computed so far, in itself and for itself (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(process: int) -> float:
    """Memory that a process occupies (Linux)."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def answered(url: str) -> None:
    """Ask until there is an answer."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                answer.read()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.02)
    raise TimeoutError(f"{url} did not answer within {PATIENCE} s")


def draw(url: str) -> None:
    """Have one picture drawn, which loads torch and the model."""
    body = json.dumps({"model": MODEL, "prompt": "a red circle", "seed": 0}).encode()
    request = urllib.request.Request(f"{url}/v1/images/generations", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        answer.read()


if __name__ == "__main__":
    main()
