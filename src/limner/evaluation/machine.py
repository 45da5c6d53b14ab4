"""What a time was taken on, and how much memory it took."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
from importlib import metadata
from pathlib import Path

import torch

from limner.config import Frozen

_UNITS = {
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_f": "AVX-512",
    "avx2": "AVX2",
    "sve_bf16": "SVE bf16",
    "bf16": "NEON bf16",
}


class Machine(Frozen):
    """Hardware and versions, as they stand beside every figure."""

    processor: str
    cores: int  # that this process may use
    threads: int  # that torch uses
    units: tuple[str, ...]  # what multiplies matrices
    memory_gb: float | None
    accelerator: str | None
    system: str
    python: str
    torch: str
    limner: str


def here(device: torch.device) -> Machine:
    """This machine."""
    return Machine(
        processor=processor(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        units=units(),
        memory_gb=_memory_gb(),
        accelerator=None if device.type == "cpu" else _accelerator(device),
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        limner=metadata.version("limner"),
    )


def processor() -> str:
    """The processor's name and, where the system tells, its family and model: virtual machines hide the name."""
    facts = _table(Path("/proc/cpuinfo"))
    name = facts.get("model name") or platform.processor() or platform.machine()
    family = facts.get("cpu family")
    return f"{name} (family {family}, model {facts.get('model', '?')})" if family else name


def units() -> tuple[str, ...]:
    """The processor's units that matter here, the widest first."""
    able = torch.cpu.get_capabilities()
    return tuple(name for key, name in _UNITS.items() if able.get(key))


def reset_peak(device: torch.device) -> None:
    """Begin to measure the peak anew, as far as the system lets us."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_mb(device: torch.device) -> float | None:
    """The most memory since `reset_peak`: of the accelerator, else of the process. None: this system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    found = _table(Path("/proc/self/status")).get("VmHWM", "").split()
    return int(found[0]) / 1024 if found else None


def held_mb(device: torch.device) -> float:
    """What is held now, after giving back what is not used: the base that a peak rises from. 0 where it is not told."""
    gc.collect()
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / 2**20
    with contextlib.suppress(OSError, AttributeError, TypeError):  # only the C library of Linux keeps memory back like this
        ctypes.CDLL(None).malloc_trim(0)
    found = _table(Path("/proc/self/status")).get("VmRSS", "").split()
    return int(found[0]) / 1024 if found else 0.0


def free_mb() -> float | None:
    """Memory of the machine that is free or can be freed; None where it is not told."""
    found = _table(Path("/proc/meminfo")).get("MemAvailable", "").split()
    return int(found[0]) / 1024 if found else None


def _memory_gb() -> float | None:
    found = _table(Path("/proc/meminfo")).get("MemTotal", "").split()
    return round(int(found[0]) / 2**20, 1) if found else None


def _accelerator(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _table(path: Path) -> dict[str, str]:
    """The first value of every "name : value" line of a file; {} where there is none."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.strip())
    return found
