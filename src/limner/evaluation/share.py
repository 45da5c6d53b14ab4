"""A share of successes with its uncertainty."""

from __future__ import annotations

import math

from limner.config import Frozen
from limner.errors import InputError


class Share(Frozen):
    """Successes of so many tries, with the 95 % interval of Wilson (1927, eq. 8)."""

    share: float
    low: float
    high: float
    hits: int
    of: int

    def __str__(self) -> str:
        return f"{self.share:.1%} ({self.low:.1%} to {self.high:.1%}; {self.hits} of {self.of})"


def share(hits: int, of: int, z: float = 1.959964) -> Share:
    """The share of hits and its interval.

    Raises: InputError when there were no tries, or more hits than tries.
    """
    if not 0 <= hits <= of or of == 0:
        raise InputError(f"a share needs 0 <= hits <= tries and at least one try; got {hits} of {of}")
    p = hits / of
    middle = (p + z**2 / (2 * of)) / (1 + z**2 / of)
    reach = z / (1 + z**2 / of) * math.sqrt(p * (1 - p) / of + z**2 / (4 * of**2))
    return Share(share=p, low=max(0.0, middle - reach), high=min(1.0, middle + reach), hits=hits, of=of)
