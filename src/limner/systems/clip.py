"""CLIP at work: how well pictures and words fit each other; the best of many pictures; classes without training.

Pictures are prepared as in the released code. A system may consist of one tower, or of two in files of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from limner import catalog, images, tokens, weights
from limner.config import ClipSettings, SystemSettings
from limner.errors import InputError, UnsupportedError
from limner.networks.building import hollow
from limner.networks.clip import Clip, normalised
from limner.systems import base
from limner.systems.base import Dtype
from limner.tokens import Tokenizer

T = TypeVar("T")

BATCH = 16  # pictures or texts at a time; bounds the memory
TEMPLATES = ("a photo of a {}.",)  # CLIP section 3.1.4
_CAPPED = 100.0  # what the learned scale may not exceed (CLIP section 2.5); for towers that come without it


class Scorer:
    """Both towers of a CLIP, ready to use; one of them may be missing."""

    def __init__(
        self, settings: SystemSettings, nets: Sequence[Clip], tokenizer: Tokenizer | None, *, device: torch.device
    ) -> None:
        self.settings = settings
        self.pictures = next((net for net in nets if net.image is not None), None)
        self.texts = next((net for net in nets if net.text is not None), None)
        self.tokenizer = tokenizer
        self.device = device
        scales = [float(net.scale.exp()) for net in nets if net.scale is not None]
        self.scale = scales[0] if scales else _CAPPED  # of cosines, before a softmax

    def embed_pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Vectors of length 1. Shapes: B pictures of any size -> [B E] float32, on the CPU.

        Raises: InputError for no pictures; UnsupportedError without a picture tower.
        """
        net = self.pictures
        if net is None or net.settings.image is None:
            raise UnsupportedError(f"{self.settings.name}: has no picture tower, only a text tower")
        own, side = net.settings, net.settings.image.side
        found = []
        for some in _batches(pictures, "picture"):
            x = torch.stack([images.clip_square(each, side, mean=own.mean, std=own.std) for each in some])
            with torch.no_grad():
                found.append(normalised(net.embed_image(x.to(self.device)).float()).cpu())
        return torch.cat(found)

    def embed_texts(self, texts: Sequence[str], *, truncate: bool = False) -> Tensor:
        """Vectors of length 1. Shapes: B texts -> [B E] float32, on the CPU.

        Raises: InputError for no texts, or for one that is too long unless `truncate` lets its end fall away;
            UnsupportedError without a text tower.
        """
        net = self.texts
        if net is None or net.settings.text is None or self.tokenizer is None:
            raise UnsupportedError(f"{self.settings.name}: has no text tower, only a picture tower")
        if isinstance(texts, str):
            raise InputError("texts: takes a list of texts, not one string; write [text]")
        context, found = net.settings.text.context, []
        for text in () if truncate else texts:
            if lost := self.tokenizer.cut(text, context):
                raise InputError(f"text {text[:40]!r}: {context} tokens are read; what does not fit: {lost[:80]!r}; shorten it")
        for some in _batches(texts, "text"):
            ids = self.tokenizer.encode(some, context).ids
            with torch.no_grad():
                found.append(normalised(net.embed_text(ids.to(self.device)).float()).cpu())
        return torch.cat(found)

    def score(self, pictures: Sequence[Image.Image], texts: Sequence[str]) -> Tensor:
        """The cosine of every picture and every text; "CLIP score" is a hundred times this.

        Shapes: B pictures, N texts -> [B N] float32. Units: [-1, 1].
        Raises: as `embed_pictures` and `embed_texts` do.
        """
        texts_first = self.embed_texts(texts)  # what is wrong with the words is said before the long work
        return self.embed_pictures(pictures) @ texts_first.T

    def rerank(self, pictures: Sequence[Image.Image], text: str, *, keep: int | None = None) -> list[int]:
        """Numbers of the pictures that fit a text best, the best first (DALL-E section 2.6).

        Raises: InputError when fewer pictures are there than shall be kept.
        """
        keep = len(pictures) if keep is None else keep
        if not 1 <= keep <= len(pictures):
            raise InputError(f"keep: there are {len(pictures)} pictures to choose from; cannot keep {keep}")
        scores = self.score(pictures, [text])[:, 0]
        return scores.argsort(descending=True, stable=True)[:keep].tolist()

    def zero_shot(
        self, pictures: Sequence[Image.Image], classes: Sequence[str], *, templates: Sequence[str] = TEMPLATES
    ) -> Tensor:
        """How likely each picture shows each class, by name alone (CLIP section 3.1).

        A class is the mean of its name's vectors in all templates, "{}" standing for the name.

        Shapes: B pictures, C classes -> [B C] float32, rows summing to 1.
        Raises: InputError for no classes or templates, or a template without "{}"; else as `score` does.
        """
        for template in templates:
            if template.count("{}") != 1:
                raise InputError(f"template {template!r}: must hold {{}} once, where the name of the class goes")
        if not classes or not templates:
            raise InputError("zero-shot: needs at least one class and one template")
        texts = [template.replace("{}", name) for name in classes for template in templates]
        vectors = self.embed_texts(texts).view(len(classes), len(templates), -1)  # [C T E]
        return (self.scale * self.embed_pictures(pictures) @ normalised(vectors.mean(1)).T).softmax(-1)


def load(name: str | Path, *, device: str = "auto", dtype: Dtype = "auto") -> Scorer:
    """A CLIP by name or checkpoint folder.

    Raises: CheckpointError when there is no such model or its weights do not fit; UnsupportedError for a model of another
        kind; ConfigError for a device or type that is not here.
    """
    folder = weights.read_folder(catalog.find(name))
    if not any(isinstance(part.network, ClipSettings) for part in folder.settings.parts):
        raise UnsupportedError(f"{name}: is a {folder.settings.system} model without a CLIP; use one such as clip-vit-b-32")
    return open_folder(folder, device=device, dtype=dtype)


def open_folder(folder: weights.Folder, *, device: str = "auto", dtype: Dtype = "auto") -> Scorer:
    """Load the CLIP of a checkpoint folder; networks of other kinds are left alone.

    Raises: CheckpointError for weights that do not fit; ConfigError for a device that is not here.
    """
    place = base.pick_device(device)
    kind = base.pick_dtype(dtype, place)
    nets, tokenizer = [], None
    for part in folder.settings.parts:
        if not isinstance(part.network, ClipSettings):
            continue
        net = hollow(Clip, part.network)
        weights.load_state(net, folder.weights(part.name), device=place)
        nets.append(net.eval().requires_grad_(False).cast(kind))
        if part.network.text is not None:
            tokenizer = tokens.load(part.network.text.vocabulary, folder.path)
    return Scorer(folder.settings, nets, tokenizer, device=place)


def _batches(items: Sequence[T], what: str) -> Iterator[list[T]]:
    """The items a few at a time. Raises: InputError when there are none."""
    if not items:
        raise InputError(f"{what}s: needs at least one {what}; got none")
    return (list(items[start : start + BATCH]) for start in range(0, len(items), BATCH))
