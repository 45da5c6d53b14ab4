"""Convolutions with packed weights say what the plain ones say."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from limner.networks import packed
from limner.networks.packed import PackedConv
from tests.networks.test_int8 import small

needs_kernels = pytest.mark.skipif(not packed.available(), reason="this build of torch has no packed convolution")


@needs_kernels
@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_a_packed_convolution_agrees_with_the_plain_one_at_any_size(kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(24, 40, kernel, stride=stride, padding=kernel // 2).requires_grad_(False)
    conv = conv.to(torch.bfloat16).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    quick = PackedConv(conv)
    for side in (8, 16, 5):
        x = torch.randn(2, 24, side, side, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
        torch.testing.assert_close(quick(x), conv(x), rtol=2e-2, atol=2e-2)


@needs_kernels
def test_a_packed_network_agrees_and_holds_its_weights_once() -> None:
    net = small().cast(torch.bfloat16)
    x, t = torch.randn(2, 3, 16, 16).to(memory_format=torch.channels_last), torch.tensor([30, 700])
    cond = net.encode(torch.randint(0, 50, (2, 8)), torch.ones(2, 8, dtype=torch.bool))
    quick = packed.pack(copy.deepcopy(net))
    torch.testing.assert_close(quick(x, t, cond), net(x, t, cond), rtol=0.05, atol=0.05)
    found = [module for module in quick.modules() if isinstance(module, PackedConv)]
    assert len(found) > 10
    assert all(conv.plain is None for conv in found)


def test_a_network_in_float32_is_left_as_it_is() -> None:
    net = packed.pack(small())
    assert not any(isinstance(module, PackedConv) for module in net.modules())


def test_without_the_kernels_the_network_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "available", lambda: False)
    net = packed.pack(small().cast(torch.bfloat16))
    assert not any(isinstance(module, PackedConv) for module in net.modules())
