"""The families of released files, and which of them a file belongs to: told from its keys and shapes, never from its name.

To add a family, write `recognise` in its own file and append a line to FAMILIES.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch

from limner.config import PartSettings, StageSettings
from limner.errors import CheckpointError, UnsupportedError
from limner.networks.building import build, hollow
from limner.official import (
    clip,
    coca,
    consistency_decoder,
    diffusers_unclip,
    dvae,
    karlo,
    latent_vae,
    layout,
    min_dalle,
    noised_clip,
    t5,
    unclip_documents,
    unets,
    vqgan,
)
from limner.official.piece import Family, Piece, Shapes

__all__ = ["FAMILIES", "Family", "Piece", "Shapes", "expected", "fitting", "recognise"]

_LISTED = 5
_UNET = ("time_embed.", "input_blocks.", "middle_block.", "output_blocks.", "out.")
_HALVES = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.")

FAMILIES: tuple[Family, ...] = (
    Family("glide", "glide", unets.glide, (*_UNET, "transformer.resblocks.", "transformer_proj."), maps=unets.glide_maps),
    Family("adm", "adm", unets.recognise, _UNET, maps=unets.maps),
    Family(
        "clip", "clip", clip.recognise, ("visual.", "transformer.resblocks.", "text_projection"), ("unclip",), maps=clip.maps
    ),
    Family(
        "noised-clip",
        "noised-clip",
        noised_clip.recognise,
        ("blocks.input.", "blocks.block_", "blocks.output."),
        ("glide",),
        maps=noised_clip.maps,
    ),
    Family("coca", "coca", coca.recognise, ("visual.", "text.", "text_decoder."), maps=coca.maps),
    Family(
        "clip-diffusers",
        "clip",
        clip.recognise_hugging_face,
        ("text_model.", "vision_model.", "visual_projection."),
        ("unclip",),
        "diffusers",
        clip.hugging_face_maps,
    ),
    Family(
        "min-dalle",
        "min-dalle",
        min_dalle.recognise,
        ("embed_tokens.", "embed_positions.", "layers.", "layernorm_embedding.", "final_ln.", "lm_head."),
        maps=min_dalle.maps,
    ),
    Family("dvae", "dvae", dvae.recognise, ("blocks.input.", "blocks.group_", "blocks.output."), maps=dvae.maps),
    Family("latent-vae", "latent-vae", latent_vae.recognise, _HALVES, maps=latent_vae.maps),
    Family(
        "latent-vae-diffusers",
        "latent-vae",
        latent_vae.recognise_diffusers,
        _HALVES,
        layout="diffusers",
        maps=latent_vae.maps_diffusers,
    ),
    Family(
        "consistency-decoder",
        "consistency-decoder",
        consistency_decoder.recognise,
        ("embed_image.", "embed_time.", "blocks.down_", "blocks.mid_", "blocks.up_", "output."),
        maps=consistency_decoder.maps,
    ),
    Family(
        "consistency-decoder-diffusers",
        "consistency-decoder",
        consistency_decoder.recognise_diffusers,
        ("decoder_unet.", "encoder.", "quant_conv."),
        layout="diffusers",
        maps=consistency_decoder.maps_diffusers,
    ),
    Family("vqgan", "min-dalle", vqgan.recognise, ("embedding.", "post_quant_conv.", "decoder.up."), maps=vqgan.maps),
    Family("t5", "t5", t5.recognise, ("shared.", "encoder.block.", "encoder.final_layer_norm."), maps=t5.maps),
    Family(
        "karlo",
        "unclip",
        karlo.recognise,
        (karlo.MODEL, karlo.FIRST, karlo.LAST),
        maps=karlo.maps,
        files=karlo.files,
    ),
    Family(
        "unclip-diffusers",
        "unclip",
        diffusers_unclip.recognise,
        ("down_blocks.", "mid_block.", "up_blocks.", "transformer_blocks.", "time_embedding.", "prd_embedding"),
        layout="diffusers",
        maps=diffusers_unclip.maps,
        twin=diffusers_unclip.twin,
        files=diffusers_unclip.files,
        documents=unclip_documents.documents,
    ),
)


def recognise(shapes: Shapes, system: str | None = None, *, where: str = "checkpoint") -> tuple[Family, tuple[Piece, ...]]:
    """The family of a file with these keys and shapes, and the pieces in it; every key and shape fits them.

    `system` leaves only the families that such a system is made of.

    Raises: CheckpointError in one line: the nearest family, and how many keys are missing, extra or misshapen, and which.
    """
    families = [family for family in FAMILIES if system in (None, family.system, *family.serves)]
    refused = ""
    for family in families:
        try:
            pieces = family.recognise(shapes)
            wrong = _misfit(shapes, expected(pieces)) if pieces else ""
        except CheckpointError as error:
            refused = refused or f"{where}: {error}"
            continue
        except (KeyError, IndexError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:  # sizes no network has
            what = f"lacks {error.args[0]}" if isinstance(error, KeyError) and error.args else str(error)[:80]
            refused = refused or f"{where}: looks like {family.name}, but its shapes are of no network ({what!r})"
            continue
        if not pieces:
            continue
        if not wrong:
            return family, pieces
        refused = refused or f"{where}: looks like {family.name}, but does not fit: {wrong}"
    raise CheckpointError(refused or _unknown(shapes, families, system, where))


def fitting(
    shapes: Shapes, settings: Sequence[StageSettings | PartSettings], *, where: str
) -> tuple[Family, tuple[Piece, ...]]:
    """The family of a file that holds exactly one of these networks, or those of them that share a file in the family, and
    what it holds: for sizes that were never released.

    Raises: CheckpointError when none of them has these keys and shapes.
    """
    for family in FAMILIES:
        for pieces in _made(family, settings):
            keys = {key for piece in pieces for key in piece.keys}
            if keys == set(shapes) and expected(pieces) == dict(shapes):
                return family, pieces
    names = ", ".join(each.name for each in settings)
    raise CheckpointError(f"{where}: its {len(shapes)} keys and shapes are not those of any network of the preset ({names})")


def _made(family: Family, settings: Sequence[StageSettings | PartSettings]) -> Iterator[tuple[Piece, ...]]:
    """The pieces of every file that a family makes of some networks."""
    for each in settings:
        keys = family.maps(each.network) if family.maps else None
        if keys is not None:
            yield (Piece(each, keys),)
    named = {each.name: each for each in settings}
    with contextlib.suppress(UnsupportedError):  # some of these networks, or none, are the family's
        for file in family.files({name: each.network for name, each in named.items()}) if family.files else ():
            yield tuple(Piece(named[name], keys) for name, keys in file.networks)


def expected(pieces: Sequence[Piece]) -> dict[str, tuple[int, ...]]:
    """The official keys and shapes of some pieces, found on the meta device."""
    shapes: dict[str, tuple[int, ...]] = {}
    for piece in pieces:
        state = hollow(build, piece.settings.network).state_dict()
        with torch.device("meta"):
            official = layout.to_official(state, piece.keys, where=piece.settings.name)
        shapes |= {key: tuple(tensor.shape) for key, tensor in official.items()}
    return shapes


def _misfit(have: Shapes, want: Shapes) -> str:
    """What is wrong, in words; nothing when all fits."""
    kinds = {
        "missing": sorted(set(want) - set(have)),
        "extra": sorted(set(have) - set(want)),
        "misshapen": [
            f"{key} {list(have[key])} (expected {list(want[key])})" for key in have if key in want and have[key] != want[key]
        ],
    }
    return "; ".join(f"{len(keys)} {kind}: {_some(keys)}" for kind, keys in kinds.items() if keys)


def _unknown(shapes: Shapes, families: Sequence[Family], system: str | None, where: str) -> str:
    among = f" that a {system} system can be made of" if system else ""
    if not families:
        return f"{where}: no family of released files belongs to system {system!r}; have: {', '.join(_systems())}"
    known = {family.name: sum(key.startswith(family.marks) for key in shapes) for family in families}
    nearest = max(families, key=lambda family: known[family.name])
    if not known[nearest.name]:
        names = ", ".join(family.name for family in families)
        return f"{where}: its {len(shapes)} keys ({_some(list(shapes))}) are of no family{among}; have: {names}"
    strange = [key for key in shapes if not key.startswith(nearest.marks)]
    also = f"; strange to it: {_some(strange)}" if strange else ""
    lacking = [mark for mark in nearest.marks if not any(key.startswith(mark) for key in shapes)]
    lacks = f"; it also expects {', '.join(f'{mark}*' for mark in lacking)}" if lacking else ""
    return (
        f"{where}: of no family{among}; nearest is {nearest.name}, whose keys "
        f"{known[nearest.name]} of {len(shapes)} resemble{also}{lacks}"
    )


def _systems() -> list[str]:
    return sorted({name for family in FAMILIES for name in (family.system, *family.serves)})


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
