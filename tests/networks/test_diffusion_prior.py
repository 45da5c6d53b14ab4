"""The diffusion prior: what it sees, what it does not, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.config import PriorSettings, parse
from limner.errors import ConfigError, InputError, ShapeError
from limner.networks.diffusion_prior import DiffusionPrior, allowed_pairs

TINY = PriorSettings(clip=6, words=5, context=4, width=16, depth=2, heads=2)


def prior(settings: PriorSettings = TINY) -> DiffusionPrior:
    torch.manual_seed(0)
    return DiffusionPrior(settings).eval().requires_grad_(False)


def given(batch: int = 2) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    rng = torch.Generator().manual_seed(1)
    cond = {"text": torch.randn(batch, 4, 5, generator=rng), "pooled": torch.randn(batch, 6, generator=rng)}
    return torch.randn(batch, 6, generator=rng), torch.arange(batch) * 100, cond


def test_it_answers_with_an_embedding_that_depends_on_all_it_is_given() -> None:
    net = prior()
    x, t, cond = given()
    base = net(x, t, cond)
    assert base.shape == (2, 6)
    for other in (
        net(x + 1, t, cond),
        net(x, t + 1, cond),
        net(x, t, cond | {"pooled": cond["pooled"] + 1}),
        net(x, t, cond | {"text": cond["text"] + 1}),
    ):
        assert float((other - base).abs().max()) > 1e-4


def test_pads_are_not_seen() -> None:
    net = prior()
    x, t, cond = given()
    mask = torch.tensor([[True, True, False, False], [True, True, True, True]])
    noise = torch.randn(2, 4, 5) * ~mask[..., None]
    torch.testing.assert_close(
        net(x, t, cond | {"mask": mask}), net(x, t, cond | {"mask": mask, "text": cond["text"] + 10 * noise})
    )


def test_a_text_of_pads_alone_is_no_text() -> None:
    net = prior()
    x, t, cond = given()
    nothing = torch.zeros(2, 4, dtype=torch.bool)
    out = net(x, t, cond | {"mask": nothing})
    assert bool(out.isfinite().all())
    torch.testing.assert_close(out, net(x, t, cond | {"mask": nothing, "text": cond["text"] + 1}))


def test_without_a_mask_every_token_is_a_word() -> None:
    net = prior()
    x, t, cond = given()
    all_words = torch.ones(2, 4, dtype=torch.bool)
    assert torch.equal(net(x, t, cond), net(x, t, cond | {"mask": all_words}))


def test_projecting_the_text_once_changes_nothing() -> None:
    net = prior(TINY.model_copy(update={"learned_padding": True, "first_norm": True}))
    x, t, cond = given()
    cond["mask"] = torch.tensor([[True, True, False, False], [True, True, True, True]])
    assert torch.equal(net(x, t, cond), net(x, t, net.project(cond)))


def test_learned_padding_has_a_vector_for_every_position() -> None:
    net = prior(TINY.model_copy(update={"learned_padding": True}))
    assert net.padding is not None
    assert net.padding.shape == net.positions.shape


def test_a_token_sees_those_before_it_and_itself_but_no_pad() -> None:
    allowed = allowed_pairs(torch.tensor([[True, False, True]]))
    assert allowed[0].tolist() == [[True, False, False], [True, False, False], [True, False, True]]


def test_a_prior_may_do_without_encoded_text() -> None:
    net = prior(PriorSettings(clip=6, words=None, context=0, width=16, depth=1, heads=2))
    x, t, cond = given()
    assert net(x, t, {"pooled": cond["pooled"]}).shape == (2, 6)


def test_in_float64_it_computes_in_float64() -> None:
    net = prior().double()
    x, t, cond = given()
    wide = net(x.double(), t, {name: value.double() for name, value in cond.items()})
    assert wide.dtype == torch.float64
    torch.testing.assert_close(wide.float(), prior()(x, t, cond), atol=1e-5, rtol=1e-5)


def test_what_is_missing_or_too_long_is_said() -> None:
    net = prior()
    x, t, cond = given()
    with pytest.raises(InputError, match="'pooled' is missing"):
        net(x, t, {"text": cond["text"]})
    with pytest.raises(ShapeError, match=r"text of shape \[B, 4, W\]; got \[2, 3, 5\]"):
        net(x, t, cond | {"text": cond["text"][:, :3]})


def test_settings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ConfigError, match="width 10 is not a multiple of heads 4"):
        parse(PriorSettings, {"width": 10, "heads": 4}, where="x")
    with pytest.raises(ConfigError, match="words None and context 77"):
        parse(PriorSettings, {"words": None}, where="x")
