"""Convolutions in 8-bit integers stay near those in float32."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limner.config import TextSettings, UNetSettings
from limner.errors import UnsupportedError
from limner.networks import int8
from limner.networks.unet import UNet

CONV_ERROR, NETWORK_ERROR = 0.02, 0.06  # |int8 - float32| / |float32|, of one convolution and of a whole network
needs_units = pytest.mark.skipif(not int8.available(), reason="this processor has no 8-bit units")


def small() -> UNet:
    torch.manual_seed(0)
    text = TextSettings(rows=50, context=8, width=32, depth=1, heads=2)
    settings = UNetSettings(side=16, width=32, multipliers=(1, 2), blocks=1, attention=(2,), head_width=32, text=text)
    net = UNet(settings).eval().requires_grad_(False)
    for parameter in net.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def off(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float((found - truth).norm() / truth.norm())


def test_whole_numbers_stand_for_the_values_within_half_a_step_and_for_zero_exactly() -> None:
    x = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    x[0, 0, 0, 0] = 0
    whole, scale, zero = int8.rounded(x)
    back = (whole.float() - zero) * scale
    assert (back - x).abs().max() <= scale * 0.51
    assert back[0, 0, 0, 0] == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_no_value_wraps_round_whatever_its_size(dtype: torch.dtype) -> None:
    torch.manual_seed(2)
    for power in range(-3, 4):
        for shift in (-3, 0, 3):
            x = ((torch.randn(1, 4, 8, 8) + shift) * 10.0**power).to(dtype)
            whole, scale, zero = int8.rounded(x)
            back = (whole.double() - zero) * scale
            assert (back - x.double()).abs().max() <= scale * 1.01  # one step: a narrow type rounds once more


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0])
def test_a_picture_of_one_value_keeps_it(value: float) -> None:
    whole, scale, zero = int8.rounded(torch.full((1, 1, 2, 2), value))
    torch.testing.assert_close((whole.float() - zero) * scale, torch.full((1, 1, 2, 2), value), rtol=1e-2, atol=0)


@needs_units
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_convolution_agrees_with_its_float32_form(kernel: int, stride: int) -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(48, 40, kernel, stride=stride, padding=kernel // 2).requires_grad_(False)
    x = torch.nn.functional.silu(torch.randn(2, 48, 12, 12)).to(memory_format=torch.channels_last)
    quick = int8.Int8Conv(conv)
    assert off(quick(x), conv(x)) < CONV_ERROR
    assert off(quick(x), conv(x)) < CONV_ERROR, "the second call uses what the first one packed"


@needs_units
def test_a_network_agrees_with_its_float32_form() -> None:
    net = small()
    x, t = torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last), torch.tensor([30, 700])
    cond = net.encode(torch.randint(0, 50, (2, 8)), torch.ones(2, 8, dtype=torch.bool))
    truth = net(x, t, cond)
    quick = int8.quantise(copy.deepcopy(net))
    assert sum(isinstance(module, int8.Int8Conv) for module in quick.modules()) > 10
    assert isinstance(quick.stem, nn.Conv2d)
    assert isinstance(quick.head, nn.Conv2d)
    assert 0 < off(quick(x, t, cond), truth) < NETWORK_ERROR


def test_without_units_it_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8, "available", lambda: False)
    with pytest.raises(UnsupportedError, match="use bfloat16 or float32"):
        int8.quantise(small())
