"""The classifier of noisy pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError

from limner.config import ClassifierSettings, UNetSettings
from limner.diffusion import guidance
from limner.errors import ShapeError
from limner.networks.building import build, hollow
from limner.networks.classifier import Classifier, log_likelihood

POOLS = ("attention", "adaptive", "spatial", "spatial_v2")
SMALL: dict[str, Any] = {
    "side": 8,
    "width": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "attention": (2,),
    "head_width": 8,
    "groups": 4,
    "classes": 5,
    "hidden": 12,
}


def net(pool: str, **changes: Any) -> Classifier:
    torch.manual_seed(0)
    made = Classifier(ClassifierSettings(pool=pool, **SMALL | changes)).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # fresh networks end in zeros
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_gives_one_logit_a_class_that_depends_on_picture_and_step(pool: str) -> None:
    classifier = net(pool)
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        logits = classifier(x, torch.tensor([3, 3]))
        later = classifier(x, torch.tensor([900, 900]))
    assert logits.shape == (2, 5)
    assert not torch.allclose(logits[0], logits[1])
    assert not torch.allclose(logits, later)


@pytest.mark.parametrize("pool", POOLS)
def test_the_gradient_that_guides_is_the_slope_of_the_log_likelihood(pool: str) -> None:
    classifier = net(pool).double()
    x, t, classes = torch.randn(1, 3, 8, 8, dtype=torch.float64), torch.tensor([40]), torch.tensor([2])
    gradient = guidance.gradient_of(lambda x, t: log_likelihood(classifier, x, t, classes), scale=3.0)
    slope = gradient(x, t)
    way = torch.randn_like(x)
    with torch.no_grad():
        up, down = (log_likelihood(classifier, x + sign * 1e-5 * way, t, classes) for sign in (1, -1))
    torch.testing.assert_close((slope * way).sum(), 3.0 * (up - down).sum() / 2e-5, rtol=1e-5, atol=1e-8)


def test_the_likelihoods_of_all_classes_add_up_to_one() -> None:
    classifier = net("attention")
    x, t = torch.randn(1, 3, 8, 8).expand(5, -1, -1, -1), torch.full((5,), 7)
    with torch.no_grad():
        torch.testing.assert_close(log_likelihood(classifier, x, t, torch.arange(5)).exp().sum(), torch.tensor(1.0))


def test_the_spatial_pools_take_pictures_of_any_size_and_the_attention_pool_does_not() -> None:
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([1])
    with torch.no_grad():
        assert net("spatial")(x, t).shape == (1, 5)
        with pytest.raises(ShapeError, match="16 positions"):
            net("attention")(x, t)


@pytest.mark.parametrize("pool", ["spatial", "spatial_v2"])
def test_the_spatial_pools_read_the_mean_of_every_block_and_of_the_middle(pool: str) -> None:
    classifier, seen = net(pool), []
    for block in (classifier.stem, *classifier.down, classifier.middle[-1]):
        block.register_forward_hook(lambda _module, _args, out: seen.append(out.mean(dim=(2, 3))))
    with torch.no_grad():
        logits = classifier(torch.randn(2, 3, 8, 8), torch.tensor([3, 500]))
        first, *norm, last = (layer for layer in classifier.head if list(layer.parameters()))
        h = first(torch.cat(seen, dim=1))
        h = torch.nn.functional.silu(norm[0](h)) if norm else h.relu()
        torch.testing.assert_close(logits, last(h))
    assert len(seen) == 2 + len(classifier.down)
    assert bool(norm) == (pool == "spatial_v2")


def test_a_picture_of_other_channels_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[B, 3, H, W\]; got \[1, 4, 8, 8\]"):
        net("adaptive")(torch.randn(1, 4, 8, 8), torch.tensor([1]))


def test_an_attention_pool_without_a_head_width_is_refused() -> None:
    with pytest.raises(ValidationError, match="attention pool needs head_width"):
        ClassifierSettings(head_width=None)


def test_the_trunk_is_the_unet_with_the_same_settings() -> None:
    trunk = ClassifierSettings(**SMALL).trunk
    assert isinstance(trunk, UNetSettings)
    assert (trunk.side, trunk.width, trunk.multipliers, trunk.attention, trunk.groups) == (8, 8, (1, 2), (2,), 4)


def test_a_classifier_is_built_from_its_settings_without_weights_too() -> None:
    settings = ClassifierSettings(**SMALL)
    assert {key: value.shape for key, value in hollow(build, settings).state_dict().items()} == {
        key: value.shape for key, value in build(settings).state_dict().items()
    }
