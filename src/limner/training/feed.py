"""From a data source to micro-batches: pictures, tokens and every random draw of a step.

View k of a run has all its chances from the integers (seed, k) alone, so a batch is the same however it is split over
ranks, micro-batches and workers, and a resumed run continues with the very view that came next. Nothing here runs on
the accelerator; `objectives.py` turns a batch into a loss.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from limner.config import StageSettings, TrainSettings
from limner.data.source import Source
from limner.errors import ConfigError, DataError
from limner.tokens import Tokenizer, Tokens
from limner.training import erasing

T = TypeVar("T")

# Columns of Batch.chances, each uniform in [0, 1). New ones go to the end: the order is part of every run's numbers.
LEVEL, DROP, BLUR, SIGMA, TOP, LEFT = range(6)
CHANCES = 8
_DOMAIN = 0x7261696E  # keeps training's draws apart from sampling's
_ERASING = 0x6572617A  # and what is erased apart from both, so that levels and noise are those of a run that erases nothing


class Batch(NamedTuple):
    """One micro-batch on the CPU."""

    first: int  # number of its first view
    picture: Tensor  # [B 3 S S] uint8
    eps: Tensor  # [B 3 S S] float32, standard normal
    chances: Tensor  # [B CHANCES] float64
    tokens: Tokens | None  # ids and mask [B L]; a dropped caption is the empty prompt
    low: Tensor | None  # [B 3 s s] uint8, the smaller picture of an upsampler
    known: Tensor | None = None  # [B 1 S S] uint8, for networks that inpaint: 1 where they are shown the picture


@dataclass(frozen=True)
class Plan:
    """What `read` needs to know; `micro` counts the micro-batches of a step over all ranks."""

    source: Source
    stage: StageSettings
    recipe: TrainSettings
    tokenizer: Tokenizer | None
    rank: int
    ranks: int

    @property
    def size(self) -> int:
        """Views a micro-batch."""
        return self.recipe.batch // (self.recipe.accumulate * self.ranks)


def plan(
    source: Source, stage: StageSettings, recipe: TrainSettings, tokenizer: Tokenizer | None, *, rank: int = 0, ranks: int = 1
) -> Plan:
    """Check that the recipe can be dealt out, and hold what reading needs.

    Raises: ConfigError when the batch cannot be split evenly, the crop does not fit the picture, or it is not said what is
        erased for a network that inpaints.
    """
    if recipe.batch % (recipe.accumulate * ranks):
        raise ConfigError(
            f"training.batch {recipe.batch} cannot be split over {ranks} ranks x {recipe.accumulate} accumulations; "
            f"make it a multiple of {recipe.accumulate * ranks}"
        )
    net = stage.network
    if net.text is not None and tokenizer is None:
        raise ConfigError(f"stage {stage.name!r} reads text and has no tokenizer")
    if net.inpaint != (recipe.erase is not None):
        needs = "inpaints: say with training.erase what it is not shown" if net.inpaint else "does not inpaint: leave it out"
        raise ConfigError(f"training.erase: the network of stage {stage.name!r} {needs}")
    if net.low_res:
        if stage.low_side is None or net.side % stage.low_side:
            raise ConfigError(f"stage {stage.name!r}: low_side must divide side {net.side}; got {stage.low_side}")
        factor = net.side // stage.low_side
        if recipe.crop is not None and (recipe.crop % factor or recipe.crop > net.side):
            raise ConfigError(f"training.crop {recipe.crop} must be a multiple of {factor} and at most side {net.side}")
        step = net.patch * 2 ** (len(net.multipliers) - 1)
        if recipe.crop is not None and recipe.crop % step:
            raise ConfigError(f"training.crop {recipe.crop} must be a multiple of {step}, what the network halves")
    elif recipe.crop is not None:
        raise ConfigError(f"training.crop is for upsamplers; stage {stage.name!r} takes no smaller picture")
    return Plan(source, stage, recipe, tokenizer, rank, ranks)


def read(plan: Plan, number: int) -> Batch:
    """The number-th micro-batch of this rank, number = step * accumulate + its place in the step."""
    recipe, net = plan.recipe, plan.stage.network
    step, turn = divmod(number, recipe.accumulate)
    first = step * recipe.batch + (turn * plan.ranks + plan.rank) * plan.size
    side = net.side if recipe.crop is None else recipe.crop
    pictures = np.empty((plan.size, side, side, 3), dtype=np.uint8)
    eps = np.empty((plan.size, side, side, net.channels), dtype=np.float32)
    chances = np.empty((plan.size, CHANCES), dtype=np.float64)
    lows, captions, known = [], [], []
    for i in range(plan.size):
        rng = draws(recipe.seed, first + i)
        rng.random(out=chances[i])
        rng.standard_normal(out=eps[i], dtype=np.float32)
        view = plan.source.view(first + i, net.side, recipe.seed)
        picture = view.image
        if net.low_res and plan.stage.low_side is not None:
            factor = net.side // plan.stage.low_side
            picture = cut(picture, side, factor, chances[i])
            lows.append(smaller(picture, factor) if view.low is None else _cut_low(plan, view.low, side // factor, chances[i]))
        if recipe.erase is not None:
            known.append(~erasing.region(picture, recipe.erase, draws(recipe.seed, first + i, _ERASING))[..., None])
        pictures[i] = picture
        captions.append("" if chances[i, DROP] < recipe.drop_captions else view.caption)
    return Batch(
        first,
        _planes(pictures),
        _planes(eps),
        torch.from_numpy(chances),
        _tokens(plan, captions),
        _planes(np.stack(lows)) if lows else None,
        _planes(np.stack(known).astype(np.uint8)) if known else None,
    )


def draws(seed: int, view: int, domain: int = _DOMAIN) -> np.random.Generator:
    """The generator of one view's chances: counter-based, a pure function of (seed, view, domain)."""
    return np.random.Generator(np.random.Philox(key=[seed % 2**64, domain], counter=[0, 0, view, 0]))


