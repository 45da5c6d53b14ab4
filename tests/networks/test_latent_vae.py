"""The KL autoencoder beside its golden vectors: sizes, scaling, the Gaussian, refusals."""

from __future__ import annotations

import math

import pytest
import torch

from limner.config import LatentVAESettings
from limner.errors import InputError, ShapeError
from limner.networks.latent_vae import LatentVAE, Posterior

SMALL = LatentVAESettings(widths=(8, 8, 16), blocks=1, groups=4)


def make(settings: LatentVAESettings) -> LatentVAE:
    torch.manual_seed(0)
    return LatentVAE(settings).eval().requires_grad_(False)


def test_a_picture_becomes_a_latent_and_comes_back() -> None:
    net = make(SMALL)
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    posterior = net.encode(x)
    assert posterior.mean.shape == posterior.log_variance.shape == (2, 4, 4, 6)
    assert net.decode(posterior.mean).shape == x.shape
    back, again = net(x, torch.zeros(2, 4, 4, 6))
    assert torch.equal(again.mean, posterior.mean)
    assert torch.equal(back, net.decode(posterior.mean))


def test_plain_resampling_and_no_convolutions_around_the_latent_keep_the_sizes() -> None:
    bare = {"conv_resample": False, "middle_attention": False, "moments_conv": False, "latent_conv": False}
    net = make(SMALL.model_copy(update=bare))
    x = torch.rand(1, 3, 16, 16)
    assert net.encode(x).mean.shape == (1, 4, 4, 4)
    assert net.decode(net.encode(x).mean).shape == x.shape


def test_attention_follows_every_block_of_its_levels() -> None:
    net = make(SMALL.model_copy(update={"attention": (2,)}))
    assert [len(level.attentions) for level in net.encoder.down] == [0, 1, 0]
    assert net.decoder is not None
    assert [len(level.attentions) for level in net.decoder.up] == [0, 2, 0]
    assert net.decode(net.encode(torch.rand(1, 3, 8, 8)).mean).shape == (1, 3, 8, 8)


def test_halving_pads_on_the_right_and_at_the_bottom_alone() -> None:
    net = make(SMALL)
    x = torch.zeros(1, 8, 4, 4)
    x[..., 0, 0] = 1
    halve = net.encoder.down[0].resample
    assert halve is not None
    conv = halve.conv
    torch.testing.assert_close(halve(x)[0, :, 0, 0], conv.weight[:, :, 0, 0].sum(1) + conv.bias)


def test_log_variances_are_clamped() -> None:
    net = make(SMALL)
    with torch.no_grad():
        net.encoder.moments.bias.fill_(1e3)
    assert bool((net.encode(torch.rand(1, 3, 8, 8)).log_variance == 20).all())


def test_a_sample_is_the_mean_moved_by_the_noise_and_the_kl_is_that_of_gaussians() -> None:
    posterior = Posterior(torch.full((2, 1, 1, 3), 0.5), torch.full((2, 1, 1, 3), math.log(4)))
    assert torch.equal(posterior.sample(torch.ones(2, 1, 1, 3)), torch.full((2, 1, 1, 3), 2.5))
    normal = torch.distributions.Normal(0.5, 2.0)
    expected = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)) * 3
    torch.testing.assert_close(posterior.kl(), expected.expand(2))


def test_scaling_is_undone() -> None:
    net = make(SMALL)
    z = torch.randn(1, 4, 2, 2)
    torch.testing.assert_close(net.scaled(z), z * 0.18215)
    torch.testing.assert_close(net.unscaled(net.scaled(z)), z)


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    net = make(SMALL)
    with pytest.raises(ShapeError, match=r"pictures \[B, 3, H, W\]; got \[1, 4, 8, 8\]"):
        net.encode(torch.rand(1, 4, 8, 8))
    with pytest.raises(ShapeError, match=r"latents \[B, 4, h, w\]"):
        net.decode(torch.rand(1, 3, 8, 8))
    with pytest.raises(InputError, match="encoder alone"):
        make(SMALL.model_copy(update={"decoder": False})).decode(torch.rand(1, 4, 2, 2))
