"""Text and image as one sequence of tokens."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limner.discrete import sequences
from limner.discrete.sequences import Vocabulary
from limner.errors import ShapeError

OWN = Vocabulary(words=5, text=3, codes=4)
TEXT = torch.tensor([[1, 2, 3], [4, 0, 0], [0, 0, 0]])
IMAGE = torch.tensor([[0, 3], [1, 1], [2, 0]])
LENGTHS = torch.tensor([3, 1, 0])


def labels() -> torch.Tensor:
    return sequences.joined(sequences.padded(TEXT, LENGTHS, OWN), IMAGE, OWN)


def test_every_text_position_has_its_own_padding_id() -> None:
    assert sequences.padded(TEXT, LENGTHS, OWN).tolist() == [[1, 2, 3], [4, 6, 7], [5, 6, 7]]


def test_words_pads_and_codes_share_one_vocabulary_without_meeting() -> None:
    assert labels()[:, 3:].tolist() == [[8, 11], [9, 9], [10, 8]]
    assert OWN.size == 12


def test_a_text_of_another_length_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[B, 3\]; got \[3, 2\]"):
        sequences.padded(TEXT[:, :2], LENGTHS, OWN)


def test_every_label_is_allowed_where_it_stands() -> None:
    table = sequences.allowed(5, OWN)
    assert bool(table[torch.arange(5), labels()].all())
    assert table.sum(1).tolist() == [8, 8, 8, 4, 4]


@pytest.mark.parametrize("image_weight", [7 / 8, 0.5])
def test_the_loss_is_that_of_masked_logits_weighted_by_kind(image_weight: float) -> None:
    logits = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0))
    masked = logits.masked_fill(~sequences.allowed(5, OWN), -torch.finfo(logits.dtype).max)
    each = F.cross_entropy(masked.transpose(1, 2), labels(), reduction="none")  # [3 5]
    loss = sequences.token_loss(logits, labels(), OWN, image_weight=image_weight)
    torch.testing.assert_close(loss.text, each[:, :3].mean())
    torch.testing.assert_close(loss.image, each[:, 3:].mean())
    torch.testing.assert_close(loss.total, (1 - image_weight) * loss.text + image_weight * loss.image)


def test_logits_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"expected shape \[3, 5, 12\]; got \[3, 5, 11\]"):
        sequences.token_loss(torch.zeros(3, 5, 11), labels(), OWN)


def test_a_first_token_that_is_given_is_not_scored() -> None:
    logits = torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(0))
    whole = sequences.token_loss(logits, labels(), OWN)
    short = sequences.token_loss(logits[:, 1:], labels()[:, 1:], OWN, first=1)
    torch.testing.assert_close(short.image, whole.image)
    first = F.cross_entropy(logits[:, 0, : OWN.offset], labels()[:, 0])
    torch.testing.assert_close((2 * short.text + first) / 3, whole.text)
