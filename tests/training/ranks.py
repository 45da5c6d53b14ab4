"""Trains the tiny cascade in one rank of many: torchrun -m tests.training.ranks OUT ACCUMULATE [MAX_MINUTES]."""

from __future__ import annotations

import sys
from pathlib import Path

from limner import training
from limner.errors import LimnerError
from tests.training.tiny import Stripes, preset


def main(out: Path, accumulate: int, max_minutes: float | None) -> None:
    """Train to the end, or for so long."""
    recipe = preset(dropout=0.1, batch=8, accumulate=accumulate, levels="loss_second_moment", diffusion={"levels": 2}, steps=20)
    training.train(recipe, "base", out, data=Stripes(), device="cpu", threads=1, logged=1, max_minutes=max_minutes)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else None)
    except LimnerError as error:
        sys.exit(str(error))
