"""How the figures of the dVAE's training change with its updates: cosine annealing, then constant (DALL-E 1 appendix A.2)."""

from __future__ import annotations

import math
from typing import NamedTuple


class Annealing(NamedTuple):
    """From one value to another along half a cosine, and then held."""

    start: float
    end: float
    updates: int  # how many it takes to reach the end

    def at(self, step: int) -> float:
        """The value at an update, counted from 0."""
        done = min(max(step / self.updates, 0.0), 1.0)
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * done)) / 2


TEMPERATURE = Annealing(1.0, 1 / 16, 150_000)  # tau of the Gumbel-softmax relaxation; linear annealing diverged
KL_WEIGHT = Annealing(0.0, 6.6, 5_000)  # beta, of a KL that is summed over the codes while the loss is divided by the pixels
STEP_SIZE = Annealing(1e-4, 1.25e-6, 1_200_000)  # of AdamW
