"""DALL-E mini's encoder and decoder: what each token can see."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limner.config import BartDecoderSettings, BartEncoderSettings
from limner.errors import ShapeError
from limner.networks.bart import BartDecoder, BartEncoder

ENCODER = BartEncoderSettings(rows=11, context=6, width=8, depth=2, heads=2, hidden=12)
DECODER = BartDecoderSettings(rows=9, codes=8, context=5, width=8, depth=2, heads=2, hidden=12)
TEXT = torch.tensor([[0, 4, 7, 2, 1, 1], [0, 5, 2, 1, 1, 1]])
IDS = torch.tensor([[7, 3, 0, 1, 5], [7, 2, 2, 4, 6]])


@pytest.fixture
def encoder() -> BartEncoder:
    torch.manual_seed(0)
    return BartEncoder(ENCODER).double()


@pytest.fixture
def decoder() -> BartDecoder:
    torch.manual_seed(1)
    return BartDecoder(DECODER).double()


def decoded(encoder: BartEncoder, decoder: BartDecoder, text: Tensor = TEXT, ids: Tensor = IDS) -> Tensor:
    logits, _ = decoder(ids, decoder.project(encoder(text)), encoder.seen(text))
    return logits


def test_no_word_depends_on_a_pad(encoder: BartEncoder) -> None:
    other = encoder.tokens.weight.detach().clone()
    before = encoder(TEXT)
    other[ENCODER.padding] = other[3]
    encoder.tokens.weight.data = other
    after = encoder(TEXT)
    assert torch.equal(before[0, :4], after[0, :4])
    assert not torch.equal(before[0, 4], after[0, 4])


def test_no_image_token_depends_on_a_pad_of_the_text(encoder: BartEncoder, decoder: BartDecoder) -> None:
    features, seen = encoder(TEXT), encoder.seen(TEXT)
    changed = torch.where(seen[..., None], features, features + 1)
    before, _ = decoder(IDS, decoder.project(features), seen)
    after, _ = decoder(IDS, decoder.project(changed), seen)
    assert torch.equal(before, after)


def test_no_image_token_depends_on_a_later_one(encoder: BartEncoder, decoder: BartDecoder) -> None:
    changed = IDS.clone()
    changed[:, 3] = 8
    before, after = decoded(encoder, decoder), decoded(encoder, decoder, ids=changed)
    assert torch.equal(before[:, :3], after[:, :3])
    assert not torch.equal(before[:, 3], after[:, 3])


@pytest.mark.parametrize("cuts", [(1, 1, 1, 1, 1), (2, 3), (3, 1, 1)])
def test_tokens_handed_in_piece_by_piece_give_what_all_at_once_give(
    encoder: BartEncoder, decoder: BartDecoder, cuts: tuple[int, ...]
) -> None:
    text, seen = decoder.project(encoder(TEXT)), encoder.seen(TEXT)
    parts, past = [], ()
    for ids in IDS.split(cuts, dim=1):
        logits, past = decoder(ids, text, seen, past)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), decoded(encoder, decoder))
    assert past[0].shape == (2, 2, 2, 5, 4)


def test_more_tokens_than_the_context_are_refused(encoder: BartEncoder, decoder: BartDecoder) -> None:
    with pytest.raises(ShapeError, match=r"L at most 6; got \[2, 7\]"):
        encoder(torch.zeros(2, 7, dtype=torch.int64))
    text, seen = decoder.project(encoder(TEXT)), encoder.seen(TEXT)
    _, past = decoder(IDS[:, :4], text, seen)
    with pytest.raises(ShapeError, match=r"N at most 1 behind 4 others; got \[2, 2\]"):
        decoder(IDS[:, :2], text, seen, past)


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 8 is not a multiple of heads 3"):
        BartEncoderSettings(width=8, heads=3)


def test_a_network_without_gains_is_one_whose_gains_are_ones(encoder: BartEncoder, decoder: BartDecoder) -> None:
    bare = {"gains": False}
    others = BartEncoder(ENCODER.model_copy(update=bare)).double(), BartDecoder(DECODER.model_copy(update=bare)).double()
    for other, own in zip(others, (encoder, decoder)):
        assert other.load_state_dict(own.state_dict(), strict=False).missing_keys == []
    torch.testing.assert_close(decoded(*others), decoded(encoder, decoder))
