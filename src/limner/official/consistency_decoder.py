"""Keys of DALL-E 3's consistency decoder: OpenAI's `decoder.pt`, and the model of diffusers with its encoder beside it.

The decoder is the one U-Net, told its step by a learned table and shown a latent; both layouts name its blocks by the
level, OpenAI's from the finest in both halves, diffusers' in the order in which they run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from limner.config import LatentVAESettings, NetworkSettings, PartSettings, UNetSettings
from limner.networks.building import hollow
from limner.networks.unet import Block, ResBlock, UNet
from limner.official import latent_vae
from limner.official.latent_vae import DIFFUSERS
from limner.official.layout import Entry
from limner.official.piece import Piece, Shapes

SIDE = 256  # pixels of the pictures it was trained on; any size is decoded


class Dialect(NamedTuple):
    """How one layout names things; `{level}` counts from the finest, `{run}` in the order in which levels run."""

    whole: Mapping[str, str]  # limner's name -> official name, of what is outside the blocks
    inside: Mapping[str, str]  # the same of what is inside a block
    down: str
    halve: str
    middle: str
    up: str
    double: str
    gain: str  # of a norm
    weight: str
    bias: str
    table: str


RAW = Dialect(
    whole={
        "stem": "embed_image.f",
        "time.0": "embed_time.f_1",
        "time.2": "embed_time.f_2",
        "norm": "output.gn",
        "head": "output.f",
    },
    inside={"norm_in": "gn_1", "conv_in": "f_1", "emb": "f_t", "norm_out": "gn_2", "conv_out": "f_2", "skip": "f_s"},
    down="blocks.down_{level}_conv_{number}",
    halve="blocks.down_{level}_downsamp",
    middle="blocks.mid_{number}",
    up="blocks.up_{level}_conv_{number}",
    double="blocks.up_{level}_upsamp",
    gain="g",
    weight="w",
    bias="b",
    table="embed_time.emb.weight",
)
OF_DIFFUSERS = Dialect(
    whole={
        "stem": "conv_in",
        "time.0": "time_embedding.linear_1",
        "time.2": "time_embedding.linear_2",
        "norm": "conv_norm_out",
        "head": "conv_out",
    },
    inside={
        "norm_in": "norm1",
        "conv_in": "conv1",
        "emb": "time_emb_proj",
        "norm_out": "norm2",
        "conv_out": "conv2",
        "skip": "conv_shortcut",
    },
    down="down_blocks.{run}.resnets.{number}",
    halve="down_blocks.{run}.downsamplers.0",
    middle="mid_block.resnets.{number}",
    up="up_blocks.{run}.resnets.{number}",
    double="up_blocks.{run}.upsamplers.0",
    gain="weight",
    weight="weight",
    bias="bias",
    table="time_proj.weight",
)
_PREFIX = "decoder_unet."  # of the decoder in the file of diffusers


def keys(settings: UNetSettings, dialect: Dialect = RAW, *, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for a decoder of these settings."""
    net = hollow(UNet, settings)
    out = {f"{prefix}{dialect.table}": Entry("table.weight")}
    for ours, theirs in dialect.whole.items():
        _leaf(out, dialect, f"{prefix}{theirs}", ours)
    for number, part in enumerate(net.middle):
        _block(out, dialect, prefix + dialect.middle.format(number=number), f"middle.{number}", part)
    _encoder(out, dialect, prefix, net)
    _decoder(out, dialect, prefix, net)
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The decoder in OpenAI's file, under whichever scope it was saved; None when there is none."""
    mark = "embed_image.f.w"
    prefix = next((key.removesuffix(mark) for key in shapes if key.endswith(mark)), None)
    return None if prefix is None else _pieces(shapes, RAW, prefix)


def recognise_diffusers(shapes: Shapes) -> tuple[Piece, ...] | None:
    """Decoder and encoder in the file of diffusers; None when there is no such decoder."""
    mark = f"{_PREFIX}conv_in.weight"
    prefix = next((key.removesuffix(mark) for key in shapes if key.endswith(mark)), None)
    if prefix is None:
        return None
    pieces, encoder = _pieces(shapes, OF_DIFFUSERS, prefix + _PREFIX), latent_vae.inferred(shapes, prefix)
    if pieces is None or encoder is None:
        return pieces
    return (*pieces, Piece(PartSettings(name="encoder", network=encoder[0]), encoder[1]))


