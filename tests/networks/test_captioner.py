"""CoCa: what the decoder may see, and how pads are hidden."""

from __future__ import annotations

import pytest
import torch

from limner.config import CaptionerSettings, TextTowerSettings, VitSettings
from limner.errors import ShapeError
from limner.networks.building import build
from limner.networks.captioner import Captioner

SMALL = CaptionerSettings(
    embed=16,
    image=VitSettings(side=8, patch=4, width=8, depth=1, heads=1),
    queries=3,
    pool_heads=2,
    text=TextTowerSettings(rows=12, context=6, width=16, depth=2, heads=2),
    depth=2,
    heads=2,
)
IDS = torch.tensor([[10, 3, 4, 11, 0, 0]])


def made(settings: CaptionerSettings = SMALL) -> Captioner:
    torch.manual_seed(0)
    net = build(settings)
    assert isinstance(net, Captioner)
    return net.eval().requires_grad_(False)


def test_vectors_have_length_one_and_the_decoder_reads_all_answers_but_the_first() -> None:
    vector, features = made().embed_image(torch.randn(2, 3, 8, 8))
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(2))
    assert features.shape == (2, 2, 16)
    vector, states = made().embed_text(IDS)
    torch.testing.assert_close(vector.norm(dim=1), torch.ones(1))
    assert states.shape == (1, 6, 16)


def test_a_token_is_scored_by_what_stands_before_it_and_by_the_picture() -> None:
    net, x = made(), torch.randn(1, 3, 8, 8)
    scores = net(x, IDS)
    assert scores.shape == (1, 6, 12)
    other = IDS.clone()
    other[0, 3] = 5
    torch.testing.assert_close(net(x, other)[:, :3], scores[:, :3])
    assert not torch.allclose(net(x, other)[:, 3:], scores[:, 3:])
    assert not torch.allclose(net(torch.randn(1, 3, 8, 8), IDS), scores)


def test_a_caption_can_be_begun_with_one_token() -> None:
    net, x = made(), torch.randn(1, 3, 8, 8)
    torch.testing.assert_close(net(x, IDS[:, :1]), net(x, IDS)[:, :1])


@pytest.mark.parametrize(("shifted", "alike"), [(True, False), (False, True)])
def test_the_mask_of_the_released_weights_hides_one_place_too_far_right(shifted: bool, alike: bool) -> None:
    # The first pad is seen by the whole text's token when the mask is shifted, and hidden when it is not.
    net = made(SMALL.model_copy(update={"shifted_pads": shifted}))
    before, _ = net.embed_text(IDS)
    net.text.positions[4] += torch.randn(16)  # of the first pad
    after, _ = net.embed_text(IDS)
    assert torch.allclose(before, after) == alike


def test_without_a_token_of_its_own_a_text_is_read_at_its_end() -> None:
    net = made(SMALL.model_copy(update={"text_token": False}))
    vector, states = net.embed_text(IDS)
    assert states.shape == (1, 6, 16)
    expected = net.text.project(states[:, 3])
    torch.testing.assert_close(vector, expected / expected.norm(dim=1, keepdim=True))


def test_the_whole_picture_may_be_the_average_of_the_answers() -> None:
    x = torch.randn(1, 3, 8, 8)
    first, average = made(), made(SMALL.model_copy(update={"pooled": "average"}))
    _, features = first.embed_image(x)
    expected = first.image.project(features.mean(1))
    torch.testing.assert_close(average.embed_image(x)[0], expected / expected.norm(dim=1, keepdim=True))


def test_scores_of_pairs_are_cosines_times_the_scale() -> None:
    net = made()
    (images, _), (texts, _) = net.embed_image(torch.randn(2, 3, 8, 8)), net.embed_text(IDS)
    torch.testing.assert_close(net.logits(images, texts), images @ texts.T / 0.07)


def test_a_text_longer_than_the_context_is_refused() -> None:
    with pytest.raises(ShapeError, match="L at most 6"):
        made().embed_text(torch.zeros(1, 7, dtype=torch.int64))
