"""The server under load: 1,000 jobs of 50 clients with a kill -9 in the middle, and what batching brings.

    python benchmarks/serve_load.py --out benchmarks

Part one: every client has a key and orders its jobs over HTTP; when about half of the pictures are there the server is killed
and started again on the same data. Afterwards every accepted job must be done, with one whole picture whose recipe has the
seed that was ordered. Part two: two servers on fresh data, one that draws a picture at a time and one that draws batches, take
turns with rounds of the same orders; the figure is the median of the rounds' ratios. The servers run as `limner serve`, each a
process of its own; this program only asks.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime
import json
import os
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import PIL.Image
import torch

from limner import recipe
from limner.evaluation import bench_report, machine

MODEL = "glide-shapes"
COLOURS = ("red", "green", "blue", "yellow", "black", "orange", "purple")
SHAPES = ("circle", "square", "triangle", "star")
PATIENCE = 1800  # seconds until a part that does not end is given up
Times = dict[str, dict[str, Any]]  # job -> its last answer


class Load(NamedTuple):
    """How much is asked for."""

    clients: int
    jobs: int  # in all
    steps: int
    batch: int
    rounds: int
    each: int  # jobs of a round


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--out", type=Path, default=Path("benchmarks"), help="folder of the results")
    asked.add_argument("--clients", type=int, default=50)
    asked.add_argument("--jobs", type=int, default=1000)
    asked.add_argument("--steps", type=int, default=4)
    asked.add_argument("--batch", type=int, default=8)
    asked.add_argument("--rounds", type=int, default=5, help="of the comparison")
    asked.add_argument("--each", type=int, default=40, help="jobs of a round")
    asked.add_argument("--only", choices=("crash", "speed"), help="measure one part; the other stays as it was recorded")
    given = asked.parse_args()
    load = Load(given.clients, given.jobs, given.steps, given.batch, given.rounds, given.each)
    here = machine.here(torch.device("cpu"))
    path = given.out / f"serve-load_{bench_report.hardware(here)}_{datetime.date.today():%Y-%m}.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        crash = before["crash"] if given.only == "speed" else asyncio.run(survived(load, Path(folder) / "crash"))
        speed = before["speed"] if given.only == "crash" else asyncio.run(compared(load, Path(folder)))
    found = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python benchmarks/serve_load.py", *unusual(asked, given)]),
        "commit": subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip(),
        "machine": here.model_dump(mode="json"),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "load_average": [round(each, 1) for each in os.getloadavg()],
        "model": MODEL,
        "load": load._asdict(),
        "crash": crash,
        "speed": speed,
    }
    given.out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page(found), encoding="utf-8")
    print(page(found))


def unusual(asked: argparse.ArgumentParser, given: argparse.Namespace) -> list[str]:
    """The flags that were not left as they are; where the results go changes nothing."""
    chosen = {name: value for name, value in vars(given).items() if value != asked.get_default(name) and name != "out"}
    return [f"--{name} {value}" for name, value in chosen.items()]


async def survived(load: Load, data: Path) -> dict[str, Any]:
    """Part one. Raises: RuntimeError when a job is lost or a picture was drawn twice."""
    orders = {
        client: [order(client * 1000 + k, load) for k in range(load.jobs // load.clients)] for client in range(load.clients)
    }
    wanted = sum(len(each) for each in orders.values())
    began = time.monotonic()
    with served(data, batch=load.batch, bound=wanted + 1) as (process, url):
        async with clients(url, load.clients) as asking:
            jobs = await submitted(asking, orders)
            accepted = time.monotonic() - began
            await until(data, lambda done: done >= wanted // 2, wanted)
        before = finished(data)
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = time.monotonic()
    with served(data, batch=load.batch, bound=wanted + 1) as (_, url):
        ready = time.monotonic() - killed
        await until(data, lambda done: done >= wanted, wanted)
        async with clients(url, load.clients) as asking:
            answers = await looked(asking[0], jobs)
    took = time.monotonic() - began
    told = checked(data, jobs, answers, orders)
    print(f"{wanted} jobs in {took:.0f} s with a kill after {before} pictures: {told}", file=sys.stderr)
    return {
        **told,
        "accepted_in_s": round(accepted, 1),
        "pictures_before_the_kill": before,
        "ready_again_in_s": round(ready, 1),
        "took_s": round(took, 1),
        "queue_latency_s": latencies(answers, "started"),
        "finished_after_s": latencies(answers, "finished"),
        "share_of_the_first_half": fairness(answers, jobs, load.clients),
    }


def checked(data: Path, jobs: dict[str, tuple[int, int]], answers: Times, orders: dict[int, list[Any]]) -> dict[str, int]:
    """What became of every accepted job. Raises: RuntimeError when one is lost or drawn twice, or holds another picture."""
    states = Counter(answers[job]["state"] for job in jobs)
    with sqlite3.connect(data / "limner.sqlite") as tables:
        rows = tables.execute('SELECT job, "index", path FROM picture').fetchall()
        events = Counter(tables.execute("SELECT job FROM event WHERE kind = 'picture'").fetchall())
    twice = [key for key, count in Counter((job, index) for job, index, _ in rows).items() if count > 1]
    twice += [job for job, count in events.items() if count > 1]
    wrong = 0
    for job, _, path in rows:
        file = data / "pictures" / path
        with PIL.Image.open(file) as picture:
            picture.load()
        client, number = jobs[job]
        made, asked = recipe.read(file), orders[client][number]
        wrong += (made.seed, made.prompt) != (asked["seed"], asked["prompt"])
    left = len(list((data / "pictures").iterdir())) - len(rows)
    told = {"jobs": len(jobs), **states, "pictures": len(rows), "lost": len(jobs) - states["done"] - states["failed"]}
    told |= {"drawn_twice": len(twice), "of_another_order": wrong, "files_without_a_row": left}
    if told["lost"] or twice or wrong or left or len(rows) != states["done"]:
        raise RuntimeError(f"the server lost or doubled something: {told}")
    return told


async def compared(load: Load, folder: Path) -> dict[str, Any]:
    """Part two: rounds of the same orders on a server that draws one picture at a time and on one that draws batches."""
    ratios, work, seconds = [], [], {1: [], load.batch: []}
    last: dict[int, Any] = {}
    with contextlib.ExitStack() as stack:
        servers = {
            batch: stack.enter_context(served(folder / f"b{batch}", batch=batch, bound=10_000)) for batch in (1, load.batch)
        }
        for turn in range(load.rounds + 1):
            took, cores = {}, {}
            for batch, (process, url) in servers.items():
                began = cpu_seconds(process.pid)
                took[batch], last[batch] = await one_round(load, url, folder / f"b{batch}", turn)
                cores[batch] = cpu_seconds(process.pid) - began
            if turn:  # the first loads the model
                ratios.append(took[1] / took[load.batch])
                work.append(cores[1] / cores[load.batch])
                for batch, each in took.items():
                    seconds[batch].append(each)
                print(
                    f"round {turn}: {took[1]:.1f} s, {took[load.batch]:.1f} s: {ratios[-1]:.2f}x, work {work[-1]:.2f}x",
                    file=sys.stderr,
                )
    rates = {f"batch_{batch}": round(len(last[batch]) / statistics.median(each), 2) for batch, each in seconds.items()}
    return {
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(each, 2) for each in ratios],
        "processor_time_ratio": round(statistics.median(work), 2),
        "processor_time_ratios": [round(each, 2) for each in work],
        "load_average": [round(each, 1) for each in os.getloadavg()],
        "pictures_a_second": rates,
        "queue_latency_s": {f"batch_{batch}": latencies(answers, "started") for batch, answers in last.items()},
    }


async def one_round(load: Load, url: str, data: Path, turn: int) -> tuple[float, Times]:
    """Seconds until a round of orders was drawn, and the jobs' answers."""
    count = min(load.clients, load.each)
    orders = {
        client: [order(turn * 10_000 + client * 100 + k, load) for k in range(load.each // count)] for client in range(count)
    }
    wanted = finished(data) + sum(len(each) for each in orders.values())
    async with clients(url, count) as asking:
        began = time.monotonic()
        jobs = await submitted(asking, orders)
        await until(data, lambda done: done >= wanted, wanted, pause=0.02)
        took = time.monotonic() - began
        return took, await looked(asking[0], jobs)


async def submitted(asking: Sequence[httpx.AsyncClient], orders: dict[int, list[Any]]) -> dict[str, tuple[int, int]]:
    """Every client orders all of its jobs, one after the other, beside the other clients; job -> (client, which order)."""
    jobs: dict[str, tuple[int, int]] = {}

    async def send(client: int) -> None:
        for number, each in enumerate(orders[client]):
            answer = await asking[client].post("/jobs", json=each)
            if answer.status_code != 202:
                raise RuntimeError(f"an order was not accepted: {answer.status_code} {answer.text[:200]}")
            jobs[answer.json()["id"]] = (client, number)

    await asyncio.gather(*(send(client) for client in orders))
    return jobs


async def looked(asking: httpx.AsyncClient, jobs: Sequence[str] | dict[str, Any]) -> Times:
    """How every job stands."""
    found = {}
    for job in jobs:
        answer = await asking.get(f"/jobs/{job}")
        found[job] = answer.json() if answer.status_code == 200 else {"state": "lost"}
    return found


async def until(data: Path, enough: Any, wanted: int, *, pause: float = 0.2) -> None:
    """Wait until the tables of a server hold enough pictures; a look at the file disturbs it less than a request."""
    began, seen = time.monotonic(), 0.0
    while not enough(done := finished(data)):
        if time.monotonic() - began > PATIENCE:
            raise RuntimeError(f"the server stands still: {done} of {wanted} pictures after {PATIENCE} s")
        if time.monotonic() - seen > 30:
            seen = time.monotonic()
            print(f"{done} of {wanted} pictures", file=sys.stderr)
        await asyncio.sleep(pause)


def finished(data: Path) -> int:
    """Pictures in the tables of a server."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'limner.sqlite'}?mode=ro", uri=True)) as tables:
        return int(tables.execute("SELECT count(*) FROM picture").fetchone()[0])


@contextlib.contextmanager
def served(data: Path, *, batch: int, bound: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`limner serve` on this data folder: its process and its address. Ends when the block does."""
    command = [
        sys.executable,
        "-m",
        "limner",
        "serve",
        "--quiet",
        "--json",
        "--port",
        "0",
        "--data",
        str(data),
        "--model",
        MODEL,
    ]
    command += ["--batch", str(batch), "--queue", str(bound), "--device", "cpu"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout is not None else ""
        if not line:
            raise RuntimeError("the server did not start")
        url = json.loads(line)["url"]
        wait_ready(url)
        yield process, url
    finally:
        process.terminate()
        process.wait(60)
        if process.stdout is not None:
            process.stdout.close()


def cpu_seconds(process: int) -> float:
    """Processor time of a process so far: unlike the clock it does not pass while other programs are at work."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_ready(url: str) -> None:
    """Until the server takes orders."""
    with httpx.Client(base_url=url, timeout=60, verify=False) as asking:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if asking.get("/readyz").status_code == 200:
                    return
            time.sleep(0.1)
    raise RuntimeError("the server did not become ready")


@contextlib.asynccontextmanager
async def clients(url: str, count: int) -> AsyncIterator[list[httpx.AsyncClient]]:
    """HTTP clients, each with a key of its own, so that the server tells them apart."""
    async with contextlib.AsyncExitStack() as stack:
        # Nothing is encrypted here; without verify=False each client would read the certificates of all authorities.
        yield [
            await stack.enter_async_context(
                httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer client-{number}"}, timeout=120, verify=False)
            )
            for number in range(count)
        ]


def order(number: int, load: Load) -> dict[str, Any]:
    """An order like no other of this run."""
    prompt = f"a {COLOURS[number % len(COLOURS)]} {SHAPES[number % len(SHAPES)]}"
    return {"model": MODEL, "prompt": prompt, "seed": number, "steps": str(load.steps), "keep": 24 * 3600}


def latencies(answers: Times, until_when: str) -> dict[str, float]:
    """Seconds from a job's acceptance to a later moment: median, 95th percentile, longest."""
    waits = sorted(each[until_when] - each["created"] for each in answers.values())
    return {
        "p50": round(statistics.median(waits), 2),
        "p95": round(waits[int(0.95 * len(waits))], 2),
        "max": round(waits[-1], 2),
    }


def fairness(answers: Times, jobs: dict[str, tuple[int, int]], count: int) -> dict[str, int]:
    """How many of the jobs that were finished first, half of all, belong to the client that has fewest and most of them."""
    first = sorted(answers, key=lambda job: answers[job]["finished"])[: len(answers) // 2]
    each = Counter(jobs[job][0] for job in first)
    return {"fewest": min(each[client] for client in range(count)), "most": max(each.values())}


def page(found: dict[str, Any]) -> str:
    """The results as a table for people."""
    load, crash, speed, here = found["load"], found["crash"], found["speed"], found["machine"]
    single, batched = speed["pictures_a_second"]["batch_1"], speed["pictures_a_second"][f"batch_{load['batch']}"]
    rows = [
        (
            f"{crash['jobs']} jobs at once, killed in between",
            crash["queue_latency_s"]["p50"],
            crash["queue_latency_s"]["p95"],
            crash["queue_latency_s"]["max"],
        ),
        *(
            (f"a round of {load['each']}, {name.replace('_', ' of ')}", each["p50"], each["p95"], each["max"])
            for name, each in speed["queue_latency_s"].items()
        ),
    ]
    table = "\n".join(f"| {name} | {p50} | {p95} | {most} |" for name, p50, p95, most in rows)
    told = {
        name: crash.get(name, 0)
        for name in ("done", "failed", "lost", "drawn_twice", "of_another_order", "files_without_a_row")
    }
    outcome = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in told.items())
    share, ratios = crash["share_of_the_first_half"], ", ".join(str(each) for each in speed["ratios"])
    took = speed.get("processor_time_ratio")  # was not measured at first
    work = f"; {took}x in processor time of the server, which does not count what others take" if took else ""
    others = found["load_average"][0] > here["cores"] + 1  # this program and the server keep about two cores at work
    busy = ": other programs were at work, so ratios count, not\nseconds" if others else ""
    return f"""# The server under load

`{found["command"].strip()}` at {found["commit"][:12]}, {found["date"]}; {here["processor"]}, threads of the network:
{found["threads"]}, load average at the end {found["load_average"][0]}{busy}. Model {found["model"]}, {load["steps"]} steps.

**Killed in the middle.** {crash["jobs"]} jobs of {load["clients"]} clients, all queued within {crash["accepted_in_s"]} s;
`kill -9` after {crash["pictures_before_the_kill"]} pictures, ready again {crash["ready_again_in_s"]} s later. Of all jobs:
{outcome}.
Of the half that was finished first, every client had {share["fewest"]} to {share["most"]}.

**Batches.** {batched} pictures a second in batches of {load["batch"]}, {single} one by one: {speed["ratio"]}x
by the clock (median of {len(speed["ratios"])} rounds: {ratios}){work}.

| seconds from acceptance to the start of drawing | p50 | p95 | longest |
|---|---|---|---|
{table}
"""


if __name__ == "__main__":
    main()
