"""Keys of CLIP: OpenAI's own layout, and the towers as Hugging Face stores them (Karlo's text and image encoders)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from limner.config import ClipSettings, NetworkSettings, PartSettings, ResnetSettings, TextTowerSettings, VitSettings
from limner.errors import UnsupportedError
from limner.official.layout import Constant, Entry, KeyMap
from limner.official.piece import Piece, Shapes

Keys = dict[str, Entry | Constant]

_FACTS = ("input_resolution", "context_length", "vocab_size")  # numbers that the released archives carry beside the weights
_IDS = "embeddings.position_ids"  # older files of Hugging Face count their positions
_BLOCK = {"norm_1": "ln_1", "proj": "attn.out_proj", "norm_2": "ln_2", "fc": "mlp.c_fc", "out": "mlp.c_proj"}
_HUGGING_BLOCK = {
    "norm_1": "layer_norm1",
    "proj": "self_attn.out_proj",
    "norm_2": "layer_norm2",
    "fc": "mlp.fc1",
    "out": "mlp.fc2",
}
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
_BOTTLENECK = {"narrow": ("conv1", "bn1"), "middle": ("conv2", "bn2"), "widen": ("conv3", "bn3")}
_HEADS = ("visual.proj", "visual.attnpool.c_proj.weight")  # one of them ends OpenAI's picture tower


def keys(settings: ClipSettings, *, facts: Sequence[str] = ()) -> Keys:
    """OpenAI's key -> limner's place for it; `facts` are those of the archive's numbers that the file carries."""
    out: Keys = {}
    match settings.image:
        case VitSettings():
            _vit(out, settings.image)
        case ResnetSettings():
            _resnet(out, settings.image)
        case None:
            pass
    if settings.text is not None:
        out["token_embedding.weight"] = Entry("text.tokens.weight")
        out["positional_embedding"] = Entry("text.positions")
        blocks(out, "transformer.resblocks", "text.blocks", settings.text.depth)
        leaf(out, "ln_final", "text.norm")
        out["text_projection"] = Entry("text.project.weight", transposed=True)
    if settings.image is not None and settings.text is not None:
        out["logit_scale"] = Entry("scale")
    numbers = {
        "input_resolution": 0 if settings.image is None else settings.image.side,
        "context_length": 0 if settings.text is None else settings.text.context,
        "vocab_size": 0 if settings.text is None else settings.text.rows,
    }
    return out | {name: Constant(partial(torch.tensor, numbers[name])) for name in facts}


