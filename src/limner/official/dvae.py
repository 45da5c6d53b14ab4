"""Keys of DALL-E's dVAE: `encoder.pkl` and `decoder.pkl`, each one pickled network (DALL-E, released code)."""

from __future__ import annotations

from collections.abc import Sequence

from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings, NetworkSettings, PartSettings
from limner.networks.discrete_vae import GROUPS
from limner.official.layout import Entry
from limner.official.piece import Piece, Shapes

DvaeSettings = DiscreteEncoderSettings | DiscreteDecoderSettings
_MARK = "blocks.input.w"
_CONVS = 4  # in a block


def keys(settings: DvaeSettings, *, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for an encoder or a decoder of these settings."""
    out: dict[str, Entry] = {}
    _leaf(out, f"{prefix}blocks.input", "stem")
    before = settings.width if isinstance(settings, DiscreteEncoderSettings) else settings.stem
    for group, width in enumerate(_widths(settings)):
        for block in range(settings.blocks):
            official, limner = f"{prefix}blocks.group_{group + 1}.block_{block + 1}", f"groups.{group}.{block}"
            if before != width:
                _leaf(out, f"{official}.id_path", f"{limner}.skip")
            for conv in range(_CONVS):
                _leaf(out, f"{official}.res_path.conv_{conv + 1}", f"{limner}.convs.{conv}")
            before = width
    _leaf(out, f"{prefix}blocks.output.conv", "head")
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The encoder or decoder (or both, told apart by a prefix) in a file; None when there is neither."""
    pieces = [_piece(shapes, key.removesuffix(_MARK)) for key in shapes if key.endswith(_MARK)]
    return tuple(piece for piece in pieces if piece is not None) or None


def maps(network: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of any encoder or decoder; None for another network."""
    return keys(network) if isinstance(network, DvaeSettings) else None


def _piece(shapes: Shapes, prefix: str) -> Piece | None:
    first, last = shapes[prefix + _MARK], shapes.get(f"{prefix}blocks.output.conv.w", ())
    if len(first) != 4 or len(last) != 4:
        return None
    blocks = sum(f"{prefix}blocks.group_1.block_{n}.res_path.conv_1.w" in shapes for n in range(1, len(shapes) + 1))
    network: DvaeSettings
    try:
        if first[2] > 1:  # 7x7 on the picture; a decoder begins with 1x1 on the codes
            network = DiscreteEncoderSettings(channels=first[1], width=first[0], blocks=blocks, codes=last[0])
        else:
            network = DiscreteDecoderSettings(
                channels=last[0] // 2, stem=first[0], width=last[1], blocks=blocks, codes=first[1]
            )
    except ValueError:  # sizes that no such network has
        return None
    name = "encoder" if isinstance(network, DiscreteEncoderSettings) else "decoder"
    return Piece(PartSettings(name=name, network=network), keys(network, prefix=prefix))


def _widths(settings: DvaeSettings) -> Sequence[int]:
    factors = GROUPS if isinstance(settings, DiscreteEncoderSettings) else reversed(GROUPS)
    return [factor * settings.width for factor in factors]


def _leaf(out: dict[str, Entry], official: str, limner: str) -> None:
    out[f"{official}.w"] = Entry(f"{limner}.weight")
    out[f"{official}.b"] = Entry(f"{limner}.bias")
