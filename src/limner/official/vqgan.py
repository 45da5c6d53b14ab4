"""Keys of min-dalle's detokeniser `detoker.pt`: VQGAN's codebook and decoder (min-dalle, released code)."""

from __future__ import annotations

from limner.config import NetworkSettings, PartSettings, VqganSettings
from limner.networks.building import hollow
from limner.networks.vqgan import VqganDecoder
from limner.official.latent_vae import COMPVIS, count, decoder_keys, widths_of
from limner.official.layout import Entry
from limner.official.piece import Piece, Shapes

_MARK = "embedding.weight"


def keys(settings: VqganSettings, *, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for a network of these settings."""
    out = decoder_keys(hollow(VqganDecoder, settings).decoder, COMPVIS, prefix=f"{prefix}decoder.")
    out[f"{prefix}{_MARK}"] = Entry("codebook.weight")
    for leaf in ("weight", "bias"):
        out[f"{prefix}post_quant_conv.{leaf}"] = Entry(f"latent.{leaf}")
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The detokeniser in a file, under whichever prefix; None when there is none."""
    for prefix in (key.removesuffix(_MARK) for key in shapes if key.endswith(_MARK)):
        if f"{prefix}decoder.up.0.block.0.conv1.weight" in shapes and f"{prefix}encoder.conv_in.weight" not in shapes:
            try:
                network = _settings(shapes, prefix)
            except (KeyError, IndexError, ValueError):  # keys or sizes that no such network has
                return None
            return (Piece(PartSettings(name="detokeniser", network=network), keys(network, prefix=prefix)),)
    return None


def maps(network: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of any detokeniser; None for another network."""
    return keys(network) if isinstance(network, VqganSettings) else None


def _settings(shapes: Shapes, prefix: str) -> VqganSettings:
    up = f"{prefix}decoder.up"
    widths = widths_of(shapes, up, "block")
    codes, latent = shapes[f"{prefix}{_MARK}"]
    inner = shapes[f"{prefix}post_quant_conv.weight"][0]
    return VqganSettings(
        channels=shapes[f"{prefix}decoder.conv_out.weight"][0],
        widths=widths,
        blocks=count(shapes, f"{up}.0.block", "conv1.weight") - 1,
        attention=tuple(2**n for n in range(len(widths)) if f"{up}.{n}.attn.0.norm.weight" in shapes),
        middle_attention=f"{prefix}decoder.mid.attn_1.norm.weight" in shapes,
        conv_resample=len(widths) == 1 or f"{up}.1.upsample.conv.weight" in shapes,
        codes=codes,
        latent=latent,
        inner=None if inner == latent else inner,
    )
