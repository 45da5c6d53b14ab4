"""What the U-Net promises beside being the official one, which tests/golden proves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.config import TextSettings, UNetSettings, parse
from limner.errors import ConfigError, InputError, ShapeError
from limner.networks.unet import UNet

TEXT = TextSettings(rows=20, context=6, width=32, depth=2, heads=2)
SMALL = UNetSettings(side=16, width=32, multipliers=(1, 2), blocks=1, attention=(1, 2), head_width=16, text=TEXT)


def build(**changes: object) -> UNet:
    """A network whose zeroed layers are filled, so that every part counts."""
    torch.manual_seed(0)
    net = UNet(SMALL.model_copy(update=changes)).eval()
    for p in net.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.1)
    return net


def inputs(net: UNet, side: int = 16) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    x, t = torch.randn(2, 3, side, side), torch.tensor([3, 700])
    if net.text is None:
        return x, t, {}
    mask = torch.arange(6)[None] < torch.tensor([[6], [2]])
    return x, t, net.encode(torch.randint(0, 20, (2, 6)), mask)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"scale_shift": False}, {"text": None, "classes": 5}, {"text": None}])
def test_steps_prepared_together_are_those_prepared_one_by_one(changes: dict[str, object]) -> None:
    net = build(**changes)
    x, _, cond = inputs(net)
    if net.label is not None:
        cond = {"label": torch.tensor([4, 1])}
    levels = torch.tensor([3, 700, 41])
    prepared = net.modulations(levels, cond)
    assert len(prepared) == 3
    for level, modulations in zip(levels, prepared, strict=True):
        alone = net(x, level.expand(2), cond)
        torch.testing.assert_close(net(x, level.expand(2), cond, modulations), alone, rtol=1e-4, atol=1e-5)
    assert not torch.equal(net(x, levels[:2], cond, prepared[0]), net(x, levels[:2], cond, prepared[1]))


@torch.no_grad()
def test_a_fresh_network_predicts_zero() -> None:
    net = UNet(SMALL)
    assert not net(*inputs(net)).any()


@torch.no_grad()
def test_projecting_the_text_once_changes_nothing() -> None:
    net = build()
    x, t, cond = inputs(net)
    assert torch.equal(net(x, t, net.project(cond)), net(x, t, cond))


@torch.no_grad()
def test_projection_drops_the_features_and_keeps_one_entry_a_layer() -> None:
    net = build()
    cond = net.project(inputs(net)[2])
    assert set(cond) == {"pooled", *(f"text.{n}" for n in range(len(net.attentions())))}


@torch.no_grad()
def test_every_word_reaches_the_picture() -> None:
    net = build()
    x, t, _ = inputs(net)
    mask = torch.ones(1, 6, dtype=torch.bool)
    ids = torch.arange(6)[None]
    plain = net(x[:1], t[:1], net.encode(ids, mask))
    for place in range(6):
        other = ids.clone()
        other[0, place] = 19
        assert not torch.allclose(net(x[:1], t[:1], net.encode(other, mask)), plain), place


@torch.no_grad()
def test_what_stands_under_the_padding_does_not_matter() -> None:
    net = build()
    mask = torch.tensor([[True, True, False, False, False, False]])
    one, other = torch.tensor([[1, 2, 3, 3, 3, 3]]), torch.tensor([[1, 2, 9, 8, 7, 6]])
    assert torch.equal(net.encode(one, mask)["text"], net.encode(other, mask)["text"])


@torch.no_grad()
@pytest.mark.parametrize("patch", [2, 4])
def test_patches_keep_the_size_of_the_picture(patch: int) -> None:
    net = build(patch=patch)
    x, t, cond = inputs(net)
    assert net(x, t, cond).shape == (2, 6, 16, 16)


@torch.no_grad()
def test_without_attention_a_crop_far_from_the_border_is_drawn_as_in_the_whole() -> None:
    # One level: the reach of 3x3 convolutions is small enough to see that nothing else mixes pixels. Group norms see
    # the whole picture, so they are made identity by a constant picture.
    net = build(attention=(), middle_attention=False, multipliers=(1,), text=None, low_res=True)
    x, low = torch.full((1, 3, 64, 64), 0.3), torch.full((1, 3, 16, 16), -0.2)
    t = torch.tensor([5])
    whole = net(x, t, {"low_res": low})
    crop = net(x[..., :48, :48], t, {"low_res": low[..., :12, :12]})
    assert len(net.attentions()) == 0
    torch.testing.assert_close(whole[..., 30, 30], crop[..., 30, 30], atol=0.05, rtol=0.05)


@torch.no_grad()
def test_the_low_resolution_picture_is_seen() -> None:
    net = build(low_res=True)
    x, t, cond = inputs(net)
    low = torch.randn(2, 3, 4, 4)
    assert not torch.allclose(net(x, t, cond | {"low_res": low}), net(x, t, cond | {"low_res": -low}))


@torch.no_grad()
def test_unknown_pixels_of_the_inpainting_picture_are_not_seen() -> None:
    net = build(inpaint=True)
    x, t, cond = inputs(net)
    known = torch.zeros(2, 1, 16, 16)
    known[..., :8] = 1
    image = torch.randn(2, 3, 16, 16)
    other = torch.where(known.bool(), image, torch.randn_like(image))
    assert torch.equal(net(x, t, cond | {"image": image, "known": known}), net(x, t, cond | {"image": other, "known": known}))
    assert torch.equal(net(x, t, cond), net(x, t, cond | {"image": image, "known": torch.zeros_like(known)}))


@torch.no_grad()
def test_the_label_is_seen() -> None:
    net = build(text=None, classes=4)
    x, t, _ = inputs(net)
    first, second = (net(x, t, {"label": torch.full((2,), label)}) for label in (0, 3))
    assert not torch.allclose(first, second)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_narrow_trunk_agrees_with_float32_and_answers_in_float32(dtype: torch.dtype) -> None:
    net = build()
    x, t, cond = inputs(net)
    exact = net(x, t, cond)
    narrow = net.cast(dtype)
    out = narrow(x, t, narrow.encode(torch.randint(0, 20, (2, 6)), torch.zeros(2, 6, dtype=torch.bool)))
    assert out.dtype == torch.float32
    close = narrow(x, t, cond)
    assert (close - exact).pow(2).mean().sqrt() < 0.03 * exact.std()


def test_the_parts_that_stay_wide_are_those_of_the_original() -> None:
    net = build().cast(torch.bfloat16)
    narrow = {name for name, p in net.named_parameters() if p.dtype == torch.bfloat16}
    assert all(name.startswith(("stem", "down", "middle", "up", "text")) for name in narrow)
    assert not any(part in name for name in narrow for part in ("norm", ".emb.", "positions", "padding", "tokens"))
    assert "text.pool.weight" in narrow
    assert "middle.1.qkv.weight" in narrow


def test_gradients_agree_between_the_explicit_and_the_fused_attention() -> None:
    from limner.networks.layers import attend

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 5, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    ours = attend(q, k, v)
    torch.testing.assert_close(ours, fused)
    for mine, theirs in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)), torch.autograd.grad(fused.square().sum(), (q, k, v)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@torch.no_grad()
def test_words_from_outside_reach_the_picture_unless_they_are_pads() -> None:
    net = build(text=None, words=12)
    x, t, _ = inputs(net)
    mask = torch.tensor([[True, True, False], [True, True, False]])
    cond = {"text": torch.randn(2, 3, 12), "pooled": torch.randn(2, 128), "mask": mask}
    pad, word = cond["text"].clone(), cond["text"].clone()
    pad[:, 2] += 5
    word[:, 1] += 5
    out = net(x, t, cond)
    assert torch.equal(out, net(x, t, cond | {"text": pad}))
    assert not torch.allclose(out, net(x, t, cond | {"text": word}))
    assert not torch.allclose(out, net(x, t, {name: cond[name] for name in ("text", "pooled")}))
    assert torch.equal(out, net(x, t, net.project(cond)))


@torch.no_grad()
def test_a_bicubic_upsampler_sees_the_picture_enlarged_without_aliasing() -> None:
    net = build(text=None, attention=(), low_res=True, enlarge="bicubic")
    x, t, _ = inputs(net)
    low = torch.randn(2, 3, 4, 4)
    large = torch.nn.functional.interpolate(low, 16, mode="bicubic", align_corners=False, antialias=True)
    torch.testing.assert_close(net(x, t, {"low_res": low}), net(x, t, {"low_res": large}), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(net(x, t, {"low_res": low}), build(text=None, attention=(), low_res=True)(x, t, {"low_res": low}))


def test_gradients_of_masked_attention_agree_too() -> None:
    from limner.networks.layers import attend

    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 2, 5, 8, dtype=torch.float64, requires_grad=True) for _ in range(3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    fused = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    ours = attend(q, k, v, mask)
    torch.testing.assert_close(ours, fused)
    for mine, theirs in zip(
        torch.autograd.grad(ours.square().sum(), (q, k, v)), torch.autograd.grad(fused.square().sum(), (q, k, v)), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


def test_a_text_is_encoded_inside_or_outside() -> None:
    with pytest.raises(ConfigError, match="set one of them"):
        parse(UNetSettings, SMALL.model_dump() | {"words": 8}, where="x")


def test_a_missing_condition_is_named() -> None:
    net = build()
    with pytest.raises(InputError, match="'pooled' is missing"):
        net(torch.zeros(1, 3, 16, 16), torch.zeros(1), {})
    bare = build(text=None, low_res=True)
    with pytest.raises(InputError, match="'low_res' is missing"):
        bare(torch.zeros(1, 3, 16, 16), torch.zeros(1))


def test_text_for_a_network_without_text_is_refused() -> None:
    net = build(text=None)
    with pytest.raises(InputError, match="without text"):
        net.encode(torch.zeros(1, 6, dtype=torch.int64), None)


@pytest.mark.parametrize("shape", [(3, 16, 16), (1, 4, 16, 16)])
def test_a_picture_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    net = build(text=None)
    with pytest.raises(ShapeError, match=r"expected x of shape \[B, 3, H, W\]"):
        net(torch.zeros(shape), torch.zeros(1))


def test_ids_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[B, 6\]"):
        build().encode(torch.zeros(1, 5, dtype=torch.int64), None)


def test_a_latent_is_enlarged_to_the_picture_and_steps_are_rows_of_a_table() -> None:
    torch.manual_seed(0)
    settings = UNetSettings(
        side=8, width=32, multipliers=(1, 1), blocks=1, attention=(), middle_attention=False, latent=2, time_rows=5
    )
    net = UNet(settings).eval().requires_grad_(False)
    x, latent = torch.randn(2, 3, 8, 8), torch.randn(2, 2, 2, 2)
    for weight in net.parameters():  # those that begin at zero would hide everything
        weight.normal_(std=0.1)
    out = net(x, torch.tensor([1, 4]), {"latent": latent})
    assert out.shape == (2, 6, 8, 8)
    larger = latent.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    assert torch.equal(out, net(x, torch.tensor([1, 4]), {"latent": larger}))
    assert net.table is not None
    net.table.weight[4] += 1
    again = net(x, torch.tensor([1, 4]), {"latent": latent})
    assert torch.equal(again[0], out[0])
    assert not torch.equal(again[1], out[1])
    with pytest.raises(InputError, match="'latent' is missing"):
        net(x, torch.tensor([1, 4]))