def cut(picture: NDArray[np.uint8], side: int, factor: int, chances: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A square of the picture at a random place whose corner lies on the smaller picture's grid. [S S 3] -> [side side 3]."""
    places = (picture.shape[0] - side) // factor + 1
    top, left = (int(chances[c] * places) * factor for c in (TOP, LEFT))
    piece: NDArray[np.uint8] = picture[top : top + side, left : left + side]
    return piece


def smaller(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The mean of every factor x factor square, rounded to 8 bits as a finished small picture is. [S S 3] -> [S/f S/f 3]."""
    side = picture.shape[0] // factor
    means = picture.reshape(side, factor, side, factor, 3).mean(axis=(1, 3), dtype=np.float32)
    rounded: NDArray[np.uint8] = np.rint(means).astype(np.uint8)
    return rounded


def _cut_low(plan: Plan, low: NDArray[np.uint8], side: int, chances: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The same square of a small picture that came with its view. Raises: DataError when it is of another size."""
    if len(low) != plan.stage.low_side:
        raise DataError(
            f"{plan.source.name}: its small pictures have {len(low)} px, stage {plan.stage.name!r} takes {plan.stage.low_side}"
        )
    return cut(low, side, 1, chances)


def stream(plan: Plan, start: int, stop: int, *, workers: int = 0, pin: bool = False) -> Generator[Batch, None, None]:
    """Micro-batches start..stop-1 in order, read ahead by worker processes, or by one thread when workers = 0."""
    numbers = range(start, stop)
    if workers == 0:
        return ahead(partial(_pinned, plan) if pin else partial(read, plan), numbers)
    loader: DataLoader[Batch] = DataLoader(
        numbers,  # type: ignore[arg-type]  # a range is all the data set this needs
        batch_size=None,
        collate_fn=partial(read, plan),
        num_workers=workers,
        prefetch_factor=4,
        pin_memory=pin,
    )
    return (batch for batch in loader)


def ahead(make: Callable[[int], T], numbers: range, depth: int = 3) -> Generator[T, None, None]:
    """make(n) for every number in order, computed up to `depth` ahead in a thread; its error is raised here."""
    ready: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.2)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for number in numbers:
                if stopped.is_set():
                    return
                put((make(number), None))
        except BaseException as error:  # noqa: BLE001 - handed over, raised in the reader
            put((None, error))

    thread = threading.Thread(target=work, name="limner-feed", daemon=True)
    thread.start()
    try:
        for _ in numbers:
            item, error = ready.get()
            if error is not None:
                raise error
            yield item  # type: ignore[misc]  # an item without an error is a T
    finally:
        stopped.set()
        thread.join(timeout=5)


def _pinned(plan: Plan, number: int) -> Batch:
    batch = read(plan, number)
    tokens = None if batch.tokens is None else Tokens(*(t.pin_memory() for t in batch.tokens))
    low, known = (None if part is None else part.pin_memory() for part in (batch.low, batch.known))
    return Batch(batch.first, batch.picture.pin_memory(), batch.eps.pin_memory(), batch.chances, tokens, low, known)


def _planes(pixels: NDArray[np.generic]) -> Tensor:
    # A view, not a copy: pixels lie last-channel first in memory, which is what channels_last kernels want.
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _tokens(plan: Plan, captions: list[str]) -> Tokens | None:
    text = plan.stage.network.text
    return None if text is None or plan.tokenizer is None else plan.tokenizer.encode(captions, text.context)
