"""CLIP's towers: what they see, what they refuse, and what one without the other can do."""

from __future__ import annotations

import pytest
import torch

from limner.config import ClipSettings, NetworkSettings, ResnetSettings, TextTowerSettings, VitSettings, parse
from limner.config.systems import PartSettings
from limner.errors import ConfigError, InputError, ShapeError, UnsupportedError
from limner.networks.building import build
from limner.networks.clip import Clip, TextTower, Vit
from limner.networks.transformer import TransformerBlock

WORDS = TextTowerSettings(rows=12, context=6, width=16, depth=2, heads=2)
VIT = ClipSettings(embed=5, image=VitSettings(side=12, patch=4, width=16, depth=2, heads=2), text=WORDS)
RESNET = ClipSettings(embed=5, image=ResnetSettings(side=64, width=4, depths=(1, 2, 1, 1), heads=2), text=WORDS)


def made(settings: ClipSettings) -> Clip:
    torch.manual_seed(0)
    net = build(settings)
    assert isinstance(net, Clip)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("settings", [VIT, RESNET], ids=["vit", "resnet"])
def test_logits_are_cosines_times_the_learned_scale(settings: ClipSettings) -> None:
    net = made(settings)
    assert settings.image is not None
    x, ids = torch.randn(2, 3, settings.image.side, settings.image.side), torch.tensor([[1, 2, 11, 0, 0, 0]])
    logits = net(x, ids)
    assert logits.shape == (2, 1)
    cosine = torch.nn.functional.cosine_similarity(net.embed_image(x), net.embed_text(ids))
    torch.testing.assert_close(logits[:, 0], cosine / 0.07)


@pytest.mark.parametrize("settings", [VIT, RESNET], ids=["vit", "resnet"])
def test_pictures_of_another_size_are_refused(settings: ClipSettings) -> None:
    with pytest.raises(ShapeError, match=r"picture tower: expected pictures of shape \[B, 3"):
        made(settings).embed_image(torch.zeros(1, 3, 16, 16))


def test_a_text_may_be_shorter_than_the_context_but_not_longer() -> None:
    net = made(VIT)
    padded = torch.tensor([[1, 2, 11, 0, 0, 0]])
    torch.testing.assert_close(net.embed_text(padded[:, :3]), net.embed_text(padded))
    with pytest.raises(ShapeError, match="L at most 6"):
        net.embed_text(torch.zeros(1, 7, dtype=torch.int64))


def test_nothing_behind_the_end_token_matters() -> None:
    net = made(VIT)
    first, second = torch.tensor([[1, 2, 11, 0, 0, 0]]), torch.tensor([[1, 2, 11, 3, 4, 5]])
    torch.testing.assert_close(net.embed_text(first), net.embed_text(second))
    features, _ = net.encode(first)
    assert features.shape == (1, 6, 16)
    assert not torch.allclose(net.encode(second)[0][:, 3:], features[:, 3:])


def test_the_place_of_the_end_may_be_given() -> None:
    torch.manual_seed(0)
    tower = TextTower(WORDS, 5, "gelu")
    ids = torch.tensor([[1, 2, 11, 0, 0, 0]])
    features, vectors = tower(ids, torch.tensor([1]))
    torch.testing.assert_close(vectors, tower.project(features[:, 1]))


def test_a_tower_alone_does_its_half_and_says_what_is_missing() -> None:
    words, pictures = made(VIT.model_copy(update={"image": None})), made(VIT.model_copy(update={"text": None}))
    assert words.embed_text(torch.ones(1, 6, dtype=torch.int64)).shape == (1, 5)
    assert pictures.embed_image(torch.zeros(1, 3, 12, 12)).shape == (1, 5)
    with pytest.raises(UnsupportedError, match="no picture tower"):
        words.embed_image(torch.zeros(1, 3, 12, 12))
    with pytest.raises(UnsupportedError, match="no text tower"):
        pictures.embed_text(torch.ones(1, 6, dtype=torch.int64))
    with pytest.raises(UnsupportedError, match="both towers"):
        words.logits(torch.ones(1, 5), torch.ones(1, 5))


