"""Official weights of a case in a limner network, through a key map that is proven both ways (no runner of its own)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from limner.official import layout
from limner.official.layout import KeyMap
from tests.golden.case import Case

M = TypeVar("M", bound=nn.Module)


def loaded(net: M, keys: KeyMap, weights: Mapping[str, Tensor], case: Case) -> M:
    """The network with the official weights, in evaluation mode and in the case's type."""
    state = layout.to_limner(weights, keys, where=case.component)
    back = layout.to_official(state, keys, where=case.component)
    assert set(back) == set(weights)
    assert all(torch.equal(back[name], value) for name, value in weights.items())
    net.to(case.dtype).eval().requires_grad_(False)
    net.load_state_dict(state)
    return net
