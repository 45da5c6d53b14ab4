"""Ten thousand requests that no well-behaved program sends, against a real server process with a tiny checkpoint.

    python benchmarks/fuzz_server.py                      # 10,000 of them; writes benchmarks/fuzz_server.json
    python benchmarks/fuzz_server.py --requests 500 --seed 7 --out somewhere.json

Counts as a fault: a status of 500 or more other than 503, an answer that does not come, a connection closed without an
answer to something that was HTTP, a traceback in the log, another process than at the start, or no picture afterwards. The
memory of the process is written down along the way. Ends with 1 when there was a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import fuzz_requests  # noqa: E402 (beside this file)
from fuzz_requests import Sent  # noqa: E402
from tests import tiny  # noqa: E402

from limner.evaluation import machine  # noqa: E402

PATIENCE = 180.0  # seconds for an answer; it may have to wait behind pictures that were ordered before
AT_ONCE = 12
WARM = 0.2  # share of the requests after which memory is first compared: by then every part was loaded and used


class Got(NamedTuple):
    """What came back."""

    status: int | None  # None: the connection was closed without an answer
    hung: bool = False
    left: bool = False  # the client went away first


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--requests", type=int, default=10_000)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "fuzz_server.json")
    args = asked.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = run(Path(folder), args.requests, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    summary = {key: report[key] for key in ("requests", "seconds", "statuses", "memory_mb", "faults")}
    print(json.dumps(summary, indent=1))
    sys.exit(1 if report["faults"] else 0)


def run(folder: Path, count: int, seed: int) -> dict[str, Any]:
    """Start a server, send everything, ask how it is."""
    model = tiny.save(folder / "tiny")
    log = folder / "server.log"
    command = [sys.executable, "-m", "limner", "serve", "--port", "0", "--json", "--models", str(model), "--model", "tiny"]
    environment = os.environ | {"LIMNER_MODELS": str(folder / "none"), "OMP_NUM_THREADS": "1"}
    with log.open("wb") as errors:
        server = subprocess.Popen(
            [*command, "--data", str(folder / "data")], stdout=subprocess.PIPE, stderr=errors, env=environment
        )
        try:
            url = json.loads(server.stdout.readline())["url"]  # type: ignore[union-attr]
            _ready(url)
            report = asyncio.run(_fuzz(server.pid, url, count, seed))
            report["faults"] += _afterwards(url, server)
        finally:
            server.terminate()
            server.wait(60)
    tracebacks = log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call last)")
    if tracebacks:
        report["faults"].append(f"{tracebacks} tracebacks in the log")
        print(log.read_text(encoding="utf-8", errors="replace")[-8000:], file=sys.stderr)
    told = ["python", "benchmarks/fuzz_server.py", "--requests", str(count), "--seed", str(seed)]
    about = {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": " ".join(told),
        "commit": _commit(),
        "machine": machine.here(torch.device("cpu")).model_dump(mode="json"),
        "seed": seed,
    }
    return about | report


async def _fuzz(pid: int, url: str, count: int, seed: int) -> dict[str, Any]:
    host, port = url.removeprefix("http://").split(":")
    numbers = iter(range(count))
    families: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    faults: list[str] = []
    memory: dict[int, float] = {0: _memory(pid)}
    began, done = time.monotonic(), 0

    async def work() -> None:
        nonlocal done
        for number in numbers:
            sent = fuzz_requests.make(number, seed)
            got = await _send(sent, host, int(port))
            families[sent.family][_told(got)] += 1
            fault = _fault(sent, got)
            if fault:
                faults.append(f"request {number} ({sent.family}): {fault}: {sent.data[:160]!r}")
            done += 1
            if done % max(1, count // 20) == 0:
                memory[done] = _memory(pid)
                print(f"{done} of {count}, {memory[done]:.0f} MB, {len(faults)} faults", file=sys.stderr)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    statuses: collections.Counter[str] = collections.Counter()
    for counter in families.values():
        statuses.update(counter)
    warm = {at: value for at, value in memory.items() if at >= WARM * count}
    slope = statistics.linear_regression(list(warm), list(warm.values())).slope
    return {
        "requests": done,
        "at_once": AT_ONCE,
        "seconds": round(time.monotonic() - began, 1),
        "statuses": dict(sorted(statuses.items())),
        "families": {name: dict(sorted(counter.items())) for name, counter in sorted(families.items())},
        "memory_mb": {
            **{"start": memory[0], "warm": next(iter(warm.values())), "end": _memory(pid), "largest": max(memory.values())},
            "a_thousand_requests_once_warm": round(1000 * slope, 2),
        },
        "memory_mb_after": {str(at): value for at, value in memory.items()},
        "faults": faults,
    }


async def _send(sent: Sent, host: str, port: int) -> Got:
    """One request on a connection of its own, and the status that came back."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(PATIENCE):
            step = -(-len(sent.data) // sent.parts)
            for at in range(0, len(sent.data), step):
                writer.write(sent.data[at : at + step])
                await writer.drain()
                if sent.parts > 1:
                    await asyncio.sleep(0.01)
            if sent.hang_up is not None:
                await asyncio.sleep(sent.hang_up)
                return Got(None, left=True)
            return await _read(reader)
    except (ConnectionError, BrokenPipeError):
        return await _rest(reader)
    except TimeoutError:
        return Got(None, hung=True)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Got:
    line = await reader.readline()
    while line.split()[1:2] == [b"100"]:  # go on, it says
        await reader.readuntil(b"\r\n\r\n") if line.strip() else None
        line = await reader.readline()
    while await reader.read(2**16):
        pass
    return Got(int(line.split()[1])) if line.startswith(b"HTTP/") else Got(None)


async def _rest(reader: asyncio.StreamReader) -> Got:
    """The server closed while it was still being written to; its answer may have come all the same."""
    try:
        async with asyncio.timeout(PATIENCE):
            return await _read(reader)
    except (ConnectionError, TimeoutError, IndexError, ValueError):
        return Got(None)


def _told(got: Got) -> str:
    if got.hung:
        return "no answer"
    if got.left:
        return "client left"
    return "closed" if got.status is None else str(got.status)


def _fault(sent: Sent, got: Got) -> str | None:
    if got.hung:
        return f"no answer within {PATIENCE:.0f} s"
    if got.status is None:
        return None if sent.broken or got.left or len(sent.data) > 2**20 else "closed without an answer"
    return f"status {got.status}" if got.status >= 500 and got.status != 503 else None


def _ready(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _afterwards(url: str, server: subprocess.Popen[bytes]) -> list[str]:
    """Whether the same process still draws."""
    if server.poll() is not None:
        return [f"the server ended with {server.returncode}"]
    body = json.dumps({"model": "tiny", "prompt": "a red fox", "response_format": "b64_json", "seed": 1}).encode()
    asked = urllib.request.Request(f"{url}/v1/images/generations", body, {"Content-Type": "application/json"})
    deadline = time.monotonic() + 300
    while True:  # what was accepted before is drawn first
        try:
            with urllib.request.urlopen(asked, timeout=300) as answer:
                return [] if json.load(answer)["data"][0]["b64_json"] else ["no picture afterwards"]
        except OSError as error:
            if time.monotonic() > deadline:
                return [f"no picture afterwards: {error}"]
            time.sleep(2)


def _memory(pid: int) -> float:
    """MB of memory of a process that are in use (VmRSS)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return round(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024, 1)


def _commit() -> str:
    found = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


if __name__ == "__main__":
    main()
