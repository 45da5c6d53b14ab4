"""The KL autoencoder of latent diffusion: pictures <-> a Gaussian over latents (LDM section 3.1, appendix G).

Encoder and decoder are pyramids of residual blocks with one attention head in the middle; the decoder also serves VQGAN
(`vqgan.py`). Levels are kept in the order in which a picture meets them; the official layouts differ in that.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import LatentVAESettings
from limner.config.autoencoders import PyramidSettings
from limner.errors import InputError, ShapeError
from limner.networks.layers import GroupNorm, attend, join_heads, split_heads

LOG_VARIANCES = (-30.0, 20.0)  # of a latent, clamped to these


class Posterior(NamedTuple):
    """A Gaussian over latents; its mean is its mode."""

    mean: Tensor  # [B latent h w]
    log_variance: Tensor  # [B latent h w]

    def sample(self, eps: Tensor) -> Tensor:
        """The latent that a draw of standard noise gives. Shapes: eps [B latent h w] -> the same."""
        return self.mean + (0.5 * self.log_variance).exp() * eps

    def kl(self) -> Tensor:
        """KL to the standard normal, summed over a sample (VAE appendix B). Shapes: -> [B]. Units: nats."""
        terms = self.mean**2 + self.log_variance.exp() - 1 - self.log_variance
        return 0.5 * terms.flatten(1).sum(1)


class ResBlock(nn.Module):
    """Norm, SiLU, convolution, twice, around a shortcut."""

    def __init__(self, c_in: int, c_out: int, settings: PyramidSettings) -> None:
        super().__init__()
        self.norm_in = GroupNorm(settings.groups, c_in, eps=settings.norm_eps)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm_out = GroupNorm(settings.groups, c_out, eps=settings.norm_eps)
        self.conv_out = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H W]."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        out: Tensor = self.skip(x) + self.conv_out(F.silu(self.norm_out(h)))
        return out


class Attention(nn.Module):
    """Self-attention over the pixels with one head."""

    def __init__(self, channels: int, settings: PyramidSettings) -> None:
        super().__init__()
        self.norm = GroupNorm(settings.groups, channels, eps=settings.norm_eps)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> the same."""
        b, c, height, width = x.shape
        pixels = self.norm(x).permute(0, 2, 3, 1).reshape(b, height * width, c)  # [B N C]
        out: Tensor = self.proj(join_heads(attend(*split_heads(self.qkv(pixels), 3, 1))))
        return x + out.view(b, height, width, c).permute(0, 3, 1, 2)


class Level(nn.Module):
    """The blocks of one size of picture, and the way to the next size."""

    def __init__(self, blocks: list[ResBlock], attentions: list[Attention], resample: nn.Module | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.attentions = nn.ModuleList(attentions)  # one a block, or none
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C' H' W']."""
        for number, block in enumerate(self.blocks):
            x = block(x)
            if self.attentions:
                x = self.attentions[number](x)
        return x if self.resample is None else self.resample(x)


class Halve(nn.Module):
    """Half as wide and high; the convolution sees a line of zeros on the right and at the bottom, none at the other edges."""

    def __init__(self, channels: int, settings: PyramidSettings) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2) if settings.conv_resample else None

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C H/2 W/2]."""
        return F.avg_pool2d(x, 2) if self.conv is None else self.conv(F.pad(x, (0, 1, 0, 1)))


class Double(nn.Module):
    """Twice as wide and high by nearest neighbours, then a convolution."""

    def __init__(self, channels: int, settings: PyramidSettings) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1) if settings.conv_resample else None

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C 2H 2W]."""
        x = F.interpolate(x, scale_factor=2, mode="nearest")
        return x if self.conv is None else self.conv(x)