def test_the_two_activations_differ() -> None:
    x, state = torch.randn(1, 3, 12, 12), made(VIT).state_dict()
    exact = made(VIT.model_copy(update={"activation": "gelu"}))
    exact.load_state_dict(state)
    gap = (exact.embed_image(x) - made(VIT).embed_image(x)).abs().max()
    assert 1e-6 < float(gap) < 0.1


def test_a_narrow_trunk_stays_near() -> None:
    x, ids = torch.randn(2, 3, 12, 12), torch.tensor([[1, 2, 11, 0, 0, 0]])
    wide, narrow = made(VIT), made(VIT).cast(torch.bfloat16)
    torch.testing.assert_close(narrow.embed_image(x).float(), wide.embed_image(x), atol=0.05, rtol=0.05)
    torch.testing.assert_close(narrow.embed_text(ids).float(), wide.embed_text(ids), atol=0.05, rtol=0.05)


def test_a_picture_tower_without_steps_takes_none_and_one_with_steps_needs_them() -> None:
    plain = Vit(VitSettings(side=8, patch=4, width=8, depth=1, heads=1), 4, "gelu")
    stepped = Vit(VitSettings(side=8, patch=4, width=8, depth=1, heads=1), 4, "gelu", steps=3)
    x, t = torch.zeros(2, 3, 8, 8), torch.tensor([0, 2])
    assert stepped(x, t).shape == (2, 4)
    assert not torch.allclose(*stepped(x, t))
    with pytest.raises(InputError, match="knows no steps"):
        plain(x, t)
    with pytest.raises(InputError, match="t is missing"):
        stepped(x)


def test_keys_without_bias_are_a_bias_of_zero() -> None:
    torch.manual_seed(0)
    without, with_bias = TransformerBlock(8, 2, key_bias=False), TransformerBlock(8, 2)
    state = without.state_dict()
    of_q, of_v = torch.randn(2, 8)
    state["qkv.bias"] = torch.cat([of_q, of_v])
    without.load_state_dict(state)
    with_bias.load_state_dict(state | {"qkv.bias": torch.cat([of_q, torch.zeros(8), of_v])})
    x = torch.randn(1, 5, 8)
    torch.testing.assert_close(without(x), with_bias(x))


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"kind": "clip", "image": None, "text": None}, "needs a picture tower or a text tower"),
        ({"kind": "clip", "image": {"tower": "vit", "width": 10, "heads": 3}}, "width 10 is not a multiple of heads 3"),
        ({"kind": "clip", "image": {"tower": "vit", "side": 8, "patch": 9}}, "smaller than patch"),
        ({"kind": "clip", "image": {"tower": "resnet", "side": 31}}, "greater than or equal to 32"),
        ({"kind": "clip", "image": {"tower": "resnet", "heads": 3}}, "not a multiple of heads 3"),
        ({"kind": "clip", "image": {"tower": "resnet", "depths": [0, 1, 1, 1]}}, "at least one block"),
        ({"kind": "clip", "text": {"width": 10, "heads": 3}}, "width 10 is not a multiple of heads 3"),
        ({"kind": "noised-clip", "image": None, "text": None}, "needs a picture tower or a text tower"),
        ({"kind": "captioner", "embed": 8}, "text.width 512 must be embed 8"),
    ],
)
def test_settings_that_cannot_be_built_are_refused(tree: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse(PartSettings, {"name": "x", "network": tree}, where="test")


def test_settings_come_back_from_plain_data() -> None:
    settings: NetworkSettings
    for settings in (VIT, RESNET, VIT.model_copy(update={"text": None})):
        part = PartSettings(name="clip", network=settings)
        assert parse(PartSettings, part.model_dump(mode="json"), where="test") == part
