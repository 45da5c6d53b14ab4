"""One process or many: the ranks that torchrun starts, and the few things they say to each other.

Every decision that leads to a collective (stop, save, sample) is taken from the step count or from what `total` returned
to all ranks alike, never from a rank's own clock. Saving and sampling contain no collective: rank 0 writes, the others
wait for it in the next step.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from limner.errors import ConfigError


@dataclass
class Ranks:
    """This process among the others; `join` makes it, `leave` ends it."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    flat: Tensor | None = None  # all gradients end to end, kept between steps

    @property
    def first(self) -> bool:
        """Whether this rank writes files and draws bars."""
        return self.rank == 0


def join(device: str) -> Ranks:
    """Meet the other ranks if torchrun started this process, or be alone.

    Raises: ConfigError when there are more ranks on this machine than devices.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))  # torchrun sets these
    rank, local = (int(os.environ.get(name, "0")) for name in ("RANK", "LOCAL_RANK"))
    chosen = pick_device(device, local)
    if size == 1:
        return Ranks(device=chosen)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)  # before the group exists: NCCL binds to the current device
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=size)
    return Ranks(rank, size, chosen)


def pick_device(device: str, local: int = 0) -> torch.device:
    """The device of a name; "auto" takes CUDA, then MPS, then the CPU.

    Raises: ConfigError for a name torch does not know or a device that is not there.
    """
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        if not cuda:
            return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
        device = "cuda"
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise ConfigError(f"device {device!r}: no such device; write auto, cpu, cuda, cuda:1 or mps") from None
    if chosen.type == "cuda":
        index = local if chosen.index is None else chosen.index
        if index >= cuda:
            raise ConfigError(f"device {device!r}: rank {local} wants CUDA device {index}, there are {cuda}; start fewer ranks")
        return torch.device("cuda", index)
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device 'mps': this machine has none; use cpu")
    return chosen


def leave(ranks: Ranks) -> None:
    """Part from the other ranks."""
    if ranks.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def wait(ranks: Ranks) -> None:
    """Return when every rank has come here."""
    if ranks.size > 1:
        dist.barrier()


def total(ranks: Ranks, figures: Sequence[float]) -> list[float]:
    """The figures summed over all ranks: the same list on every rank."""
    if ranks.size == 1:
        return list(figures)
    vector = torch.tensor(figures, dtype=torch.float64, device=ranks.device)
    dist.all_reduce(vector)
    return [float(v) for v in vector.tolist()]


def gather(ranks: Ranks, values: Tensor) -> Tensor:
    """Every rank's values end to end, in the order of the ranks. Shapes: [B] -> [size*B]."""
    if ranks.size == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(ranks.size)]
    dist.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def average(ranks: Ranks, tensors: Sequence[Tensor]) -> None:
    """Replace every tensor by its mean over the ranks, in one message."""
    if ranks.size == 1:
        return
    if ranks.flat is None:
        ranks.flat = torch.empty(sum(t.numel() for t in tensors), dtype=torch.float32, device=ranks.device)
    pieces = torch.split_with_sizes(ranks.flat, [t.numel() for t in tensors])
    slots = [piece.view(t.shape) for piece, t in zip(pieces, tensors)]
    torch._foreach_copy_(slots, list(tensors))
    dist.all_reduce(ranks.flat)
    torch._foreach_div_(slots, ranks.size)
    torch._foreach_copy_(list(tensors), slots)
