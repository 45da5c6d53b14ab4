"""Keys of the KL autoencoder in its layouts: latent diffusion's own, and those of diffusers, today's and the first one.

They differ in names, in attention (1x1 convolutions or linear maps), and in how the decoder's levels are counted: the
original counts them from the finest, diffusers and limner in the order in which they run. VQGAN (`vqgan.py`) and the
consistency decoder's file (`consistency_decoder.py`) share the halves.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from limner.config import LatentVAESettings, NetworkSettings, PartSettings
from limner.networks.building import hollow
from limner.networks.latent_vae import Attention, Decoder, Encoder, LatentVAE, Level, ResBlock
from limner.official.layout import Entry
from limner.official.piece import Piece, Shapes


class Dialect(NamedTuple):
    """How one layout names things."""

    levels: tuple[str, str]  # of the encoder, of the decoder
    block: str
    attention: str
    resample: tuple[str, str]  # of the encoder, of the decoder
    middle: tuple[str, str, str]  # first block, attention, second block
    norm: str  # before the last convolution
    skip: str
    projections: tuple[str, str, str, str, str]  # of an attention: norm, query, key, value, output
    axes: int  # trailing axes of size 1 that an attention's weights have
    finest_first: bool  # whether the decoder's levels are counted from the finest


COMPVIS = Dialect(
    levels=("down", "up"),
    block="block",
    attention="attn",
    resample=("downsample", "upsample"),
    middle=("mid.block_1", "mid.attn_1", "mid.block_2"),
    norm="norm_out",
    skip="nin_shortcut",
    projections=("norm", "q", "k", "v", "proj_out"),
    axes=2,
    finest_first=True,
)
DIFFUSERS = Dialect(
    levels=("down_blocks", "up_blocks"),
    block="resnets",
    attention="attentions",
    resample=("downsamplers.0", "upsamplers.0"),
    middle=("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"),
    norm="conv_norm_out",
    skip="conv_shortcut",
    projections=("group_norm", "to_q", "to_k", "to_v", "to_out.0"),
    axes=0,
    finest_first=False,
)
OLD_DIFFUSERS = DIFFUSERS._replace(projections=("group_norm", "query", "key", "value", "proj_attn"))


def keys(settings: LatentVAESettings, dialect: Dialect = DIFFUSERS, *, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for a network of these settings."""
    net = hollow(LatentVAE, settings)
    out = encoder_keys(net.encoder, dialect, prefix=f"{prefix}encoder.")
    if isinstance(net.encoder.moments, nn.Conv2d):
        _leaf(out, f"{prefix}quant_conv", "encoder.moments")
    if net.decoder is not None:
        out |= decoder_keys(net.decoder, dialect, prefix=f"{prefix}decoder.")
        if isinstance(net.latent, nn.Conv2d):
            _leaf(out, f"{prefix}post_quant_conv", "latent")
    return out


def encoder_keys(encoder: Encoder, dialect: Dialect, *, prefix: str) -> dict[str, Entry]:
    """The keys of an encoder, which limner keeps under `encoder.`."""
    out = _ends(dialect, prefix, "encoder") | _middle(encoder.middle, dialect, prefix, "encoder")
    for number, level in enumerate(encoder.down):
        _level(out, dialect, f"{prefix}{dialect.levels[0]}.{number}", f"encoder.down.{number}", level, dialect.resample[0])
    return out


def decoder_keys(decoder: Decoder, dialect: Dialect, *, prefix: str) -> dict[str, Entry]:
    """The keys of a decoder, which limner keeps under `decoder.`."""
    out = _ends(dialect, prefix, "decoder") | _middle(decoder.middle, dialect, prefix, "decoder")
    for number, level in enumerate(decoder.up):
        official = len(decoder.up) - 1 - number if dialect.finest_first else number
        _level(out, dialect, f"{prefix}{dialect.levels[1]}.{official}", f"decoder.up.{number}", level, dialect.resample[1])
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The autoencoder in a file of the original layout, under whichever prefix; None when there is none."""
    prefix = _prefix(shapes)
    return None if prefix is None or dialect_of(shapes, prefix) != COMPVIS else _piece(shapes, prefix)


def recognise_diffusers(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The autoencoder in a file of diffusers, today's or the first layout; None when there is none."""
    prefix = _prefix(shapes)
    return None if prefix is None or dialect_of(shapes, prefix) == COMPVIS else _piece(shapes, prefix)


