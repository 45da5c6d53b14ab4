"""Keys of GLIDE's noised CLIP: two released files, one for each tower."""

from __future__ import annotations

from limner.config import NetworkSettings, NoisedClipSettings, PartSettings, TextTowerSettings, VitSettings
from limner.official.clip import count, side_of
from limner.official.layout import Entry, KeyMap
from limner.official.piece import Piece, Shapes

_BLOCK = {"norm_1": "f_attn.ln", "proj": "f_attn.f_c", "norm_2": "f_mlp.ln", "fc": "f_mlp.f_1", "out": "f_mlp.f_2"}


def keys(settings: NoisedClipSettings) -> dict[str, Entry]:
    """Official key -> limner's place for it, for one of the towers.

    Both towers use the same names, so settings with both have no layout of their own: export the towers one by one.
    """
    if settings.image is not None:
        return _image(settings.image, settings.steps)
    return {} if settings.text is None else _text(settings.text)


def maps(network: NetworkSettings) -> KeyMap | None:
    """The keys of a tower alone, None for other networks."""
    alone = isinstance(network, NoisedClipSettings) and (network.image is None) != (network.text is None)
    return keys(network) if alone and isinstance(network, NoisedClipSettings) else None


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """A tower from its shapes, None for other files. Heads are 64 channels wide in both released ones."""
    if "blocks.output.f.w" not in shapes or len(shapes["blocks.output.f.w"]) != 2:
        return None
    embed, width = shapes["blocks.output.f.w"]
    heads, depth = max(1, width // 64), count(shapes, "blocks.block_")
    if "blocks.input.w_voc" in shapes:
        rows, context = shapes["blocks.input.w_voc"][0], shapes["blocks.input.w_pos"][0]
        text = TextTowerSettings(rows=rows, context=context, width=width, depth=depth, heads=heads)
        own = NoisedClipSettings(embed=embed, image=None, text=text, steps=None)
        return (Piece(PartSettings(name="text", network=own), keys(own)),)
    if "blocks.input.patch_proj" in shapes:
        patch = shapes["blocks.input.patch_proj"][-1]
        side = side_of(shapes["blocks.input.w_pos"][0], patch)
        image = VitSettings(side=side, patch=patch, width=width, depth=depth, heads=heads)
        steps = shapes["blocks.input.w_t"][0] if "blocks.input.w_t" in shapes else None
        own = NoisedClipSettings(embed=embed, image=image, text=None, steps=steps)
        return (Piece(PartSettings(name="image", network=own), keys(own)),)
    return None


def _image(settings: VitSettings, steps: int | None) -> dict[str, Entry]:
    out = {
        f"blocks.input.{'pred_state' if steps is None else 'w_t'}": Entry("image.trunk.first"),
        "blocks.input.patch_proj": Entry("image.trunk.patches.weight"),
        "blocks.input.w_pos": Entry("image.trunk.positions"),
        "blocks.input.ln.g": Entry("image.trunk.norm.weight"),
        "blocks.input.ln.b": Entry("image.trunk.norm.bias"),
    }
    for n in range(settings.depth):
        _block(out, f"blocks.block_{n}", f"image.trunk.blocks.{n}")
    _output(out, "image")
    return out


def _text(settings: TextTowerSettings) -> dict[str, Entry]:
    out = {"blocks.input.w_voc": Entry("text.tokens.weight"), "blocks.input.w_pos": Entry("text.positions")}
    for n in range(settings.depth):
        _block(out, f"blocks.block_{n}", f"text.blocks.{n}")
    _output(out, "text")
    return out


def _block(out: dict[str, Entry], official: str, limner: str) -> None:
    for n, name in enumerate("qkv"):
        out[f"{official}.f_attn.f_{name}.w"] = Entry(f"{limner}.qkv.weight", slot=(n, 3))
    for n, name in enumerate("qv"):  # keys have no bias
        out[f"{official}.f_attn.f_{name}.b"] = Entry(f"{limner}.qkv.bias", slot=(n, 2))
    for ours, theirs in _BLOCK.items():
        weight = "g" if "norm" in ours else "w"
        out[f"{official}.{theirs}.{weight}"] = Entry(f"{limner}.{ours}.weight")
        out[f"{official}.{theirs}.b"] = Entry(f"{limner}.{ours}.bias")


def _output(out: dict[str, Entry], tower: str) -> None:
    out["blocks.output.ln.g"] = Entry(f"{tower}.norm.weight")
    out["blocks.output.ln.b"] = Entry(f"{tower}.norm.bias")
    out["blocks.output.f.w"] = Entry(f"{tower}.project.weight")
