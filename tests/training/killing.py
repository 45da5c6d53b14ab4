"""Trains the tiny cascade in child processes that are killed at random moments: python -m tests.training.killing OUT SEED.

Forked after the imports, so that five deaths cost milliseconds of start-up each. The last child is left to finish.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from limner import training
from tests.training.tiny import Stripes, preset

RECIPE = preset(dropout=0.1, steps=40, save_every=3, levels="loss_second_moment", diffusion={"levels": 2})
DEATHS = 5


def train(out: Path) -> None:
    """Train, or go on training, to the end."""
    torch.set_num_threads(1)
    training.train(RECIPE, "base", out, data=Stripes(), device="cpu", logged=1)


def newest(out: Path) -> int:
    """The step of the last checkpoint; 0 without one."""
    return max((int(path.name.removeprefix("step-")) for path in out.glob("step-*")), default=0)


def main(out: Path, seed: int) -> None:
    """Five children die, each some steps after it began; then one finishes."""
    rng = random.Random(seed)
    deaths = 0
    while deaths < DEATHS:
        begun, child = newest(out), os.fork()
        if child == 0:
            train(out)
            os._exit(0)
        while newest(out) < begun + 3 and os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.1))  # anywhere in the next few steps and saves
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            sys.exit(f"the child of step {begun} finished before it could be killed; give it more steps")
        deaths += 1
        sys.stdout.write(f"killed after step {newest(out)}\n")
    train(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
