"""Keys of CoCa as open_clip stores it."""

from __future__ import annotations

from limner.config import CaptionerSettings, NetworkSettings, PartSettings, TextTowerSettings, VitSettings
from limner.official.clip import Keys, block, blocks, count, leaf, side_of, trunk
from limner.official.layout import Entry, KeyMap
from limner.official.piece import Piece, Shapes

_CROSS = {
    "norm_1": "ln_1",
    "norm_context": "ln_1_kv",
    "attention.proj": "attn.out_proj",
    "norm_2": "ln_2",
    "fc": "mlp.c_fc",
    "out": "mlp.c_proj",
}
_NEEDED = ("text.token_embedding.weight", "visual.attn_pool.query", "text_decoder.text_projection")


def keys(settings: CaptionerSettings) -> Keys:
    """Official key -> limner's place for it."""
    out: Keys = {"logit_scale": Entry("scale")}
    _picture(out, settings)
    out["text.token_embedding.weight"] = Entry("text.tokens.weight")
    out["text.positional_embedding"] = Entry("text.positions")
    if settings.text_token:
        out["text.cls_emb"] = Entry("text.last")
    blocks(out, "text.transformer.resblocks", "text.blocks", settings.text.depth)
    leaf(out, "text.ln_final", "text.norm")
    out["text.text_projection"] = Entry("text.project.weight", transposed=True)
    for n in range(settings.depth):
        block(out, f"text_decoder.resblocks.{n}", f"decoder.blocks.{n}")
        official, limner = f"text_decoder.cross_attn.{n}", f"decoder.cross.{n}"
        out[f"{official}.attn.in_proj_weight"] = Entry(f"{limner}.attention.qkv")
        out[f"{official}.attn.in_proj_bias"] = Entry(f"{limner}.attention.bias")
        for ours, theirs in _CROSS.items():
            leaf(out, f"{official}.{theirs}", f"{limner}.{ours}")
    leaf(out, "text_decoder.ln_final", "decoder.norm")
    out["text_decoder.text_projection"] = Entry("decoder.head.weight", transposed=True)
    return out


def maps(network: NetworkSettings) -> KeyMap | None:
    """The keys of a captioner, None for other networks."""
    return keys(network) if isinstance(network, CaptionerSettings) else None


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """CoCa from its shapes, None for other files. Heads are 64 channels wide, but the pool has 8, in both released ones."""
    if not all(name in shapes for name in _NEEDED):
        return None
    picture, _, patch, _ = shapes["visual.conv1.weight"]
    rows, width = shapes["text.token_embedding.weight"]
    queries, embed = shapes["visual.attn_pool.query"]
    text_token = "text.cls_emb" in shapes
    own = CaptionerSettings(
        embed=embed,
        image=VitSettings(
            side=side_of(shapes["visual.positional_embedding"][0], patch),
            patch=patch,
            width=picture,
            depth=count(shapes, "visual.transformer.resblocks."),
            heads=max(1, picture // 64),
            first_norm="visual.ln_pre.weight" in shapes,
        ),
        queries=queries,
        text=TextTowerSettings(
            rows=rows,
            context=shapes["text.positional_embedding"][0] - text_token,
            width=width,
            depth=count(shapes, "text.transformer.resblocks."),
            heads=max(1, width // 64),
        ),
        text_token=text_token,
        depth=count(shapes, "text_decoder.resblocks."),
        heads=max(1, width // 64),
    )
    return (Piece(PartSettings(name="captioner", network=own), keys(own)),)


def _picture(out: Keys, settings: CaptionerSettings) -> None:
    trunk(out, "visual", "image.trunk", settings.image)
    out["visual.attn_pool.query"] = Entry("image.pool.queries")
    leaf(out, "visual.attn_pool.ln_q", "image.pool.norm_queries")
    leaf(out, "visual.attn_pool.ln_k", "image.pool.norm_context")
    official, limner = "visual.attn_pool.attn", "image.pool.attention"
    if settings.image.width == settings.embed:
        out[f"{official}.in_proj_weight"] = Entry(f"{limner}.qkv")
    else:
        out[f"{official}.q_proj_weight"] = Entry(f"{limner}.q")
        out[f"{official}.k_proj_weight"] = Entry(f"{limner}.kv", slot=(0, 2))
        out[f"{official}.v_proj_weight"] = Entry(f"{limner}.kv", slot=(1, 2))
    out[f"{official}.in_proj_bias"] = Entry(f"{limner}.bias")
    leaf(out, f"{official}.out_proj", f"{limner}.proj")
    leaf(out, "visual.ln_post", "image.norm")
    out["visual.proj"] = Entry("image.project.weight", transposed=True)
