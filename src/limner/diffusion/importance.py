"""Which levels to train on: all alike, or those whose loss is large more often (IDDPM section 3.3).

A sampler is a plain object with its state in arrays, so that a checkpoint can hold it. Over several ranks, gather
levels and losses first and update every rank's copy alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from limner.errors import TrainingError


class LevelSampler(Protocol):
    """Draws levels and the factors that keep the mean of the loss unbiased."""

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """t [batch] int64, factor [batch] float32."""

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Learn from the losses [B] seen at levels t [B]."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything `restore` needs, as arrays."""

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from an earlier state."""


class Uniform:
    """Every level alike."""

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(rng.integers(0, self.levels, size=batch, dtype=np.int64)), torch.ones(batch)

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Nothing to learn."""

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Nothing to restore."""


class LossSecondMoment:
    """In proportion to sqrt(E[loss^2]) over each level's last losses, once every level has enough (IDDPM eq. 18).

    A share `uniform` of the draws stays uniform.
    """

    def __init__(self, levels: int, *, history: int = 10, uniform: float = 0.001) -> None:
        self.uniform = uniform
        self.losses = np.zeros((levels, history), dtype=np.float64)  # oldest first
        self.counts = np.zeros(levels, dtype=np.int64)  # how many of them are set

    @property
    def warm(self) -> bool:
        """Whether every level has a full history."""
        return bool((self.counts == self.losses.shape[1]).all())

    def weights(self) -> NDArray[np.float64]:
        """Unnormalised for a start that is uniform, then probabilities.

        Shapes: [levels].
        """
        levels = len(self.counts)
        if not self.warm:
            return np.ones(levels, dtype=np.float64)
        moment = np.sqrt((self.losses**2).mean(axis=1))
        total = moment.sum()
        share = moment / total if total > 0 else np.full(levels, 1 / levels)
        return np.asarray((1 - self.uniform) * share + self.uniform / levels, dtype=np.float64)

    def draw(self, batch: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """t [batch] int64 and factor 1 / (levels * probability) [batch] float32."""
        weights = self.weights()
        probability = weights / weights.sum()
        t = rng.choice(len(probability), size=batch, p=probability)
        factor = 1 / (len(probability) * probability[t])
        return torch.from_numpy(t.astype(np.int64)), torch.from_numpy(factor).float()

    def update(self, t: Tensor, losses: Tensor) -> None:
        """Append each loss to the history of its level, in the order given.

        Raises: TrainingError when a loss is not finite; it would spoil every later draw.
        """
        for level, loss in zip(t.tolist(), losses.detach().double().tolist()):
            if not np.isfinite(loss):
                raise TrainingError(f"loss at level {level} is {loss}; lower the learning rate or look at the data")
            count = int(self.counts[level])
            if count == self.losses.shape[1]:
                self.losses[level, :-1] = self.losses[level, 1:]
                self.losses[level, -1] = loss
            else:
                self.losses[level, count] = loss
                self.counts[level] += 1

    def state(self) -> dict[str, NDArray[np.generic]]:
        return {"losses": self.losses.copy(), "counts": self.counts.copy()}

    def restore(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Go on from an earlier state.

        Raises: TrainingError when the state is of another number of levels or history.
        """
        losses, counts = np.asarray(state["losses"], np.float64), np.asarray(state["counts"], np.int64)
        if losses.shape != self.losses.shape or counts.shape != self.counts.shape:
            raise TrainingError(
                f"level sampler: saved for {losses.shape} losses, this run has {self.losses.shape}; "
                "resume with the settings it was started with"
            )
        self.losses, self.counts = losses.copy(), counts.copy()


def of(kind: Literal["uniform", "loss_second_moment"], levels: int) -> LevelSampler:
    """The sampler a training recipe names."""
    return LossSecondMoment(levels) if kind == "loss_second_moment" else Uniform(levels)
