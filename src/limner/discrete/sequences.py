"""Text and image tokens as one sequence of one vocabulary: its ids, its labels and its loss (DALL-E 1 section 2.2).

The ids are numbered words first, then one padding id for every text position, then the image's codes. What comes
before the first word, and how a position is embedded, is the network's business.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from limner.errors import ShapeError


class Vocabulary(NamedTuple):
    """How many ids and positions there are of each kind."""

    words: int
    text: int  # positions of the text, each with its own padding id behind the words
    codes: int

    @property
    def offset(self) -> int:
        """The id of the first code: the words and the padding ids come before it."""
        return self.words + self.text

    @property
    def size(self) -> int:
        """How many logits a position has."""
        return self.offset + self.codes


class TokenLoss(NamedTuple):
    """Mean cross-entropy in nats of the text's tokens, of the image's tokens, and their weighted sum."""

    text: Tensor
    image: Tensor
    total: Tensor


def padded(text: Tensor, lengths: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The words with every position behind their end replaced by that position's own padding id (DALL-E 1 section 2.2).

    Shapes: text [B T] int64, lengths [B] int64 -> [B T] int64.
    Raises: ShapeError when T is not the vocabulary's number of text positions.
    """
    if text.ndim != 2 or text.shape[1] != vocabulary.text:
        raise ShapeError(f"text: expected ids of shape [B, {vocabulary.text}]; got {list(text.shape)}")
    place = torch.arange(vocabulary.text, device=text.device)
    return torch.where(place < lengths[:, None], text, vocabulary.words + place)


def joined(text: Tensor, image: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The whole sequence as ids of one vocabulary: what the network is asked to predict.

    Shapes: text [B T] int64 from `padded`, image [B N] int64 -> [B T+N] int64.
    """
    return torch.cat([text, image + vocabulary.offset], dim=1)


def allowed(positions: int, vocabulary: Vocabulary, *, device: torch.device | None = None) -> Tensor:
    """Which ids may stand where: words and pads on the text's positions, codes on the image's (DALLE-pytorch's mask).

    Shapes: -> [positions V] bool.
    """
    is_text = torch.arange(positions, device=device)[:, None] < vocabulary.text
    is_word = torch.arange(vocabulary.size, device=device)[None] < vocabulary.offset
    return is_text == is_word


def token_loss(
    logits: Tensor, labels: Tensor, vocabulary: Vocabulary, *, image_weight: float = 7 / 8, first: int = 0
) -> TokenLoss:
    """Each kind's cross-entropy over its own ids and tokens, and 1/8 text + 7/8 image (DALL-E 1 section 2.2).

    `first` is the place in the sequence of the first label: 1 where the first token is given and not predicted.

    Shapes: logits [B L V], labels [B L] int64 from `joined`; logits[:, i] predict labels[:, i].
    Units:  nats a token; the mean counts the padding, which is predicted like words.
    Raises: ShapeError when the logits are not over this vocabulary, or not one row for each label.
    """
    if logits.shape != (*labels.shape, vocabulary.size):
        raise ShapeError(f"logits: expected shape {[*labels.shape, vocabulary.size]}; got {list(logits.shape)}")
    words, codes = logits[..., : vocabulary.offset], logits[..., vocabulary.offset :]
    at = vocabulary.text - first
    text = F.cross_entropy(words[:, :at].flatten(0, 1), labels[:, :at].flatten())
    image = F.cross_entropy(codes[:, at:].flatten(0, 1), labels[:, at:].flatten() - vocabulary.offset)
    return TokenLoss(text, image, (1 - image_weight) * text + image_weight * image)
