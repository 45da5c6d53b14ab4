"""Is the thing in the picture the one that was asked for? Each drawing is named by the nearest of all concepts' centroids.

A concept's centroid is the mean of the features of its pictures in all styles the data folder has, but those of the unseen
pairs. Two lists are drawn: pairs of concept and style that training saw, and seen concepts in a style in which training
never saw them. The same measure on the real pictures of the second list says how far it can be trusted. A third list asks for
two seen things at once, one left of the other; each half of the picture is named by itself.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from limner.config import Frozen
from limner.data import nouns
from limner.data.captions import STYLES
from limner.data.compose import Picture
from limner.data.emoji import EmojiSource, open_emoji
from limner.data.emoji import share as lot
from limner.errors import InputError
from limner.evaluation import drawing, features
from limner.evaluation.drawing import Drawing, Wishes
from limner.evaluation.features import Array, Described, Features, Pixels
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


class Together(Frozen):
    """Two things in one picture, "a fox to the left of a frog": each half named by itself."""

    each: Named  # of all halves
    both: Share  # pictures whose two halves have the right concept among the five nearest


class EmojiResult(Frozen):
    """Concept accuracy of drawings."""

    seen: Named  # pairs of the training set
    unseen_style: Named  # concepts of the training set in a style in which it lacks them
    real_unseen_style: Named  # the real pictures of those: what a perfect drawing would get
    two: Together  # two concepts of the training set in one picture
    real_two: Together  # the same composed of the real pictures
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
    """Draw n pictures of trained pairs, n of unseen pairs and n of two things, a style always named in words.

    A list of fewer than n pairs is gone through again, with other noise.
    Raises: InputError when the source has no unseen pairs, or no two things in one style.
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

    couples = list(itertools.islice(itertools.cycle(coupled(seen)), n))
    if not couples:
        raise InputError(f"{source.name}: holds no two things in one style")
    halved = itertools.chain.from_iterable(
        halves(one.picture) for one in drawing.draw(system, [prompt(*couple) for couple in couples], wishes)
    )
    drawn_two = features.of(net, halved, lambda done: progress("two things", done // 2, n))
    real_two = features.of(net, (half for couple in couples for half in halves(source.couple(*couple, how.side))))
    real = features.of(net, (source.single(picture, how.side) for picture in unseen))
    return EmojiResult(
        seen=drawn(seen, "seen"),
        unseen_style=drawn(unseen, "unseen style"),
        real_unseen_style=named(unseen, real, centroids),
        two=together(couples, drawn_two, centroids),
        real_two=together(couples, real_two, centroids),
        concepts=len(centroids.keys),
        data=source.name,
        reference=reference.name,
        features=net.described,
        drawing=how,
    )


def prompt(picture: Picture, right: Picture | None = None) -> str:
    """What is asked for: the concept's first name, what stands right of it, and the style, "a fox, noto style"."""
    names = [nouns.nouns(one.concept)[0].one() for one in (picture, right) if one is not None]
    words = " to the left of ".join(names)
    return f"{words}, {STYLES[picture.style][0]} style" if picture.style in STYLES else words


def coupled(pictures: Sequence[Picture]) -> list[tuple[Picture, Picture]]:
    """Every picture with the next one that has its style and shows something else; those without company are left out."""
    couples = []
    for at, picture in enumerate(pictures):
        company = (p for p in (*pictures[at + 1 :], *pictures[:at]) if p.style == picture.style)
        other = next((p for p in company if p.concept.key != picture.concept.key), None)
        couples += [] if other is None else [(picture, other)]
    return couples


def halves(picture: Pixels) -> tuple[Pixels, Pixels]:
    """The squares left and right of the middle. Shapes: [S S 3] -> [S/2 S/2 3] twice."""
    half, quarter = len(picture) // 2, len(picture) // 4
    band = picture[quarter : quarter + half]
    return band[:, :half], band[:, half : 2 * half]


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
    near = nearest(rows, centroids)
    hits = found_at(pictures, near, centroids)
    first, five = hits[:, 0], hits.any(1)
    wrong = {prompt(pictures[k]): centroids.labels[near[k, 0]] for k in np.flatnonzero(~five).tolist()}
    return Named(
        top_1=share(int(first.sum()), len(pictures)),
        top_5=share(int(five.sum()), len(pictures)),
        pairs=len({(picture.concept.key, picture.style) for picture in pictures}),
        wrong=dict(list(wrong.items())[:EXAMPLES]),
    )


def nearest(rows: Array, centroids: Centroids) -> NDArray[np.int64]:
    """The five nearest concepts, the nearest first. Shapes: [N D] -> [N 5]."""
    found: NDArray[np.int64] = np.argsort(-(_unit(rows - centroids.middle) @ centroids.rows.T), axis=1, kind="stable")[:, :5]
    return found


def found_at(pictures: Sequence[Picture], near: NDArray[np.int64], centroids: Centroids) -> NDArray[np.bool_]:
    """Where among the nearest the concept is that should be seen. Shapes: near [N 5] -> [N 5]."""
    at: NDArray[np.bool_] = near == np.array([centroids.keys.index(picture.concept.key) for picture in pictures])[:, None]
    return at


def together(couples: Sequence[tuple[Picture, Picture]], rows: Array, centroids: Centroids) -> Together:
    """How often halves come nearest to what they should show. Shapes: rows [2 len(couples) D], left and right in turn."""
    pictures = [picture for couple in couples for picture in couple]
    both = found_at(pictures, nearest(rows, centroids), centroids).any(1).reshape(-1, 2).all(1)
    return Together(each=named(pictures, rows, centroids), both=share(int(both.sum()), len(couples)))


def _unit(rows: Array) -> Array:
    lengths: Array = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.maximum(lengths, 1e-12)