def maps(network: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of any such decoder in OpenAI's layout; None for another network."""
    return keys(network, RAW) if _is_decoder(network) and isinstance(network, UNetSettings) else None


def maps_diffusers(network: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of any such decoder, or of the encoder beside it, in the layout of diffusers; None for another network."""
    if isinstance(network, LatentVAESettings) and not network.decoder:
        return latent_vae.keys(network, DIFFUSERS)
    return keys(network, OF_DIFFUSERS, prefix=_PREFIX) if _is_decoder(network) and isinstance(network, UNetSettings) else None


def _is_decoder(network: NetworkSettings) -> bool:
    return isinstance(network, UNetSettings) and network.time_rows is not None and network.latent > 0


def _pieces(shapes: Shapes, dialect: Dialect, prefix: str) -> tuple[Piece, ...] | None:
    try:
        network = _settings(shapes, dialect, prefix)
    except (KeyError, IndexError, ValueError, ZeroDivisionError):  # keys or sizes that no such network has
        return None
    return (Piece(PartSettings(name="decoder", network=network), keys(network, dialect, prefix=prefix)),)


def _settings(shapes: Shapes, dialect: Dialect, prefix: str) -> UNetSettings:
    """What shapes do not show (norms of 32 groups, scale and shift, resampling inside the blocks) is as released."""
    first = f"{dialect.inside['conv_in']}.{dialect.weight}"
    widths: list[int] = []
    while (key := f"{prefix}{dialect.down.format(level=len(widths), run=len(widths), number=0)}.{first}") in shapes:
        widths.append(shapes[key][0])
    stem, inputs = shapes[f"{prefix}{dialect.whole['stem']}.{dialect.weight}"][:2]
    channels = shapes[f"{prefix}{dialect.whole['head']}.{dialect.weight}"][0] // 2
    blocks = 0
    while f"{prefix}{dialect.down.format(level=0, run=0, number=blocks)}.{first}" in shapes:
        blocks += 1
    embed = shapes[f"{prefix}{dialect.whole['time.2']}.{dialect.weight}"][0]
    return UNetSettings(
        side=SIDE,
        channels=channels,
        width=stem,
        embed=None if embed == 4 * stem else embed,
        multipliers=tuple(_multiplier(width, stem) for width in widths),
        blocks=blocks,
        attention=(),
        middle_attention=False,
        latent=inputs - channels,
        time_rows=shapes[f"{prefix}{dialect.table}"][0],
    )


def _multiplier(width: int, stem: int) -> float:
    """The multiplier from which a width comes back whole."""
    multiplier = width / stem
    return multiplier if int(multiplier * stem) == width else math.nextafter(multiplier, math.inf)


def _encoder(out: dict[str, Entry], dialect: Dialect, prefix: str, net: UNet) -> None:
    level = number = 0
    for place, block in enumerate(net.down):
        if isinstance(block, Block) and block.res is not None:
            official = dialect.down.format(level=level, run=level, number=number)
            _block(out, dialect, prefix + official, f"down.{place}.res", block.res)
            number += 1
        elif isinstance(block, Block):
            official = dialect.halve.format(level=level, run=level)
            _block(out, dialect, prefix + official, f"down.{place}.resampler", block.resampler)
            level, number = level + 1, 0


def _decoder(out: dict[str, Entry], dialect: Dialect, prefix: str, net: UNet) -> None:
    last = level = len(net.settings.multipliers) - 1
    number = 0
    for place, block in enumerate(net.up):
        if isinstance(block, Block):
            where = {"level": level, "run": last - level}
            _block(out, dialect, prefix + dialect.up.format(number=number, **where), f"up.{place}.res", block.res)
            number += 1
            if block.resampler is not None:
                _block(out, dialect, prefix + dialect.double.format(**where), f"up.{place}.resampler", block.resampler)
                level, number = level - 1, 0


def _block(out: dict[str, Entry], dialect: Dialect, official: str, limner: str, block: nn.Module | None) -> None:
    if isinstance(block, ResBlock):
        for ours, theirs in dialect.inside.items():
            if ours != "skip" or isinstance(block.skip, nn.Conv2d):
                _leaf(out, dialect, f"{official}.{theirs}", f"{limner}.{ours}")


def _leaf(out: dict[str, Entry], dialect: Dialect, official: str, limner: str) -> None:
    norm = limner.rpartition(".")[2].startswith("norm")
    out[f"{official}.{dialect.gain if norm else dialect.weight}"] = Entry(f"{limner}.weight")
    out[f"{official}.{dialect.bias}"] = Entry(f"{limner}.bias")
