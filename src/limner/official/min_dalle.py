"""Keys of DALL-E mini and mega as min-dalle released them: `encoder*.pt` and `decoder*.pt`, each one network.

The norms in front of products were trained without gains; files may leave these out, as min-dalle's loader lets them.
"""

from __future__ import annotations

from limner.config import BartDecoderSettings, BartEncoderSettings, NetworkSettings, PartSettings
from limner.networks.bart import BartSettings
from limner.official.layout import Entry
from limner.official.piece import Piece, Shapes

HEAD_WIDTH = 64  # channels a head, in both released sizes; shapes do not show it
_PERCEPTRON = {"norm_in": "ln0", "norm_mid": "ln1", "gate": "fc0", "up": "fc1", "down": "fc2"}


def keys(settings: BartSettings, *, prefix: str = "") -> dict[str, Entry]:
    """Official key -> limner's place for it, for an encoder or a decoder of these settings."""
    out: dict[str, Entry] = {}
    out[f"{prefix}embed_tokens.weight"] = Entry("tokens.weight")
    out[f"{prefix}embed_positions.weight"] = Entry("positions.weight")
    _norm(out, f"{prefix}layernorm_embedding", "norm_in")
    _norm(out, f"{prefix}final_ln", "norm_out", gain=settings.gains)
    for n in range(settings.depth):
        official, limner = f"{prefix}layers.{n}", f"blocks.{n}"
        _attention(out, f"{official}.", "self_attn", f"{limner}.attention", gain=settings.gains)
        if isinstance(settings, BartDecoderSettings):
            _attention(out, f"{official}.", "encoder_attn", f"{limner}.cross", gain=settings.gains)
        for ours, theirs in _PERCEPTRON.items():
            if ours.startswith("norm"):
                _norm(out, f"{official}.glu.{theirs}", f"{limner}.perceptron.{ours}", gain=settings.gains)
            else:
                out[f"{official}.glu.{theirs}.weight"] = Entry(f"{limner}.perceptron.{ours}.weight")
    if isinstance(settings, BartDecoderSettings):
        out[f"{prefix}lm_head.weight"] = Entry("head.weight")
    return out


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The encoder or decoder in a file with these keys and shapes; None when there is neither."""
    rows, positions = shapes.get("embed_tokens.weight", ()), shapes.get("embed_positions.weight", ())
    hidden = shapes.get("layers.0.glu.fc0.weight", ())
    if not len(rows) == len(positions) == len(hidden) == 2:
        return None
    width = rows[1]
    sizes = {
        "rows": rows[0],
        "context": positions[0],
        "width": width,
        "depth": sum(key.endswith(".glu.fc0.weight") for key in shapes),
        "heads": max(1, width // HEAD_WIDTH),
        "hidden": hidden[0],
        "gains": "layers.0.glu.ln0.weight" in shapes,
    }
    network: BartSettings
    try:
        if "lm_head.weight" in shapes:
            codes = min(rows[0] - 1, BartDecoderSettings().codes)  # mega has unused rows behind its codes
            network = BartDecoderSettings(**sizes, codes=codes)
        else:
            network = BartEncoderSettings(**sizes)
    except ValueError:  # sizes that no such network has
        return None
    name = "decoder" if isinstance(network, BartDecoderSettings) else "encoder"
    return (Piece(PartSettings(name=name, network=network), keys(network)),)


def maps(settings: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of a network that was not converted from a file; None when it is not of this family."""
    return keys(settings) if isinstance(settings, BartSettings) else None


def _attention(out: dict[str, Entry], prefix: str, name: str, limner: str, *, gain: bool) -> None:
    _norm(out, f"{prefix}pre_{name}_layer_norm", f"{limner}.norm_in", gain=gain)
    _norm(out, f"{prefix}{name}_layer_norm", f"{limner}.norm_out")
    out[f"{prefix}{name}.q_proj.weight"] = Entry(f"{limner}.q.weight")
    out[f"{prefix}{name}.k_proj.weight"] = Entry(f"{limner}.kv.weight", slot=(0, 2))
    out[f"{prefix}{name}.v_proj.weight"] = Entry(f"{limner}.kv.weight", slot=(1, 2))
    out[f"{prefix}{name}.out_proj.weight"] = Entry(f"{limner}.proj.weight")


def _norm(out: dict[str, Entry], official: str, limner: str, *, gain: bool = True) -> None:
    if gain:
        out[f"{official}.weight"] = Entry(f"{limner}.weight")
    out[f"{official}.bias"] = Entry(f"{limner}.bias")
