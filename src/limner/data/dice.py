"""Random draws that are a pure function of integers, the same on every machine, Python and library version."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Dice = Callable[[int], int]  # roll(n) -> 0..n-1
_MASK64 = (1 << 64) - 1
_STRIDE = 0x9E3779B97F4A7C15


def dice(*numbers: int) -> Dice:
    """Draws from 0..n-1, a pure function of the numbers (splitmix64): the same on every machine and version."""
    state = 0
    for number in numbers:
        state = _mix(state ^ (number & _MASK64)) + _STRIDE

    def roll(sides: int) -> int:
        nonlocal state
        state = (state + _STRIDE) & _MASK64
        return (_mix(state) * sides) >> 64

    return roll


def _mix(z: int) -> int:
    z &= _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return z ^ (z >> 31)


@lru_cache(maxsize=4)
def permutation(length: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of an epoch, a pure function of its arguments on every machine (sorted Philox words)."""
    words = np.random.Philox(key=(seed % 2**64, epoch)).random_raw(length)
    return np.argsort(words, kind="stable")
