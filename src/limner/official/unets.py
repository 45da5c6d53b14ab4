"""Which U-Net or classifier a released file holds: GLIDE, ADM or improved-diffusion.

What shapes show is read from them. What they do not show (heads, order of attention rows, dropout, side, noise schedule,
sampling) comes from the preset of the released model with exactly these shapes; a network of other sizes gets what its
family published as default. Keys are mapped in `adm.py`.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from limner.config import (
    ClassifierSettings,
    DiffusionSettings,
    NetworkSettings,
    PartSettings,
    SamplingSettings,
    StageSettings,
    TextSettings,
    UNetSettings,
    load_preset,
)
from limner.errors import CheckpointError
from limner.official import adm
from limner.official.layout import KeyMap
from limner.official.piece import Piece, Shapes

# The first of several presets with the same shapes is taken: those after it differ in training or in steps alone.
RELEASED = (
    *("glide", "glide-inpaint", "glide-paper"),
    *("adm-64", "adm-128", "adm-256", "adm-256-uncond", "adm-512", "adm-upsample-256", "adm-upsample-512"),
    *("adm-lsun-bedroom", "adm-lsun-cat", "adm-lsun-horse", "adm-lsun-horse-nodropout"),
    *("iddpm-cifar10", "iddpm-imagenet64", "iddpm-imagenet64-cond", "iddpm-lsun", "iddpm-upsample-256"),
    *("iddpm-cifar10-vlb", "iddpm-imagenet64-vlb"),
)
NEW_ORDER = ("adm-64",)  # presets whose attention rows are [q, k, v][head]; their classifiers' are not
_SIDES: dict[tuple[float, ...], int] = {  # the released code derives the multipliers from the side
    (1, 2, 2, 2): 32,
    (1, 2, 3, 4): 64,
    (1, 1, 2, 3, 4): 128,
    (1, 1, 2, 2, 4, 4): 256,
    (0.5, 1, 1, 2, 2, 4, 4): 512,
}
_HEAD_WIDTH = 64  # of GLIDE, most of ADM and every classifier
_HEADS = 4  # of improved-diffusion
_HIDDEN = {"side": 1, "heads": 1, "heads_up": None, "head_width": None, "dropout": 0.0}  # from shapes


class _Entry(NamedTuple):
    """One block of the encoder after the stem, as its keys show it."""

    kind: str  # "res", "conv" or "pool"
    c_out: int
    attention: bool


class _Trunk(NamedTuple):
    """What a U-Net and a classifier both show of themselves."""

    width: int
    multipliers: tuple[float, ...]
    blocks: int
    attention: tuple[int, ...]
    scale_shift: bool
    residual_resample: bool
    conv_resample: bool


def glide(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The stage in a file of GLIDE; None when it is no U-Net with words.

    Raises: CheckpointError for a network whose sizes do not tell all that must be known, naming what.
    """
    return _read(_stage, shapes) if "transformer_proj.weight" in shapes and _is_unet(shapes) else None


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The stage or classifier in a file of ADM or improved-diffusion; None when it is neither.

    Raises: as `glide` does.
    """
    if "transformer_proj.weight" in shapes or not {"input_blocks.0.0.weight", "time_embed.0.weight"} <= set(shapes):
        return None
    if _is_unet(shapes):
        return _read(_stage, shapes)
    return _read(_classifier, shapes) if any(key.startswith("out.") for key in shapes) else None


def glide_maps(network: NetworkSettings) -> KeyMap | None:
    """The official keys of a U-Net with words; None for other networks."""
    return adm.keys(network) if isinstance(network, UNetSettings) and network.text is not None and _plain(network) else None


def maps(network: NetworkSettings) -> KeyMap | None:
    """The official keys of a U-Net without words or a classifier, its attention rows in the order in which it was released."""
    match network:
        case UNetSettings() if network.text is None and _plain(network):
            released = _released_stage(network)
            return adm.keys(network, head_major=released is None or released[0] not in NEW_ORDER)
        case ClassifierSettings():
            return adm.classifier_keys(network)
        case _:
            return None


def same_shapes(network: NetworkSettings) -> tuple[str, ...]:
    """Names of the presets of all released models with a network of these shapes, the one that is taken first."""
    return tuple(name for name, found in _networks() if _visible(found) == _visible(network))


def _read(reader: Callable[[Shapes], tuple[Piece, ...]], shapes: Shapes) -> tuple[Piece, ...]:
    """What a reader makes of the shapes; a tensor of another rank than any U-Net has is said in one line."""
    try:
        return reader(shapes)
    except (KeyError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"U-Net: its shapes contradict each other ({type(error).__name__}); the file is damaged"
        ) from None


def _plain(network: UNetSettings) -> bool:
    """Whether the original code can build it: the released U-Nets know no patches, and their middle has attention."""
    return network.patch == 1 and network.middle_attention and network.words is None and not network.latent


def _is_unet(shapes: Shapes) -> bool:
    return {"time_embed.0.weight", "input_blocks.0.0.weight", "output_blocks.0.0.in_layers.0.weight", "out.2.weight"} <= set(
        shapes
    )


def _stage(shapes: Shapes) -> tuple[Piece, ...]:
    network = unet(shapes)
    released = _released_stage(network)
    if released is not None:
        name, settings = released
        return (Piece(settings, adm.keys(settings.network, head_major=name not in NEW_ORDER)),)
    network = network.model_copy(update={"side": _side(network.multipliers), **_heads(network, shapes)})
    settings = StageSettings(
        name="upsampler" if network.low_res else "base",
        network=network,
        diffusion=_diffusion(network),
        sampling=_sampling(network),
        low_side=network.side // 4 if network.low_res else None,
    )
    return (Piece(settings, adm.keys(network)),)


def _classifier(shapes: Shapes) -> tuple[Piece, ...]:
    trunk = _trunk(shapes)
    own = _pooled(trunk, shapes)
    for name in same_shapes(own):
        for part in load_preset(name).model.parts:
            if isinstance(part.network, ClassifierSettings):
                return (Piece(part, adm.classifier_keys(part.network)),)
    positions = shapes.get("out.2.positional_embedding")
    levels = len(trunk.multipliers)
    side = _side(trunk.multipliers) if positions is None else math.isqrt(positions[1] - 1) << (levels - 1)
    own = own.model_copy(update={"side": side, **_heads(own.trunk, shapes)})
    return (Piece(PartSettings(name="classifier", network=own), adm.classifier_keys(own)),)


def unet(shapes: Shapes) -> UNetSettings:
    """The network, heads and side still unknown."""
    seen, out = shapes["input_blocks.0.0.weight"][1], shapes["out.2.weight"][0]
    # 3 channels are tried first: 6 in and 6 out is an upsampler that predicts its variance, not a picture of 6 channels.
    for c in (3, *range(1, out + 1)):
        if out in (c, 2 * c) and seen in (c, 2 * c, 2 * c + 1, 3 * c + 1):
            break
    else:
        raise CheckpointError(f"U-Net: {seen} channels in and {out} out are no picture with its conditions")
    label = shapes.get("label_emb.weight")
    return UNetSettings(
        **_common(_trunk(shapes)),
        channels=c,
        middle_attention="middle_block.1.qkv.weight" in shapes,
        ranged=out == 2 * c,
        classes=None if label is None else label[0],
        text=_text(shapes),
        low_res=seen in (2 * c, 3 * c + 1),
        inpaint=seen in (2 * c + 1, 3 * c + 1),
    )


def _pooled(trunk: _Trunk, shapes: Shapes) -> ClassifierSettings:
    """The classifier, heads and side still unknown."""
    common = {**_common(trunk), "channels": shapes["input_blocks.0.0.weight"][1]}
    if "out.2.positional_embedding" in shapes:
        return ClassifierSettings(**common, pool="attention", classes=shapes["out.2.c_proj.weight"][0])
    if len(shapes.get("out.3.weight", ())) == 4:
        return ClassifierSettings(**common, pool="adaptive", classes=shapes["out.3.weight"][0])
    second = "out.3.weight" in shapes
    last = shapes.get("out.3.weight" if second else "out.2.weight")
    if last is None or len(last) != 2:
        raise CheckpointError("classifier: out.* is none of the pools attention, adaptive, spatial, spatial_v2")
    return ClassifierSettings(**common, pool="spatial_v2" if second else "spatial", classes=last[0], hidden=last[1])


def _common(trunk: _Trunk) -> dict[str, Any]:
    return {**trunk._asdict(), "side": 8 << (len(trunk.multipliers) - 1)}


def _trunk(shapes: Shapes) -> _Trunk:
    width = shapes["time_embed.0.weight"][1]
    entries = _entries(shapes)
    levels, blocks = _grid(entries, shapes)
    rows = [entries[level * (blocks + 1)] for level in range(levels)]  # the first block of every level
    kinds = {entry.kind for entry in entries[blocks :: blocks + 1]}
    factors = [row.c_out / width for row in rows]
    emb = shapes.get("input_blocks.1.0.emb_layers.1.weight", (0,))
    return _Trunk(
        width=width,
        multipliers=tuple(int(factor) if factor == int(factor) else factor for factor in factors),
        blocks=blocks,
        attention=tuple(2**level for level, row in enumerate(rows) if row.attention),
        scale_shift=emb[0] == 2 * rows[0].c_out,
        residual_resample=kinds == {"res"} or levels == 1,
        conv_resample=kinds != {"pool"},
    )


def _entries(shapes: Shapes) -> list[_Entry]:
    """The encoder's blocks; a pool has no weights and shows as a number that is missing."""
    numbers = {int(found[1]) for key in shapes if (found := re.match(r"input_blocks\.(\d+)\.", key))}
    entries: list[_Entry] = []
    for n in range(1, max(numbers) + 1):
        conv, op = shapes.get(f"input_blocks.{n}.0.in_layers.2.weight"), shapes.get(f"input_blocks.{n}.0.op.weight")
        if conv is not None:
            entries.append(_Entry("res", conv[0], f"input_blocks.{n}.1.qkv.weight" in shapes))
        elif op is not None or (n not in numbers and entries and entries[-1].kind == "res"):  # never two pools in a row
            entries.append(_Entry("pool" if op is None else "conv", entries[-1].c_out if op is None else op[0], False))
        else:
            raise CheckpointError(f"U-Net: input_blocks.{n} is neither a residual block nor a resampling")
    if not entries:
        raise CheckpointError("U-Net: its encoder holds no residual block")
    return entries