def hugging_face_keys(settings: ClipSettings, *, counted: bool = False) -> Keys:
    """Hugging Face's key -> limner's place for it; `counted` when the file holds the numbers of its positions."""
    out: Keys = {}
    if settings.image is not None:
        if not isinstance(settings.image, VitSettings):
            raise UnsupportedError("clip: Hugging Face's layout has no place for CLIP's ResNets; export it in OpenAI's")
        _hugging_vit(out, settings.image)
        if counted:
            out[f"vision_model.{_IDS}"] = Constant(partial(_numbers, 1 + (settings.image.side // settings.image.patch) ** 2))
    if settings.text is not None:
        _hugging_text(out, settings.text)
        if counted:
            out[f"text_model.{_IDS}"] = Constant(partial(_numbers, settings.text.context))
    if settings.image is not None and settings.text is not None:
        out["logit_scale"] = Entry("scale")
    return out


def maps(network: NetworkSettings) -> KeyMap | None:
    """OpenAI's keys for any CLIP, None for other networks."""
    return keys(network) if isinstance(network, ClipSettings) else None


def hugging_face_maps(network: NetworkSettings) -> KeyMap | None:
    """Hugging Face's keys for a CLIP of transformers, None for other networks."""
    if not isinstance(network, ClipSettings) or isinstance(network.image, ResnetSettings):
        return None
    return hugging_face_keys(network)


def recognise(shapes: Shapes) -> tuple[Piece, ...] | None:
    """OpenAI's CLIP from its shapes, None for other files. Heads are 64 channels wide in all released ones.

    Note: files of open_clip have the same keys; those trained with the exact GELU need a preset that says so.
    """
    if "token_embedding.weight" not in shapes or not any(name in shapes for name in _HEADS):
        return None
    rows, width = shapes["token_embedding.weight"]
    text = TextTowerSettings(
        rows=rows,
        context=shapes["positional_embedding"][0],
        width=width,
        depth=count(shapes, "transformer.resblocks."),
        heads=max(1, width // 64),
    )
    image = _vit_of(shapes) if "visual.proj" in shapes else _resnet_of(shapes)
    own = ClipSettings(embed=shapes["text_projection"][1], image=image, text=text)
    return (Piece(PartSettings(name="clip", network=own), keys(own, facts=[name for name in _FACTS if name in shapes])),)


def recognise_hugging_face(shapes: Shapes) -> tuple[Piece, ...] | None:
    """A tower or both in Hugging Face's layout, None for other files."""
    image = text = None
    embed = 0
    if "visual_projection.weight" in shapes:
        embed, width = shapes["visual_projection.weight"]
        patch = shapes["vision_model.embeddings.patch_embedding.weight"][-1]
        places = shapes["vision_model.embeddings.position_embedding.weight"][0]
        depth = count(shapes, "vision_model.encoder.layers.")
        image = VitSettings(side=side_of(places, patch), patch=patch, width=width, depth=depth, heads=max(1, width // 64))
    if "text_projection.weight" in shapes:
        embed, width = shapes["text_projection.weight"]
        text = TextTowerSettings(
            rows=shapes["text_model.embeddings.token_embedding.weight"][0],
            context=shapes["text_model.embeddings.position_embedding.weight"][0],
            width=width,
            depth=count(shapes, "text_model.encoder.layers."),
            heads=max(1, width // 64),
        )
    if image is None and text is None:
        return None
    name = "clip" if image is not None and text is not None else "image_encoder" if text is None else "text_encoder"
    own = ClipSettings(embed=embed, image=image, text=text)
    counted = any(key.endswith(_IDS) for key in shapes)
    return (Piece(PartSettings(name=name, network=own), hugging_face_keys(own, counted=counted)),)


def leaf(out: Keys, official: str, limner: str) -> None:
    """Weight and bias of one layer that is the same in both."""
    out[f"{official}.weight"] = Entry(f"{limner}.weight")
    out[f"{official}.bias"] = Entry(f"{limner}.bias")


def block(out: Keys, official: str, limner: str) -> None:
    """One transformer block as torch's multi-head attention stores it: rows stacked [q, k, v][head][ch], like limner's."""
    out[f"{official}.attn.in_proj_weight"] = Entry(f"{limner}.qkv.weight")
    out[f"{official}.attn.in_proj_bias"] = Entry(f"{limner}.qkv.bias")
    for ours, theirs in _BLOCK.items():
        leaf(out, f"{official}.{theirs}", f"{limner}.{ours}")


def blocks(out: Keys, official: str, limner: str, depth: int) -> None:
    """A stack of such blocks."""
    for n in range(depth):
        block(out, f"{official}.{n}", f"{limner}.{n}")


def trunk(out: Keys, official: str, limner: str, settings: VitSettings) -> None:
    """A transformer over patches up to its last block, in the layout of OpenAI and open_clip."""
    out[f"{official}.class_embedding"] = Entry(f"{limner}.first")
    out[f"{official}.positional_embedding"] = Entry(f"{limner}.positions")
    out[f"{official}.conv1.weight"] = Entry(f"{limner}.patches.weight")
    if settings.first_norm:
        leaf(out, f"{official}.ln_pre", f"{limner}.norm")
    blocks(out, f"{official}.transformer.resblocks", f"{limner}.blocks", settings.depth)


def count(shapes: Shapes, prefix: str) -> int:
    """How many numbered things stand behind a prefix."""
    return len({key[len(prefix) :].split(".", 1)[0] for key in shapes if key.startswith(prefix)})


def side_of(places: int, patch: int) -> int:
    """Pixels of a square picture with so many patches and one place more."""
    return math.isqrt(places - 1) * patch


def _vit(out: Keys, settings: VitSettings) -> None:
    trunk(out, "visual", "image.trunk", settings)
    leaf(out, "visual.ln_post", "image.norm")
    out["visual.proj"] = Entry("image.project.weight", transposed=True)


def _resnet(out: Keys, settings: ResnetSettings) -> None:
    for n in range(3):
        _convolved(out, f"visual.conv{n + 1}", f"visual.bn{n + 1}", f"image.stem.{n}")
    for level, depth in enumerate(settings.depths):
        for n in range(depth):
            official, limner = f"visual.layer{level + 1}.{n}", f"image.levels.{level}.{n}"
            for ours, (conv, norm) in _BOTTLENECK.items():
                _convolved(out, f"{official}.{conv}", f"{official}.{norm}", f"{limner}.{ours}")
            if n == 0:  # the first block of every level widens, so its shortcut does too
                _convolved(out, f"{official}.downsample.0", f"{official}.downsample.1", f"{limner}.skip")
    out["visual.attnpool.positional_embedding"] = Entry("image.pool.positions")
    _separate(out, "visual.attnpool", "image.pool")
    leaf(out, "visual.attnpool.c_proj", "image.pool.proj")


def _convolved(out: Keys, conv: str, norm: str, limner: str) -> None:
    out[f"{conv}.weight"] = Entry(f"{limner}.conv.weight")
    for name in _NORM:
        out[f"{norm}.{name}"] = Entry(f"{limner}.norm.{name}")


def _separate(out: Keys, official: str, limner: str) -> None:
    """Queries, keys and values that are three layers in the file and one in limner."""
    for n, name in enumerate("qkv"):
        for kind in ("weight", "bias"):
            out[f"{official}.{name}_proj.{kind}"] = Entry(f"{limner}.qkv.{kind}", slot=(n, 3))


def _hugging_vit(out: Keys, settings: VitSettings) -> None:
    out["vision_model.embeddings.class_embedding"] = Entry("image.trunk.first")
    out["vision_model.embeddings.patch_embedding.weight"] = Entry("image.trunk.patches.weight")
    out["vision_model.embeddings.position_embedding.weight"] = Entry("image.trunk.positions")
    leaf(out, "vision_model.pre_layrnorm", "image.trunk.norm")  # so spelt in the files
    _hugging_blocks(out, "vision_model", "image.trunk", settings.depth)
    leaf(out, "vision_model.post_layernorm", "image.norm")
    out["visual_projection.weight"] = Entry("image.project.weight")


def _hugging_text(out: Keys, settings: TextTowerSettings) -> None:
    out["text_model.embeddings.token_embedding.weight"] = Entry("text.tokens.weight")
    out["text_model.embeddings.position_embedding.weight"] = Entry("text.positions")
    _hugging_blocks(out, "text_model", "text", settings.depth)
    leaf(out, "text_model.final_layer_norm", "text.norm")
    out["text_projection.weight"] = Entry("text.project.weight")


def _hugging_blocks(out: Keys, official: str, limner: str, depth: int) -> None:
    for n in range(depth):
        _separate(out, f"{official}.encoder.layers.{n}.self_attn", f"{limner}.blocks.{n}")
        for ours, theirs in _HUGGING_BLOCK.items():
            leaf(out, f"{official}.encoder.layers.{n}.{theirs}", f"{limner}.blocks.{n}.{ours}")


def _numbers(count: int) -> Tensor:
    return torch.arange(count)[None]  # [1 L]


def _vit_of(shapes: Shapes) -> VitSettings:
    width, _, patch, _ = shapes["visual.conv1.weight"]
    return VitSettings(
        side=side_of(shapes["visual.positional_embedding"][0], patch),
        patch=patch,
        width=width,
        depth=count(shapes, "visual.transformer.resblocks."),
        heads=max(1, width // 64),
    )


def _resnet_of(shapes: Shapes) -> ResnetSettings:
    width = shapes["visual.layer1.0.conv1.weight"][0]
    first, second, third, fourth = (count(shapes, f"visual.layer{level}.") for level in (1, 2, 3, 4))
    return ResnetSettings(
        side=side_of(shapes["visual.attnpool.positional_embedding"][0], 32),
        width=width,
        depths=(first, second, third, fourth),
        heads=max(1, width * 32 // 64),
    )
