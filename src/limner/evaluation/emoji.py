"""Is the thing in the picture the one that was asked for? Each drawing is named by the nearest of all concepts' centroids.

A concept's centroid is the mean of the features of its pictures in all styles the data folder has, but those of the unseen
pairs. Two lists are drawn: pairs of concept and style that training saw, and seen concepts in a style in which training
never saw them. The same measure on the real pictures of the second list says how far it can be trusted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from limner.config import Frozen
from limner.data import nouns
from limner.data.captions import STYLES
from limner.data.compose import Picture
from limner.data.emoji import EmojiSource, open_emoji
from limner.data.emoji import share as lot
from limner.errors import InputError
from limner.evaluation import drawing, features
from limner.evaluation.drawing import Drawing, Wishes
from limner.evaluation.features import Array, Described, Features
from limner.evaluation.share import Share, share
from limner.systems.glide import Glide

Progress = Callable[[str, int, int], None]  # what, done, of
EXAMPLES = 12


class Named(Frozen):
    """How often the right concept is the nearest, or among the five nearest."""

    top_1: Share
    top_5: Share
    pairs: int  # different (concept, style) pairs; fewer than pictures when pairs come more than once
    wrong: dict[str, str]  # some captions whose concept is not among the five, and the nearest one


class EmojiResult(Frozen):
    """Concept accuracy of drawings."""

    seen: Named  # pairs of the training set
    unseen_style: Named  # concepts of the training set in a style in which it lacks them
    real_unseen_style: Named  # the real pictures of those: what a perfect drawing would get
    concepts: int  # among which the right one is to be found
    data: str
    reference: str  # whose pictures make the centroids
    features: Described
    drawing: Drawing


class Centroids(NamedTuple):
    """One row of unit length a concept."""

    keys: tuple[str, ...]
    labels: tuple[str, ...]
    middle: Array  # [D], the mean of all features
    rows: Array  # [K D]


def evaluate(
    system: Glide,
    source: EmojiSource,
    net: Features,
    wishes: Wishes,
    *,
    n: int = 200,
    progress: Progress = lambda what, done, of: None,
) -> EmojiResult:
    """Draw n pictures of trained pairs and n of unseen pairs, a style always named in words.

    A list of fewer than n pairs is gone through again, with other noise.
    Raises: InputError when the source has no unseen pairs.
    """
    how = drawing.described(system, wishes)
    reference = open_emoji(in_all_styles(source.name))
    unseen = in_order(source.part("pair"))
    if not unseen:
        raise InputError(f"{source.name}: holds no concept in a style that training lacks; open more styles")
    seen = in_order(source.train)
    pictures = (reference.single(picture, how.side) for picture in reference.train)
    known = features.of(net, pictures, lambda done: progress("centroids", done, len(reference.train)))
    centroids = centred(reference.train, known)

    def drawn(pictures: Sequence[Picture], what: str) -> Named:
        rounds = [pictures[k % len(pictures)] for k in range(n)]
        made = (one.picture for one in drawing.draw(system, [prompt(picture) for picture in rounds], wishes))
        return named(rounds, features.of(net, made, lambda done: progress(what, done, n)), centroids)

    real = features.of(net, (source.single(picture, how.side) for picture in unseen))
    return EmojiResult(
        seen=drawn(seen, "seen"),
        unseen_style=drawn(unseen, "unseen style"),
        real_unseen_style=named(unseen, real, centroids),
        concepts=len(centroids.keys),
        data=source.name,
        reference=reference.name,
        features=net.described,
        drawing=how,
    )


def prompt(picture: Picture) -> str:
    """What is asked for: the concept's first name and the style, "a fox, noto style"."""
    words = nouns.nouns(picture.concept)[0].one()
    return f"{words}, {STYLES[picture.style][0]} style" if picture.style in STYLES else words


def in_all_styles(name: str) -> str:
    """What `open_emoji` takes to open the same folder and groups without a choice of styles: "emoji:F?styles=a" -> "F"."""
    folder, _, query = name.removeprefix("emoji:").partition("?")
    options = "&".join(option for option in query.split("&") if option and not option.startswith("styles="))
    return f"{folder}?{options}" if options else folder


def in_order(pictures: Sequence[Picture], purpose: str = "evaluation") -> list[Picture]:
    """Pictures in an order drawn by lot once for ever, so that the first n of them are nobody's choice."""
    return sorted(pictures, key=lambda picture: lot(purpose, picture.concept.key, picture.style))


def centred(pictures: Sequence[Picture], rows: Array) -> Centroids:
    """The centroid of every concept. Shapes: rows [len(pictures) D]."""
    middle = rows.mean(0)
    groups: dict[str, list[int]] = defaultdict(list)
    labels: dict[str, str] = {}
    for at, picture in enumerate(pictures):
        groups[picture.concept.key].append(at)
        labels[picture.concept.key] = picture.concept.label
    means = np.stack([_unit(rows[group] - middle).mean(0) for group in groups.values()])  # [K D]
    return Centroids(tuple(groups), tuple(labels[key] for key in groups), middle, _unit(means))


def named(pictures: Sequence[Picture], rows: Array, centroids: Centroids) -> Named:
    """How often features come nearest to the concept they should show. Shapes: rows [len(pictures) D]."""
    near = np.argsort(-(_unit(rows - centroids.middle) @ centroids.rows.T), axis=1, kind="stable")[:, :5]  # [N 5]
    right = np.array([centroids.keys.index(picture.concept.key) for picture in pictures])[:, None]
    first, five = (near[:, :1] == right).any(1), (near == right).any(1)
    wrong = {prompt(pictures[k]): centroids.labels[near[k, 0]] for k in np.flatnonzero(~five).tolist()}
    return Named(
        top_1=share(int(first.sum()), len(pictures)),
        top_5=share(int(five.sum()), len(pictures)),
        pairs=len({(picture.concept.key, picture.style) for picture in pictures}),
        wrong=dict(list(wrong.items())[:EXAMPLES]),
    )


def _unit(rows: Array) -> Array:
    lengths: Array = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)
