"""`limner doctor`: what limner finds on this machine, in one screen to read or to attach to a question."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from limner import __version__
from limner.cli.flags import Device, Dtype, Precision, option, verb
from limner.cli.terminal import FAILED, Terminal

PACKAGES = ("torch", "numpy", "pillow", "safetensors", "tokenizers", "pydantic", "typer", "rich")
OPTIONAL = ("resvg_py", "webdataset", "pyarrow", "scipy", "efficientnet-lite-pytorch")
LEAST_MEMORY_GB = 2.0  # free, to draw with the models in the box

Facts = dict[str, Any]


@verb
def doctor(
    terminal: Terminal,
    *,
    model: Annotated[
        str | None, option("--model", "-m", help="Say whether this model runs here: memory, type, time of a picture.")
    ] = None,
    device: Device = "auto",
    dtype: Precision = Dtype.auto,
) -> int:
    """Say what limner finds here: versions, devices, memory, models, folders. Ends with 1 when something is in the way.

    limner doctor --model glide-emoji
    """
    if model is not None:
        from limner.cli import doctor_model

        return doctor_model.check(terminal, model, device, dtype.value)
    facts = examined()
    wrong = list(problems(facts))
    if terminal.json:
        terminal.result("", **facts, problems=wrong)
    else:
        for name, value in facts.items():
            terminal.result(f"{name + ':':<12} {told(value)}")
    for problem in wrong:
        terminal.warn(problem)
    return FAILED if wrong else 0


def examined() -> Facts:
    """Everything there is to say, as plain data."""
    return {
        "limner": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": {name: version(name) for name in PACKAGES},
        "optional": {name: version(name) for name in OPTIONAL},
        "processor": processor(),
        "memory": {"total_gb": memory("MemTotal"), "free_gb": memory("MemAvailable")},
        "devices": devices(),
        "models": {entry["name"]: entry["problem"] or "ok" for entry in models()},
        "folders": folders(),
    }


def problems(facts: Facts) -> Iterator[str]:
    """What would keep limner from working."""
    for name, found in facts["packages"].items():
        if found is None:
            yield f"{name} is not installed; install limner again"
    for name, state in facts["models"].items():
        if state != "ok":
            yield f"model {name}: {state}"
    free = facts["memory"]["free_gb"]
    if free is not None and free < LEAST_MEMORY_GB:
        yield f"only {free} GB of memory are free; drawing wants {LEAST_MEMORY_GB:g}"
    for device in facts["devices"]:
        if device.get("problem"):
            yield f"device {device['name']}: {device['problem']}"


def version(package: str) -> str | None:
    """The installed version of a package; None when it is not there."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> Facts:
    """Cores this process may use, and what they are called."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(), "cores": cores}


def memory(key: str) -> float | None:
    """A figure of /proc/meminfo in GB; None where there is no such file."""
    found = _field("/proc/meminfo", key)
    return None if found is None else round(int(found.split()[0]) / 2**20, 1)


def devices() -> list[Facts]:
    """Where limner can draw; empty when torch cannot be imported."""
    try:
        import torch
    except ImportError:
        return []
    from limner.systems import base

    found = [torch.device("cpu")]
    if torch.accelerator.is_available():
        kind = torch.accelerator.current_accelerator()
        found += [torch.device(kind.type, k) for k in range(torch.accelerator.device_count())] if kind else []
    return [_device(device, base.multiplies_bfloat16(device)) for device in found]


def models() -> list[Facts]:
    """The models known by name."""
    from limner import catalog

    return [{"name": entry.name, "problem": entry.problem} for entry in catalog.models()]


def folders() -> Facts:
    """Where limner looks for models and settings and keeps downloads."""
    import platformdirs

    from limner import catalog
    from limner.cli import settings_files

    return {
        "models": str(catalog.models_root()),
        "settings": str(settings_files.user_file()),
        "downloads": platformdirs.user_cache_dir("limner"),
    }


def told(value: Any) -> str:
    """A fact for people."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {told(each)}" for key, each in value.items()) or "none"
    if isinstance(value, list):
        return "; ".join(told(each) for each in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not there" if value is None else str(value)


def _device(device: Any, fast: bool) -> Facts:
    import torch

    facts: Facts = {"name": str(device), "fast_bfloat16": fast}
    try:
        torch.zeros(1, device=device).add_(1).item()
        if device.type == "cuda":
            facts |= {
                "card": torch.cuda.get_device_name(device),
                "memory_gb": round(torch.cuda.mem_get_info(device)[1] / 2**30, 1),
            }
    except RuntimeError as error:
        facts["problem"] = str(error).splitlines()[0]
    if device.type == "cpu":
        facts["threads"] = torch.get_num_threads()
    return facts


def _field(file: str, key: str) -> str | None:
    """The first value of a key in a file of "key: value" lines."""
    try:
        rows = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((row.partition(":")[2].strip() for row in rows if row.partition(":")[0].strip() == key), None)
