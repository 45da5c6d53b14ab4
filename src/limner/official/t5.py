"""Keys of T5's encoder in the layout of Hugging Face: a file of `T5EncoderModel`, which may name its table of tokens twice."""

from __future__ import annotations

from collections.abc import Sequence

from limner.config import NetworkSettings, PartSettings, T5Settings
from limner.official.layout import Entry
from limner.official.piece import Piece, Shapes

TABLES = ("shared.weight", "encoder.embed_tokens.weight")  # two names of one tensor; files have one of them or both
_FIRST = "encoder.block.0.layer"
_LAST_OF_BLOCK = ".layer.1.layer_norm.weight"


def keys(settings: T5Settings, *, tables: Sequence[str] = TABLES) -> dict[str, Entry]:
    """Official key -> limner's place for it, for an encoder of these settings."""
    out = {table: Entry("stack.embed_tokens.weight") for table in tables}
    for n in range(settings.depth):
        attention, perceptron = f"block.{n}.layer.0", f"block.{n}.layer.1"
        names = [f"{attention}.SelfAttention.{part}.weight" for part in "qkvo"]
        if n == 0:  # the biases of the first layer serve all
            names.append(f"{attention}.SelfAttention.relative_attention_bias.weight")
        inner = ("wi_0", "wi_1", "wo") if settings.gated else ("wi", "wo")
        names += [f"{perceptron}.DenseReluDense.{part}.weight" for part in inner]
        names += [f"{attention}.layer_norm.weight", f"{perceptron}.layer_norm.weight"]
        out |= {f"encoder.{name}": Entry(f"stack.{name}") for name in names}
    return out | {"encoder.final_layer_norm.weight": Entry("stack.final_layer_norm.weight")}


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """The encoder in a file with these keys and shapes; None when there is none."""
    tables = [table for table in TABLES if len(shapes.get(table, ())) == 2]
    bias = shapes.get(f"{_FIRST}.0.SelfAttention.relative_attention_bias.weight", ())
    q = shapes.get(f"{_FIRST}.0.SelfAttention.q.weight", ())
    gated = f"{_FIRST}.1.DenseReluDense.wi_0.weight" in shapes
    hidden = shapes.get(f"{_FIRST}.1.DenseReluDense.{'wi_0' if gated else 'wi'}.weight", ())
    if not tables or not len(bias) == len(q) == len(hidden) == 2 or not bias[1]:
        return None
    try:
        network = T5Settings(
            rows=shapes[tables[0]][0],
            width=shapes[tables[0]][1],
            depth=sum(key.startswith("encoder.") and key.endswith(_LAST_OF_BLOCK) for key in shapes),
            heads=bias[1],
            head_width=q[0] // bias[1],
            hidden=hidden[0],
            gated=gated,
            buckets=bias[0],
        )
    except ValueError:  # sizes that no such network has
        return None
    return (Piece(PartSettings(name="text", network=network), keys(network, tables=tables)),)


def maps(settings: NetworkSettings) -> dict[str, Entry] | None:
    """The keys of a network that was not converted from a file; None when it is not of this family."""
    return keys(settings) if isinstance(settings, T5Settings) else None