def maps(network: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of any whole autoencoder in the original layout; None for another network."""
    return keys(network, COMPVIS) if isinstance(network, LatentVAESettings) and network.decoder else None


def maps_diffusers(network: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of any whole autoencoder in the layout of diffusers; None for another network."""
    return keys(network, DIFFUSERS) if isinstance(network, LatentVAESettings) and network.decoder else None


def inferred(shapes: Shapes, prefix: str) -> tuple[LatentVAESettings, dict[str, Entry]] | None:
    """Settings and keys of an autoencoder, or of the encoder alone when no decoder is there; None when shapes do not tell.

    What shapes do not show (group size, scale of the latents) is that of kl-f8.
    """
    dialect = dialect_of(shapes, prefix)
    try:
        settings = _settings(shapes, prefix, dialect)
    except (KeyError, IndexError, ValueError):  # keys or sizes that no such network has
        return None
    return settings, keys(settings, dialect, prefix=prefix)


def dialect_of(shapes: Shapes, prefix: str) -> Dialect:
    """The layout whose names these keys have."""
    if not any(key.startswith((f"{prefix}encoder.down_blocks.", f"{prefix}decoder.up_blocks.")) for key in shapes):
        return COMPVIS
    return OLD_DIFFUSERS if any(key.endswith(".query.weight") for key in shapes) else DIFFUSERS


def widths_of(shapes: Shapes, level: str, block: str) -> tuple[int, ...]:
    """The channels of levels 0, 1, ... as their first convolutions tell. `level`: "encoder.down.", say."""
    widths: list[int] = []
    while (key := f"{level}.{len(widths)}.{block}.0.conv1.weight") in shapes:
        widths.append(shapes[key][0])
    return tuple(widths)


def count(shapes: Shapes, start: str, end: str) -> int:
    """How many of `start.0.end`, `start.1.end`, ... there are."""
    found = 0
    while f"{start}.{found}.{end}" in shapes:
        found += 1
    return found


def _prefix(shapes: Shapes) -> str | None:
    mark = "encoder.conv_in.weight"
    prefixes = (key.removesuffix(mark) for key in shapes if key.endswith(mark))
    return next((prefix for prefix in prefixes if f"{prefix}decoder.conv_in.weight" in shapes), None)


def _piece(shapes: Shapes, prefix: str) -> tuple[Piece, ...] | None:
    found = inferred(shapes, prefix)
    return None if found is None else (Piece(PartSettings(name="autoencoder", network=found[0]), found[1]),)


def _settings(shapes: Shapes, prefix: str, dialect: Dialect) -> LatentVAESettings:
    down = f"{prefix}encoder.{dialect.levels[0]}"
    widths = widths_of(shapes, down, dialect.block)
    norm = dialect.projections[0]
    stem, channels = shapes[f"{prefix}encoder.conv_in.weight"][:2]
    inner = shapes[f"{prefix}encoder.conv_out.weight"][0] // 2
    moments = shapes.get(f"{prefix}quant_conv.weight")
    decoder = f"{prefix}decoder.conv_out.weight" in shapes
    channels_out = shapes[f"{prefix}decoder.conv_out.weight"][0] if decoder else channels
    latent = inner if moments is None else moments[0] // 2
    return LatentVAESettings(
        channels=channels,
        channels_out=None if channels_out == channels else channels_out,
        widths=widths,
        stem=None if stem == widths[0] else stem,
        blocks=count(shapes, f"{down}.0.{dialect.block}", "conv1.weight"),
        attention=tuple(2**n for n in range(len(widths)) if f"{down}.{n}.{dialect.attention}.0.{norm}.weight" in shapes),
        middle_attention=f"{prefix}encoder.{dialect.middle[1]}.{norm}.weight" in shapes,
        conv_resample=len(widths) == 1 or f"{down}.0.{dialect.resample[0]}.conv.weight" in shapes,
        latent=latent,
        inner=None if inner == latent else inner,
        moments_conv=moments is not None,
        latent_conv=not decoder or f"{prefix}post_quant_conv.weight" in shapes,
        decoder=decoder,
    )


def _ends(dialect: Dialect, prefix: str, limner: str) -> dict[str, Entry]:
    out: dict[str, Entry] = {}
    for ours, theirs in (("stem", "conv_in"), ("norm", dialect.norm), ("head", "conv_out")):
        _leaf(out, f"{prefix}{theirs}", f"{limner}.{ours}")
    return out


def _middle(parts: nn.ModuleList, dialect: Dialect, prefix: str, limner: str) -> dict[str, Entry]:
    out: dict[str, Entry] = {}
    blocks = iter((dialect.middle[0], dialect.middle[2]))
    for number, part in enumerate(parts):
        if isinstance(part, Attention):
            _attention(out, dialect, f"{prefix}{dialect.middle[1]}", f"{limner}.middle.{number}")
        elif isinstance(part, ResBlock):
            _block(out, dialect, f"{prefix}{next(blocks)}", f"{limner}.middle.{number}", part)
    return out


def _level(out: dict[str, Entry], dialect: Dialect, official: str, limner: str, level: nn.Module, resample: str) -> None:
    if not isinstance(level, Level):
        return
    for number, block in enumerate(level.blocks):
        _block(out, dialect, f"{official}.{dialect.block}.{number}", f"{limner}.blocks.{number}", block)
    for number in range(len(level.attentions)):
        _attention(out, dialect, f"{official}.{dialect.attention}.{number}", f"{limner}.attentions.{number}")
    if level.resample is not None and list(level.resample.parameters()):
        _leaf(out, f"{official}.{resample}.conv", f"{limner}.resample.conv")


def _block(out: dict[str, Entry], dialect: Dialect, official: str, limner: str, block: nn.Module) -> None:
    names = {"norm_in": "norm1", "conv_in": "conv1", "norm_out": "norm2", "conv_out": "conv2"}
    if isinstance(block, ResBlock) and isinstance(block.skip, nn.Conv2d):
        names["skip"] = dialect.skip
    for ours, theirs in names.items():
        _leaf(out, f"{official}.{theirs}", f"{limner}.{ours}")


def _attention(out: dict[str, Entry], dialect: Dialect, official: str, limner: str) -> None:
    norm, *inputs, output = dialect.projections
    _leaf(out, f"{official}.{norm}", f"{limner}.norm")
    for which, name in enumerate(inputs):
        out[f"{official}.{name}.weight"] = Entry(f"{limner}.qkv.weight", axes=dialect.axes, slot=(which, 3))
        out[f"{official}.{name}.bias"] = Entry(f"{limner}.qkv.bias", slot=(which, 3))
    out[f"{official}.{output}.weight"] = Entry(f"{limner}.proj.weight", axes=dialect.axes)
    out[f"{official}.{output}.bias"] = Entry(f"{limner}.proj.bias")


def _leaf(out: dict[str, Entry], official: str, limner: str) -> None:
    out[f"{official}.weight"] = Entry(f"{limner}.weight")
    out[f"{official}.bias"] = Entry(f"{limner}.bias")
