"""A transformer over the patches of a picture: the trunk of CLIP's, GLIDE's noised CLIP's and CoCa's picture towers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from limner.config import VitSettings
from limner.errors import InputError, ShapeError
from limner.networks.layers import Activation, LayerNorm
from limner.networks.transformer import TransformerBlock


class PatchTransformer(nn.Module):
    """A picture -> one feature for the whole, which stands first, and one for each patch in raster order.

    With `steps` the first token is not one learned vector but one for every step of a noising process.
    """

    def __init__(
        self, settings: VitSettings, *, activation: Activation, steps: int | None = None, key_bias: bool = True
    ) -> None:
        super().__init__()
        self.settings = s = settings
        self.steps = steps
        self.patches = nn.Conv2d(3, s.width, s.patch, stride=s.patch, bias=False)
        self.first = nn.Parameter(torch.randn(*([] if steps is None else [steps]), s.width) * s.width**-0.5)
        self.positions = nn.Parameter(torch.randn(1 + (s.side // s.patch) ** 2, s.width) * s.width**-0.5)
        self.norm = LayerNorm(s.width) if s.first_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            TransformerBlock(s.width, s.heads, activation=activation, mlp=s.mlp, key_bias=key_bias) for _ in range(s.depth)
        )

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Shapes: x [B 3 side side], t [B] int64 where there are steps -> [B 1+N D].

        Raises: ShapeError for another size; InputError when t is missing or has no meaning.
        """
        side = self.settings.side
        if x.shape[1:] != (3, side, side):
            raise ShapeError(f"picture tower: expected pictures of shape [B, 3, {side}, {side}]; got {list(x.shape)}")
        h: Tensor = self.patches(x.to(self.patches.weight.dtype)).flatten(2).transpose(1, 2)  # [B N D]
        h = torch.cat([self._first(len(x), t).to(h.dtype), h], dim=1)  # [B 1+N D]
        h = self.norm(h + self.positions.to(h.dtype))
        for block in self.blocks:
            h = block(h)
        return h

    def _first(self, batch: int, t: Tensor | None) -> Tensor:
        """The token that stands first. Shapes: -> [B 1 D]."""
        if self.steps is None:
            if t is not None:
                raise InputError("picture tower: it knows no steps, but was given t")
            return self.first.expand(batch, 1, -1)
        if t is None:
            raise InputError("picture tower: the step t is missing; it was trained on noisy pictures")
        return self.first[t][:, None]
