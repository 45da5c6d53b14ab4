"""The geometry of embeddings, on vectors whose answers are known."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limner.diffusion import embeddings
from limner.errors import InputError, ShapeError


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_a_quarter_of_a_right_angle_is_where_trigonometry_puts_it() -> None:
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    angle = torch.tensor(torch.pi / 8)
    torch.testing.assert_close(embeddings.slerp(a, b, 0.25), torch.stack([angle.cos(), angle.sin()]))


def test_lengths_are_mixed_along() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 4.0])
    half = embeddings.slerp(a, b, 0.5)
    torch.testing.assert_close(half, 0.5**0.5 * torch.tensor([2.0, 4.0]))


@given(st.floats(0, 1))
def test_between_unit_vectors_all_are_of_unit_length(share: float) -> None:
    a, b = embeddings.unit(draw(3, 8)), embeddings.unit(draw(6, 8)[3:])
    torch.testing.assert_close(embeddings.slerp(a, b, share).norm(dim=-1), torch.ones(3))


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_on_one_line_the_way_is_straight(sign: float) -> None:
    a = draw(2, 4)
    torch.testing.assert_close(embeddings.slerp(a, 3 * sign * a, 0.25), a * (0.75 + 0.75 * sign))


def test_every_vector_may_have_its_own_share() -> None:
    a, b = draw(2, 4), draw(4, 4)[2:]
    both = embeddings.slerp(a, b, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(both, torch.stack([a[0], b[1]]))


def test_a_text_without_a_counterpart_is_its_own_direction() -> None:
    z = draw(2, 4)
    torch.testing.assert_close(embeddings.text_direction(z), embeddings.unit(z))


def test_the_direction_between_texts_ignores_how_long_they_are() -> None:
    z, z_0 = draw(2, 4), draw(4, 4)[2:]
    torch.testing.assert_close(embeddings.text_direction(5 * z, z_0), embeddings.text_direction(z, 7 * z_0))


def test_embeddings_on_a_line_have_one_component() -> None:
    line = torch.tensor([3.0, 4.0]) / 5
    z = draw(50, 1) * line + torch.tensor([1.0, -1.0])
    found = embeddings.principal(z)
    torch.testing.assert_close(found.basis[0].abs(), line)
    assert float(found.variances[1]) == pytest.approx(0, abs=1e-6)
    assert float(embeddings.lost(found, 1)) == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(embeddings.restored(embeddings.compressed(z, found, 1), found), z)


def test_variances_fall_and_all_components_restore_the_embedding() -> None:
    z = draw(40, 6) * torch.arange(1.0, 7.0)
    found = embeddings.principal(z)
    assert bool((found.variances.diff() <= 0).all())
    torch.testing.assert_close(found.variances.sum(), z.var(0, correction=0).sum())
    torch.testing.assert_close(embeddings.restored(embeddings.compressed(z, found, 6), found), z, atol=1e-5, rtol=1e-5)


def test_no_embeddings_and_too_many_components_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[N, D\]"):
        embeddings.principal(torch.zeros(0, 4))
    with pytest.raises(InputError, match="there are 4; asked for 5"):
        embeddings.compressed(torch.zeros(4), embeddings.principal(draw(9, 4)), 5)
