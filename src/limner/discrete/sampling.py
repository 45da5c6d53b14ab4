"""The next token from its logits: guidance, what is left out, the draw.

Chance comes in as numbers between 0 and 1, so that whoever samples decides where they are from.
"""

from __future__ import annotations

import torch
from torch import Tensor

from limner.errors import ConfigError


def guided(with_words: Tensor, without: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance on logits: without * (1 - scale) + with_words * scale (min-dalle's super-conditioning).

    Shapes: both [... V], kept.
    """
    return without * (1 - scale) + with_words * scale


def top_k(logits: Tensor, k: int) -> Tensor:
    """The logits with all but the k largest at -inf; those equal to the k-th stay too (min-dalle).

    Shapes: [... V], kept.
    Raises: ConfigError when k < 1.
    """
    if k < 1:
        raise ConfigError(f"top_k: at least one token must stay; got {k}")
    if k >= logits.shape[-1]:
        return logits
    kth = logits.topk(k).values[..., -1:]
    return logits.masked_fill(logits < kth, -torch.inf)


def top_p(logits: Tensor, p: float) -> Tensor:
    """The logits of the fewest most probable tokens that together reach probability p, the others at -inf (Holtzman et al.).

    Shapes: [... V], kept.
    Raises: ConfigError when p is not in (0, 1].
    """
    if not 0 < p <= 1:
        raise ConfigError(f"top_p: expected a probability above 0 and at most 1; got {p}")
    ordered, order = logits.sort(descending=True, stable=True)
    chance = ordered.double().softmax(-1)
    before = chance.cumsum(-1) - chance  # the probability of all that are likelier
    dropped = torch.zeros_like(order, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(dropped, -torch.inf)


def drawn(logits: Tensor, chance: Tensor, *, temperature: float = 1.0) -> Tensor:
    """One token each: where `chance` falls among the probabilities laid end to end; temperature 0 is the likeliest.

    Shapes: logits [B V], chance [B] -> [B] int64.
    Units:  chance in [0, 1).
    Raises: ConfigError when the temperature is below 0.
    """
    if temperature < 0:
        raise ConfigError(f"temperature: expected 0 or more; got {temperature}")
    if temperature == 0:
        return logits.argmax(-1)
    ends = (logits.double() / temperature).softmax(-1).cumsum(-1)  # float64: float32 sums of 16,384 terms stop short of 1
    target = chance.double()[:, None] * ends[:, -1:]
    # Tokens of probability 0 have no width: the first end beyond the target is never theirs.
    return torch.searchsorted(ends, target, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
