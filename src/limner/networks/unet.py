"""The one ADM U-Net: IDDPM, ADM, GLIDE and unCLIP are settings of it (ADM appendix A, GLIDE section 2).

It knows pictures, steps and conditions as tensors. Official key names are mapped onto these in `official/adm.py`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limner.config import UNetSettings
from limner.errors import InputError, ShapeError
from limner.networks.layers import GroupNorm, attend, join_heads, split_heads, timestep_embedding, zeroed
from limner.networks.transformer import TextTransformer

Cond = Mapping[str, Tensor]
Resampling = Literal["up", "down"]


class Modulation(NamedTuple):
    """What a residual block makes of the embedding: what its second norm is multiplied with, if it is, and what is added."""

    gain: Tensor | None  # [B C 1 1]
    shift: Tensor  # [B C 1 1]


class ResBlock(nn.Module):
    """Two convolutions around the embedding; may halve or double the picture on the way (BigGAN block)."""

    def __init__(self, c_in: int, c_out: int, settings: UNetSettings, *, resampling: Resampling | None = None) -> None:
        super().__init__()
        self.resampling = resampling
        self.scale_shift = settings.scale_shift
        self.norm_in = GroupNorm(settings.groups, c_in)
        self.conv_in = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.emb = nn.Linear(settings.embed or 4 * settings.width, 2 * c_out if settings.scale_shift else c_out)
        self.norm_out = GroupNorm(settings.groups, c_out)
        self.dropout = nn.Dropout(settings.dropout)
        self.conv_out = zeroed(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.skip = nn.Identity() if c_in == c_out else nn.Conv2d(c_in, c_out, 1)

    def modulation(self, emb: Tensor) -> Modulation:
        """Shapes: emb [B E] after its SiLU -> [B C' 1 1]."""
        e = self.emb(emb)[..., None, None]  # [B C' or 2C' 1 1]
        if not self.scale_shift:
            return Modulation(None, e)
        scale, shift = e.chunk(2, dim=1)
        return Modulation(1 + scale, shift)

    def forward(self, x: Tensor, modulation: Modulation) -> Tensor:
        """Shapes: x [B C H W] -> [B C' H' W']."""
        h = F.silu(self.norm_in(x))
        if self.resampling is not None:
            h, x = resample(h, self.resampling), resample(x, self.resampling)
        h = self.conv_in(h)
        gain, shift = modulation
        if gain is None:
            h = self.norm_out(h + shift.to(h.dtype))
        else:
            h = torch.addcmul(shift.to(h.dtype), self.norm_out(h), gain.to(h.dtype))
        out: Tensor = self.skip(x) + self.conv_out(self.dropout(F.silu(h)))
        return out


class Attention(nn.Module):
    """Self-attention over the pixels; text keys, where there are any, share its softmax (GLIDE section 2.1)."""

    def __init__(self, channels: int, heads: int, settings: UNetSettings) -> None:
        super().__init__()
        self.heads = heads
        self.norm = GroupNorm(settings.groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)  # rows ordered [q, k, v][head][ch]
        words = text_width(settings)
        self.text_kv = None if words is None else nn.Linear(words, 2 * channels)
        self.proj = zeroed(nn.Linear(channels, channels))

    def project(self, text: Tensor) -> Tensor:
        """Keys and values of the text for this layer. Shapes: [B L D] -> [B 2 H L ch]."""
        if self.text_kv is None:
            raise InputError("attention: this network was built without text")
        return torch.stack(split_heads(self.text_kv(text.to(self.text_kv.weight.dtype)), 2, self.heads), dim=1)

    def forward(self, x: Tensor, text: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Shapes: x [B C H W], text [B 2 H L ch] from `project`, mask [B L] bool (True = word) -> [B C H W]."""
        b, c, height, width = x.shape
        pixels = self.norm(x).permute(0, 2, 3, 1).reshape(b, height * width, c)  # [B N C]
        q, k, v = split_heads(self.qkv(pixels), 3, self.heads)
        if text is not None:  # text comes before the pixels, as in the original
            k, v = torch.cat([text[:, 0].to(k.dtype), k], dim=2), torch.cat([text[:, 1].to(v.dtype), v], dim=2)
        # Pads of the text are not seen, every pixel is.
        seen = None if mask is None else F.pad(mask, (0, height * width), value=True)[:, None, None]
        out: Tensor = self.proj(join_heads(attend(q, k, v, seen)))
        return x + out.view(b, height, width, c).permute(0, 3, 1, 2)


class Resample(nn.Module):
    """Halve or double a picture outside a residual block: learned convolution, or plain pooling / nearest."""

    def __init__(self, channels: int, resampling: Resampling, settings: UNetSettings) -> None:
        super().__init__()
        self.resampling = resampling
        stride = 2 if resampling == "down" else 1
        self.conv = nn.Conv2d(channels, channels, 3, stride=stride, padding=1) if settings.conv_resample else None

    def forward(self, x: Tensor) -> Tensor:
        """Shapes: [B C H W] -> [B C H/2 W/2] or [B C 2H 2W]."""
        if self.resampling == "up":
            x = resample(x, "up")
        elif self.conv is None:
            x = resample(x, "down")
        return x if self.conv is None else self.conv(x)


class Block(nn.Module):
    """One entry of the encoder or decoder: residual block, then attention, then resampling, each if present."""

    def __init__(self, res: ResBlock | None, attention: Attention | None, resampler: ResBlock | Resample | None) -> None:
        super().__init__()
        self.res = res
        self.attention = attention
        self.resampler = resampler

    def forward(self, x: Tensor, modulations: Iterator[Modulation], text: Tensor | None, mask: Tensor | None = None) -> Tensor:
        """Shapes: x [B C H W], text [B 2 H L ch] or None, mask [B L] or None -> [B C' H' W']."""
        if self.res is not None:
            x = self.res(x, next(modulations))
        if self.attention is not None:
            x = self.attention(x, text, mask)
        if isinstance(self.resampler, ResBlock):
            x = self.resampler(x, next(modulations))
        elif self.resampler is not None:
            x = self.resampler(x)
        return x


class UNet(nn.Module):
    """(x_t, t, conditions) -> the raw output: the target, and with `ranged` the variance channels after it."""

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = s = settings
        embed = s.embed or 4 * s.width
        widths = [int(m * s.width) for m in s.multipliers]
        self.time = nn.Sequential(nn.Linear(s.width, embed), nn.SiLU(), nn.Linear(embed, embed))
        self.table = None if s.time_rows is None else nn.Embedding(s.time_rows, s.width)
        self.label = None if s.classes is None else nn.Embedding(s.classes, embed)
        self.text = None if s.text is None else TextTransformer(s.text, embed)
        self.stem = nn.Conv2d(input_channels(s) * s.patch**2, widths[0], 3, padding=1)
        self.down, skips = encoder(s, widths)
        self.middle = middle(s, widths[-1])
        self.up = _decoder(s, widths, skips)
        self.residuals = residuals(self.down, self.middle, self.up)
        self.norm = GroupNorm(s.groups, widths[0])
        self.head = zeroed(nn.Conv2d(widths[0], output_channels(s) * s.patch**2, 3, padding=1))

    def encode(self, ids: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        """Conditions of a text, once a prompt. Shapes: ids [B L] int64, mask [B L] bool -> text [B L D], pooled [B E]."""
        if self.text is None:
            raise InputError("unet: this network was built without text")
        text, pooled = self.text(ids, mask)
        return {"text": text, "pooled": pooled}

    def project(self, cond: Cond) -> dict[str, Tensor]:
        """The conditions with every attention layer's text keys and values computed, once a picture.

        Shapes: text [B L D] -> text.0, text.1, ... [B 2 H L ch], one for each attention layer; the rest as it was.
        """
        out = {name: value for name, value in cond.items() if name != "text"}
        for number, layer in enumerate(self.attentions()):
            out[f"text.{number}"] = layer.project(cond["text"])
        return out

    def modulations(self, t: Tensor, cond: Cond) -> list[list[Modulation]]:
        """What the residual blocks make of several steps and one set of conditions, all steps in one product a block.

        Shapes: t [S] -> S lists, each for `forward`, of [B C 1 1]; B = 1 when no condition is added to the step.
        """
        added = {name: cond[name] for name in ("pooled", "label") if name in cond}
        batch = max((len(value) for value in added.values()), default=1)
        repeated = {name: value.repeat(len(t), *[1] * (value.ndim - 1)) for name, value in added.items()}
        emb = self.embed(t.repeat_interleave(batch), repeated)  # [S*B E]
        steps: list[list[Modulation]] = [[] for _ in t]
        for block in self.residuals:
            gain, shift = block.modulation(emb)
            gains = itertools.repeat(None) if gain is None else _apart(gain, batch, self.stem.weight)
            for step, of_gain, of_shift in zip(steps, gains, _apart(shift, batch, self.stem.weight), strict=False):
                step.append(Modulation(of_gain, of_shift))
        return steps

    def attentions(self) -> list[Attention]:
        """All attention layers in the order in which a picture meets them."""
        return [
            module for part in (self.down, self.middle, self.up) for module in part.modules() if isinstance(module, Attention)
        ]

    def cast(self, dtype: torch.dtype) -> UNet:
        """Convolutions, attention and text layers in a narrow type; norms, embeddings and head stay float32 (GLIDE's fp16)."""
        trunk = [self.stem, *self.down.modules(), *self.middle.modules(), *self.up.modules()]
        kept = {id(module.emb) for module in trunk if isinstance(module, ResBlock)}
        text = [] if self.text is None else [m for m in self.text.modules() if isinstance(m, nn.Linear)]
        for module in (*trunk, *text):
            if isinstance(module, nn.Conv2d | nn.Linear) and id(module) not in kept:
                module.to(dtype)
        return self

    def forward(
        self, x: Tensor, t: Tensor, cond: Cond | None = None, modulations: Sequence[Modulation] | None = None
    ) -> Tensor:
        """The raw output for x_t at step t; with this step's `modulations`, t and what is added to it are not looked at.

        Shapes: x [B C H W], t [B] (numbers of the full process, may be fractional) -> [B C or 2C H W].
        cond: `pooled` [B E] and `text` [B L D] (or `text.N` from `project`), with `words` also `mask` [B L] bool (True = seen;
        all when absent), `label` [B] int64, `low_res` [B C h w], `image` [B C H W] with `known` [B 1 H W] (1 = keep),
        `latent` [B L h w]: those that the settings ask for.
        Raises: InputError naming a condition that is missing.
        """
        cond = {} if cond is None else cond
        s = self.settings
        if text_width(s) is not None and "text" in cond:
            cond = self.project(cond)
        mask = None if s.words is None else cond.get("mask")
        if modulations is None:
            emb = self.embed(t, cond)
            modulations = [block.modulation(emb) for block in self.residuals]
        waiting = iter(modulations)  # one for each residual block
        layout = _layout(self.stem.weight)
        h = self._inputs(x, cond).to(self.stem.weight.dtype, memory_format=layout)
        if s.patch > 1:
            h = F.pixel_unshuffle(h, s.patch).contiguous(memory_format=layout)  # it forgets how its input lay
        h = self.stem(h)
        texts = (cond.get(f"text.{n}") for n in itertools.count())  # one for each attention layer
        h, skips = self._descend(h, waiting, texts, mask)
        for layer in self.middle:
            h = layer(h, next(texts), mask) if isinstance(layer, Attention) else layer(h, next(waiting))
        for block in self.up:
            h = block(torch.cat([h, skips.pop()], dim=1), waiting, next(texts) if block.attention is not None else None, mask)
        h = self.head(F.silu(self.norm(h.to(self.head.weight.dtype))))
        return F.pixel_shuffle(h, s.patch) if s.patch > 1 else h

    def embed(self, t: Tensor, cond: Cond) -> Tensor:
        """The vector every residual block gets: step, label and text added, then SiLU. Shapes: t [B] -> [B E]."""
        steps = timestep_embedding(t, self.settings.width) if self.table is None else self.table(t.long())
        emb = self.time(steps.to(self.norm.weight.dtype))
        if self.label is not None:
            emb = emb + self.label(_needed(cond, "label"))
        if text_width(self.settings) is not None:
            emb = emb + _needed(cond, "pooled").to(emb.dtype)
        return F.silu(emb)

    def _descend(
        self, h: Tensor, modulations: Iterator[Modulation], texts: Iterator[Tensor | None], mask: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        skips = [h]
        for block in self.down:
            h = block(h, modulations, next(texts) if block.attention is not None else None, mask)
            skips.append(h)
        return h, skips

    def _inputs(self, x: Tensor, cond: Cond) -> Tensor:
        """The noisy picture with its pictorial conditions as extra channels: [B C+... H W]."""
        s = self.settings
        if x.ndim != 4 or x.shape[1] != s.channels:
            raise ShapeError(f"unet: expected x of shape [B, {s.channels}, H, W]; got {list(x.shape)}")
        parts = [x]
        if s.inpaint:
            known = cond.get("known", torch.zeros_like(x[:, :1])).to(x.dtype)
            image = cond.get("image", torch.zeros_like(x)).to(x.dtype)
            parts += [image * known, known]
        if s.low_res:
            low = _needed(cond, "low_res").to(x.dtype)
            smooth = s.enlarge == "bicubic"
            parts.append(F.interpolate(low, x.shape[-2:], mode=s.enlarge, align_corners=False, antialias=smooth))
        if s.latent:
            parts.append(F.interpolate(_needed(cond, "latent").to(x.dtype), x.shape[-2:], mode="nearest"))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def resample(x: Tensor, resampling: Resampling) -> Tensor:
    """Nearest doubling or 2x2 averaging. Shapes: [B C H W] -> [B C 2H 2W] or [B C H/2 W/2]."""
    return F.interpolate(x, scale_factor=2, mode="nearest") if resampling == "up" else F.avg_pool2d(x, 2)


def residuals(*parts: nn.Module) -> list[ResBlock]:
    """The residual blocks of some parts, in the order in which a picture meets them."""
    return [module for part in parts for module in part.modules() if isinstance(module, ResBlock)]


def text_width(settings: UNetSettings) -> int | None:
    """Features of a token as the attention layers get them; None without text."""
    return settings.words if settings.text is None else settings.text.width


def inputs(settings: UNetSettings) -> dict[str, int]:
    """What the stem gets, in order, and the channels of each before `patch`: the noisy picture and its pictorial conditions."""
    parts = {"x": settings.channels}
    if settings.inpaint:
        parts |= {"image": settings.channels, "known": 1}
    if settings.low_res:
        parts["low_res"] = settings.channels
    if settings.latent:
        parts["latent"] = settings.latent
    return parts


def input_channels(settings: UNetSettings) -> int:
    """Channels of all inputs of the stem, before `patch`."""
    return sum(inputs(settings).values())


def output_channels(settings: UNetSettings) -> int:
    """Channels of the raw output, before `patch`."""
    return settings.channels * (2 if settings.ranged else 1)


def _layout(weight: Tensor) -> torch.memory_format:
    """How the pictures of a convolution should lie: as its weights do."""
    return torch.channels_last if weight.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def _apart(all_steps: Tensor, batch: int, weight: Tensor) -> tuple[Tensor, ...]:
    """One tensor a step, in the type of the trunk. Shapes: [S*B C 1 1] -> S times [B C 1 1]."""
    return all_steps.to(weight.dtype).view(-1, batch, *all_steps.shape[1:]).unbind(0)


def _needed(cond: Cond, name: str) -> Tensor:
    if name not in cond:
        raise InputError(f"unet: the condition '{name}' is missing; have: {', '.join(cond) or 'none'}")
    return cond[name]


def _heads(s: UNetSettings, channels: int, heads: int) -> int:
    return channels // s.head_width if s.head_width is not None else heads


def _resampler(channels: int, resampling: Resampling, s: UNetSettings) -> ResBlock | Resample:
    if s.residual_resample:
        return ResBlock(channels, channels, s, resampling=resampling)
    return Resample(channels, resampling, s)


def encoder(s: UNetSettings, widths: list[int]) -> tuple[nn.ModuleList, list[int]]:
    """The encoder's blocks after the stem, and the channels of every skip, the stem's included."""
    blocks, skips, width = nn.ModuleList(), [widths[0]], widths[0]
    for level, c_out in enumerate(widths):
        for _ in range(s.blocks):
            attention = Attention(c_out, _heads(s, c_out, s.heads), s) if 2**level in s.attention else None
            blocks.append(Block(ResBlock(width, c_out, s), attention, None))
            width = c_out
            skips.append(width)
        if level < len(widths) - 1:
            blocks.append(Block(None, None, _resampler(width, "down", s)))
            skips.append(width)
    return blocks, skips


def middle(s: UNetSettings, width: int) -> nn.ModuleList:
    """The blocks at the lowest level: residual block, attention if there is one, residual block."""
    attention = [Attention(width, _heads(s, width, s.heads), s)] if s.middle_attention else []
    return nn.ModuleList([ResBlock(width, width, s), *attention, ResBlock(width, width, s)])


def _decoder(s: UNetSettings, widths: list[int], skips: list[int]) -> nn.ModuleList:
    blocks, skips, width = nn.ModuleList(), list(skips), widths[-1]
    heads = s.heads if s.heads_up is None else s.heads_up
    for level, c_out in reversed(list(enumerate(widths))):
        for number in range(s.blocks + 1):
            res = ResBlock(width + skips.pop(), c_out, s)
            attention = Attention(c_out, _heads(s, c_out, heads), s) if 2**level in s.attention else None
            resampler = _resampler(c_out, "up", s) if level and number == s.blocks else None
            blocks.append(Block(res, attention, resampler))
            width = c_out
    return blocks