def _grid(entries: list[_Entry], shapes: Shapes) -> tuple[int, int]:
    """Levels, and residual blocks a level: those that agree with every block of the encoder, and with the decoder."""
    ups = {found[1] for key in shapes if (found := re.match(r"(output_blocks\.\d+\.[12])\.(?:in_layers\.0|conv)\.weight", key))}
    total = len(entries) + 1
    fits = [
        (levels, total // levels - 1)
        for levels in range(1, total // 2 + 1)
        if total % levels == 0 and _agrees(entries, total // levels) and (not ups or len(ups) == levels - 1)
    ]
    if len(fits) != 1:
        raise CheckpointError(
            f"U-Net: its {len(entries)} encoder blocks can be {len(fits)} different numbers of levels; "
            "describe the network in a preset (multipliers, blocks) and convert with --preset"
        )
    return fits[0]


def _agrees(entries: list[_Entry], period: int) -> bool:
    """Whether every level has `period` - 1 blocks that are alike, and a resampling after them."""
    for start in range(0, len(entries), period):
        level = entries[start : start + period - 1]
        if any(entry.kind != "res" or entry[1:] != level[0][1:] for entry in level):
            return False
        for down in entries[start + period - 1 : start + period]:
            if down.attention or down.c_out != level[0].c_out:
                return False
    return True


def _text(shapes: Shapes) -> TextSettings | None:
    tokens = shapes.get("token_embedding.weight")
    if tokens is None:
        return None
    rows, width = tokens
    blocks = {found[1] for key in shapes if (found := re.match(r"transformer\.resblocks\.(\d+)\.", key))}
    return TextSettings(
        vocabulary={50257: "gpt2", 49408: "clip"}.get(rows, "vocabulary.json"),
        rows=rows,
        context=shapes["positional_embedding"][0],
        width=width,
        depth=len(blocks),
        heads=width // _HEAD_WIDTH if width % _HEAD_WIDTH == 0 else 1,
        learned_padding="padding_embedding" in shapes,
        final_norm="final_ln.weight" in shapes,
    )


def _heads(network: UNetSettings, shapes: Shapes) -> dict[str, int | None]:
    """Heads as the family published them: 64 channels each in GLIDE, ADM and classifiers, four in improved-diffusion."""
    widths = sorted({shape[0] // 3 for key, shape in shapes.items() if key.endswith(("qkv.weight", "qkv_proj.weight"))})
    by_width = network.text is not None or network.residual_resample
    size = _HEAD_WIDTH if by_width else _HEADS
    if wrong := [width for width in widths if width % size]:
        raise CheckpointError(
            f"U-Net: attention of {wrong[0]} channels cannot be cut into {'heads of 64' if by_width else 'four heads'}; "
            "shapes do not show them: describe the network in a preset (heads or head_width) and convert with --preset"
        )
    return {"heads": 1, "head_width": size} if by_width else {"heads": size, "head_width": None}


def _side(multipliers: tuple[float, ...]) -> int:
    if multipliers not in _SIDES:
        raise CheckpointError(
            f"U-Net: multipliers {', '.join(f'{m:g}' for m in multipliers)} are of no published size; "
            "shapes do not show the side of the picture: describe the network in a preset (side) and convert with --preset"
        )
    return _SIDES[multipliers]


def _diffusion(network: UNetSettings) -> DiffusionSettings:
    """The process as the family published it: cosine at 64 px in GLIDE, linear elsewhere; step numbers rescaled in improved."""
    return DiffusionSettings(
        schedule="cosine" if network.text is not None and not network.low_res else "linear",
        variance="learned_range" if network.ranged else "fixed_large",
        rescale_t=not network.residual_resample,
    )


def _sampling(network: UNetSettings) -> SamplingSettings:
    """As the family published it: GLIDE's notebooks, ADM's and improved-diffusion's 250 steps."""
    if network.text is None:
        return SamplingSettings(sampler="ddpm", steps="250", guidance=0.0)
    if not network.low_res:
        return SamplingSettings(sampler="ddpm", steps="100", guidance=5.0 if network.inpaint else 3.0)
    return SamplingSettings(sampler="ddpm" if network.inpaint else "ddim", steps="fast27", temperature=0.997)


def _released_stage(network: UNetSettings) -> tuple[str, StageSettings] | None:
    """The first released model whose network has the same shapes, and its stage."""
    for name in same_shapes(network):
        for stage in load_preset(name).model.stages:
            if _visible(stage.network) == _visible(network):
                return name, stage
    return None


def _visible(network: NetworkSettings) -> NetworkSettings:
    """What shapes show of a network."""
    shown = network.model_copy(update=_HIDDEN)
    if isinstance(shown, UNetSettings) and shown.text is not None:
        return shown.model_copy(update={"text": shown.text.model_copy(update={"heads": 1})})
    return shown


@functools.cache
def _networks() -> tuple[tuple[str, NetworkSettings], ...]:
    """Every released U-Net and classifier, under the name of its preset."""
    models = [(name, load_preset(name).model) for name in RELEASED]
    return tuple((name, network) for name, model in models for network in model.networks().values())