class Encoder(nn.Module):
    """Pictures -> the moments of their latents, not clamped yet."""

    def __init__(self, settings: LatentVAESettings) -> None:
        super().__init__()
        s = settings
        inner, last = s.inner or s.latent, len(s.widths) - 1
        width = s.stem or s.widths[0]
        self.stem = nn.Conv2d(s.channels, width, 3, padding=1)
        self.down = nn.ModuleList()
        for number, c_out in enumerate(s.widths):
            resample = Halve(c_out, s) if number < last else None
            self.down.append(_level(width, c_out, s, blocks=s.blocks, factor=2**number, resample=resample))
            width = c_out
        self.middle = _middle(width, s)
        self.norm = GroupNorm(s.groups, width, eps=s.norm_eps)
        self.head = nn.Conv2d(width, 2 * inner, 3, padding=1)
        self.moments = nn.Conv2d(2 * inner, 2 * s.latent, 1) if s.moments_conv else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B 2*latent h w]: means, then log variances."""
        h = self.stem(x)
        for part in (*self.down, *self.middle):
            h = part(h)
        out: Tensor = self.moments(self.head(F.silu(self.norm(h))))
        return out


class Decoder(nn.Module):
    """Latents of `inner` channels -> pictures of `channels`."""

    def __init__(self, settings: PyramidSettings, *, inner: int, channels: int) -> None:
        super().__init__()
        s = settings
        width = s.widths[-1]
        self.stem = nn.Conv2d(inner, width, 3, padding=1)
        self.middle = _middle(width, s)
        self.up = nn.ModuleList()
        for number, c_out in reversed(list(enumerate(s.widths))):
            resample = Double(c_out, s) if number else None
            self.up.append(_level(width, c_out, s, blocks=s.blocks + 1, factor=2**number, resample=resample))
            width = c_out
        self.norm = GroupNorm(s.groups, width, eps=s.norm_eps)
        self.head = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Shapes: [B inner h w] -> [B channels H W]."""
        h = self.stem(z)
        for part in (*self.middle, *self.up):
            h = part(h)
        out: Tensor = self.head(F.silu(self.norm(h)))
        return out


class LatentVAE(nn.Module):
    """Pictures in [-1, 1] <-> latents an eighth as wide and high (for kl-f8)."""

    def __init__(self, settings: LatentVAESettings) -> None:
        super().__init__()
        self.settings = s = settings
        inner = s.inner or s.latent
        self.encoder = Encoder(s)
        self.latent = nn.Conv2d(s.latent, inner, 1) if s.decoder and s.latent_conv else nn.Identity()
        self.decoder = Decoder(s, inner=inner, channels=s.channels_out or s.channels) if s.decoder else None

    def encode(self, x: Tensor) -> Posterior:
        """The Gaussian over a picture's latents, not scaled. Shapes: x [B C H W] -> two of [B latent h w]. Units: [-1, 1].

        Raises: ShapeError for another number of channels.
        """
        if x.ndim != 4 or x.shape[1] != self.settings.channels:
            raise ShapeError(f"latent vae: expected pictures [B, {self.settings.channels}, H, W]; got {list(x.shape)}")
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(*LOG_VARIANCES))

    def decode(self, z: Tensor) -> Tensor:
        """The picture of a latent that is not scaled. Shapes: [B latent h w] -> [B C H W]. Units: about [-1, 1].

        Raises: InputError when there is only an encoder; ShapeError for another number of channels.
        """
        if self.decoder is None:
            raise InputError("latent vae: this network is the encoder alone; decode with the consistency decoder beside it")
        if z.ndim != 4 or z.shape[1] != self.settings.latent:
            raise ShapeError(f"latent vae: expected latents [B, {self.settings.latent}, h, w]; got {list(z.shape)}")
        out: Tensor = self.decoder(self.latent(z))
        return out

    def scaled(self, z: Tensor) -> Tensor:
        """A latent as a diffusion model sees it, of about unit variance (LDM appendix G)."""
        return z * self.settings.scale

    def unscaled(self, z: Tensor) -> Tensor:
        """The inverse of `scaled`."""
        return z / self.settings.scale

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Posterior]:
        """A picture through a sampled latent and back, and the Gaussian it was drawn from. Shapes: x [B C H W]."""
        posterior = self.encode(x)
        return self.decode(posterior.sample(eps)), posterior


def _level(c_in: int, c_out: int, settings: PyramidSettings, *, blocks: int, factor: int, resample: nn.Module | None) -> Level:
    widths = [c_in] + [c_out] * blocks
    attended = factor in settings.attention
    return Level(
        [ResBlock(widths[n], c_out, settings) for n in range(blocks)],
        [Attention(c_out, settings) for _ in range(blocks)] if attended else [],
        resample,
    )


def _middle(width: int, settings: PyramidSettings) -> nn.ModuleList:
    attention = [Attention(width, settings)] if settings.middle_attention else []
    return nn.ModuleList([ResBlock(width, width, settings), *attention, ResBlock(width, width, settings)])
