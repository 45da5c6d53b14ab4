"""The key maps of CLIP in both layouts, proven against the key lists of every released file without their weights."""

from __future__ import annotations

import pytest
import torch

from limner.config import ClipSettings, ResnetSettings, TextTowerSettings, UNetSettings, VitSettings
from limner.errors import UnsupportedError
from limner.networks.clip import Clip
from limner.official import clip, layout
from limner.official.families import recognise
from tests.official.released import fits, released, survives

WORDS = TextTowerSettings(rows=9, context=4, width=64, depth=1, heads=1)
VIT = ClipSettings(embed=6, image=VitSettings(side=8, patch=4, width=64, depth=2, heads=1), text=WORDS)
RESNET = ClipSettings(embed=6, image=ResnetSettings(side=32, width=4, depths=(1, 2, 1, 1), heads=2), text=WORDS)
UNET = UNetSettings()
WORDS_ALONE = VIT.model_copy(update={"image": None})
PICTURES_ALONE = VIT.model_copy(update={"text": None})


def vit(side: int, patch: int, width: int, depth: int, words: int) -> ClipSettings:
    text = TextTowerSettings(width=words, heads=words // 64)
    image = VitSettings(side=side, patch=patch, width=width, depth=depth, heads=width // 64)
    return ClipSettings(embed=words, image=image, text=text)


def resnet(side: int, width: int, depths: tuple[int, int, int, int], words: int, embed: int) -> ClipSettings:
    text = TextTowerSettings(width=words, heads=words // 64)
    return ClipSettings(embed=embed, image=ResnetSettings(side=side, width=width, depths=depths, heads=width // 2), text=text)


LARGE = vit(224, 14, 1024, 24, 768)
OPENAI = {
    "clip_RN50": resnet(224, 64, (3, 4, 6, 3), 512, 1024),
    "clip_RN101": resnet(224, 64, (3, 4, 23, 3), 512, 512),
    "clip_RN50x4": resnet(288, 80, (4, 6, 10, 6), 640, 640),
    "clip_RN50x16": resnet(384, 96, (6, 8, 18, 8), 768, 768),
    "clip_RN50x64": resnet(448, 128, (3, 15, 36, 10), 1024, 1024),
    "clip_ViT-B-32": vit(224, 32, 768, 12, 512),
    "clip_ViT-B-16": vit(224, 16, 768, 12, 512),
    "clip_ViT-L-14": LARGE,
    "clip_ViT-L-14-336px": vit(336, 14, 1024, 24, 768),
}
HUGGING_FACE = {
    "karlo_text_encoder_clip_vit_l14_text": ("text_encoder", LARGE.model_copy(update={"image": None})),
    "karlo_image_encoder_clip_vit_l14_vision": ("image_encoder", LARGE.model_copy(update={"text": None})),
}


@pytest.mark.parametrize("name", OPENAI)
def test_a_released_file_is_recognised_with_every_key_and_shape(name: str) -> None:
    file = released(name)
    family, pieces = recognise(file.shapes)
    assert family.name == "clip"
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [("clip", OPENAI[name])]
    assert fits(pieces, file)


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_a_tower_of_hugging_face_is_recognised_alone(name: str) -> None:
    file = released(name)
    family, pieces = recognise(file.shapes)
    assert family.name == "clip-diffusers"
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [HUGGING_FACE[name]]
    assert fits(pieces, file)


@pytest.mark.parametrize("settings", [VIT, RESNET, WORDS_ALONE, PICTURES_ALONE], ids=["vit", "resnet", "text", "image"])
def test_weights_survive_the_way_to_the_official_layout_and_back(settings: ClipSettings) -> None:
    assert survives(Clip(settings), clip.keys(settings))


@pytest.mark.parametrize("settings", [VIT, WORDS_ALONE, PICTURES_ALONE], ids=["both", "text", "image"])
def test_weights_survive_the_way_to_hugging_face_and_back(settings: ClipSettings) -> None:
    assert survives(Clip(settings), clip.hugging_face_keys(settings, counted=True))


def test_both_layouts_hold_the_same_network() -> None:
    state = Clip(VIT).state_dict()
    theirs = layout.to_official(state, clip.hugging_face_keys(VIT), where="x")
    fused = layout.to_official(state, clip.keys(VIT), where="x")["transformer.resblocks.0.attn.in_proj_weight"]
    rows = [theirs[f"text_model.encoder.layers.0.self_attn.{name}_proj.weight"] for name in "qkv"]
    assert torch.equal(torch.cat(rows), fused)


def test_the_numbers_in_an_archive_are_read_over_and_written_again() -> None:
    numbers = {"input_resolution": (), "context_length": (), "vocab_size": ()}
    plain = layout.to_official(Clip(VIT).state_dict(), clip.keys(VIT), where="x")
    shapes = {key: tuple(value.shape) for key, value in plain.items()} | numbers
    _, (piece,) = recognise(shapes)
    written = layout.to_official(Clip(VIT).state_dict(), piece.keys, where="x")
    assert {name: int(written[name]) for name in numbers} == {"input_resolution": 8, "context_length": 4, "vocab_size": 9}


def test_counted_positions_are_read_over_and_written_again() -> None:
    plain = layout.to_official(Clip(VIT).state_dict(), clip.hugging_face_keys(VIT, counted=True), where="x")
    _, (piece,) = recognise({key: tuple(value.shape) for key, value in plain.items()})
    assert piece.settings.network == VIT
    written = layout.to_official(Clip(VIT).state_dict(), piece.keys, where="x")
    assert written["vision_model.embeddings.position_ids"].tolist() == [[0, 1, 2, 3, 4]]
    assert written["text_model.embeddings.position_ids"].tolist() == [[0, 1, 2, 3]]


def test_what_hugging_face_has_no_place_for_is_refused() -> None:
    assert clip.hugging_face_maps(RESNET) is None
    with pytest.raises(UnsupportedError, match="ResNets"):
        clip.hugging_face_keys(RESNET)


def test_the_keys_for_export_are_those_of_the_settings() -> None:
    assert clip.maps(VIT) == clip.keys(VIT)
    assert clip.hugging_face_maps(VIT) == clip.hugging_face_keys(VIT)
    assert clip.maps(UNET) is None
    assert clip.hugging_face_maps(UNET) is None


@pytest.mark.parametrize(
    "shapes", [{}, {"token_embedding.weight": (9, 8)}, {"visual.proj": (8, 8)}], ids=["none", "text", "proj"]
)
def test_other_files_are_not_taken_for_clip(shapes: dict[str, tuple[int, ...]]) -> None:
    assert clip.recognise(shapes) is None
    assert clip.recognise_hugging_face(shapes) is None


def test_hugging_face_computes_the_same_with_the_same_weights() -> None:
    theirs = pytest.importorskip("transformers", reason="compares with transformers, an extra")
    torch.manual_seed(0)
    each = {"hidden_size": 64, "intermediate_size": 256, "projection_dim": 6, "num_attention_heads": 1}
    text = theirs.CLIPTextConfig(
        vocab_size=9, max_position_embeddings=4, num_hidden_layers=1, bos_token_id=7, eos_token_id=8, pad_token_id=0, **each
    )
    image = theirs.CLIPVisionConfig(image_size=8, patch_size=4, num_hidden_layers=2, **each)
    x, ids = torch.randn(2, 3, 8, 8), torch.tensor([[7, 2, 8, 0], [7, 2, 3, 8]])
    words, pictures = theirs.CLIPTextModelWithProjection(text).eval(), theirs.CLIPVisionModelWithProjection(image).eval()
    nets = []
    for model, own in ((words, WORDS_ALONE), (pictures, PICTURES_ALONE)):
        state = layout.to_limner(model.state_dict(), clip.hugging_face_keys(own), where="x")
        net = Clip(own)
        net.load_state_dict(state)
        nets.append(net)
    with torch.no_grad():
        features, vectors = nets[0].encode(ids)
        torch.testing.assert_close(words(ids).last_hidden_state, features)
        torch.testing.assert_close(words(ids).text_embeds, vectors)
        torch.testing.assert_close(pictures(x).image_embeds, nets[1].embed_image(x))
