"""The classifier of noisy pictures that guides a diffusion (ADM section 4): the U-Net's encoder and middle, then a pool.

How its gradient steers a sample is in `diffusion/guidance.py`; official key names are mapped in `official/adm.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import ClassifierSettings
from limner.errors import ShapeError
from limner.networks.layers import GroupNorm, timestep_embedding, zeroed
from limner.networks.pooling import AttentionPool
from limner.networks.unet import Attention, encoder, middle, residuals


class Classifier(nn.Module):
    """(x_t, t) -> logits of the classes of the clean picture behind x_t."""

    def __init__(self, settings: ClassifierSettings) -> None:
        super().__init__()
        self.settings = settings
        s = settings.trunk
        widths = [int(m * s.width) for m in s.multipliers]
        self.time = nn.Sequential(nn.Linear(s.width, 4 * s.width), nn.SiLU(), nn.Linear(4 * s.width, 4 * s.width))
        self.stem = nn.Conv2d(s.channels, widths[0], 3, padding=1)
        self.down, seen = encoder(s, widths)
        self.middle = middle(s, widths[-1])
        self.residuals = residuals(self.down, self.middle)
        self.head = _head(settings, widths[-1], features=sum(seen) + widths[-1])

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The logits.

        Shapes: x [B C H W], t [B] (numbers of the full process, may be fractional) -> [B classes].
        Raises: ShapeError for a picture that the settings do not promise.
        """
        s = self.settings
        if x.ndim != 4 or x.shape[1] != s.channels:
            raise ShapeError(f"classifier: expected x of shape [B, {s.channels}, H, W]; got {list(x.shape)}")
        emb = F.silu(self.time(timestep_embedding(t, s.width).to(self.stem.weight.dtype)))
        modulations = iter([block.modulation(emb) for block in self.residuals])
        h = self.stem(x.to(self.stem.weight.dtype))
        seen = [h]
        for block in self.down:
            h = block(h, modulations, None)
            seen.append(h)
        for layer in self.middle:
            h = layer(h, None if isinstance(layer, Attention) else next(modulations))
        if s.pool in ("spatial", "spatial_v2"):  # what every block of the encoder saw, not only the last
            h = torch.cat([each.mean(dim=(2, 3)) for each in (*seen, h)], dim=1)  # [B features]
        logits: Tensor = self.head(h)
        return logits


def log_likelihood(net: Classifier, x: Tensor, t: Tensor, classes: Tensor) -> Tensor:
    """log p(class | x_t), whose gradient in x_t guides a sample (ADM algorithms 1 and 2).

    Shapes: x [B C H W], t [B], classes [B] int64 -> [B].
    """
    log_probs = net(x, t).log_softmax(dim=-1)  # [B classes]
    of_class: Tensor = log_probs.gather(1, classes[:, None])[:, 0]
    return of_class


def _head(s: ClassifierSettings, width: int, *, features: int) -> nn.Sequential:
    """The pool; its numbering is that of the original, whose layers without weights count too."""
    match s.pool:
        case "attention":
            side = s.side // 2 ** (len(s.multipliers) - 1)
            heads = width // s.head_width if s.head_width is not None else s.heads
            return nn.Sequential(GroupNorm(s.groups, width), nn.SiLU(), AttentionPool(width, side**2, heads, s.classes))
        case "adaptive":
            last = zeroed(nn.Linear(width, s.classes))
            return nn.Sequential(GroupNorm(s.groups, width), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
        case "spatial":
            return nn.Sequential(nn.Linear(features, s.hidden), nn.ReLU(), nn.Linear(s.hidden, s.classes))
        case "spatial_v2":
            norm = GroupNorm(s.groups, s.hidden)
            return nn.Sequential(nn.Linear(features, s.hidden), norm, nn.SiLU(), nn.Linear(s.hidden, s.classes))
