"""The models that can be served, and those in memory: as many as the budget holds, the least recently used goes.

Only names reach this file from a request, and only names that were found when the server looked into its folders are
served; no path does. Importing torch takes seconds, so it waits for the first model.
"""

from __future__ import annotations

import contextlib
import json
import math
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from limner import catalog
from limner.config import SystemSettings
from limner.errors import CheckpointError, MemoryLimitError
from limner.serving.orders import Verb

if TYPE_CHECKING:
    from limner.systems.base import Dtype
    from limner.systems.drawing import Pipe

_WIDTHS: dict[str, int] = {"auto": 4, "float32": 4, "bfloat16": 2, "float16": 2}  # bytes of a number in memory
DRAWING = ("glide", "adm")  # systems that limner can open and draw with


class Facts(NamedTuple):
    """What is known of a model without loading its weights."""

    name: str
    family: str  # of the system: glide, adm, ...
    summary: str
    licence: str
    sides: tuple[int, ...]  # of the pictures of its stages, in pixels
    verbs: tuple[Verb, ...]
    words: bool  # whether it reads prompts
    bytes: int  # of memory; as float32 unless a shorter type is asked for
    created: int  # when its files were written, seconds since 1970

    @property
    def side(self) -> int:
        """Of a finished picture, in pixels."""
        return self.sides[-1]


@dataclass
class _Held:
    pipe: Pipe
    bytes: int
    users: int = 0


class Shelf:
    """Models by name within a memory budget. Safe to use from several threads."""

    def __init__(
        self, *, models: Sequence[Path] = (), memory_mb: int = 4096, device: str = "auto", dtype: Dtype = "auto"
    ) -> None:
        """`models` are checkpoint folders to serve beside the bundled and the installed ones."""
        self.memory = memory_mb * 2**20  # bytes
        self._device, self._dtype = device, dtype
        self._folders = _found(models)
        self._facts = {name: _facts(name, folder, dtype) for name, folder in self._folders.items()}
        self._held: OrderedDict[str, _Held] = OrderedDict()  # the least recently used first
        self._outlines: dict[str, Pipe] = {}
        self._lock = threading.RLock()
        self._loading = threading.Lock()  # held for seconds, while others still ask what there is
        self._outlining = threading.Lock()

    def names(self) -> list[str]:
        """What can be served."""
        return list(self._folders)

    def facts(self, name: str) -> Facts:
        """What is known of a model. Raises: CheckpointError for a name that is not served."""
        if name not in self._facts:
            raise CheckpointError(f"model: there is no {name[:80]!r} here; have: {', '.join(self._folders) or 'none'}")
        return self._facts[name]

    def folder(self, name: str) -> Path:
        """Where a model lies. Raises: CheckpointError for a name that is not served."""
        return self._folders[self.facts(name).name]

    def having(self, verb: Verb) -> list[str]:
        """The models that have a verb."""
        return [name for name, facts in self._facts.items() if verb in facts.verbs]

    def loaded(self) -> dict[str, int]:
        """The models in memory and the bytes of each, the least recently used first."""
        with self._lock:
            return {name: held.bytes for name, held in self._held.items()}

    @contextlib.contextmanager
    def pipe(self, name: str) -> Iterator[Pipe]:
        """A model ready to draw, which stays in memory while it is used.

        Raises: CheckpointError for a name that is not served or weights that do not fit; MemoryLimitError for a model that
            is larger than the budget, or while all the others are in use.
        """
        held = self._take(name)
        try:
            yield held.pipe
        finally:
            with self._lock:
                held.users -= 1

    def outline(self, name: str) -> Pipe:
        """A model without its weights: it draws nothing, but knows what may be asked of it."""
        facts = self.facts(name)
        with self._outlining:
            if facts.name not in self._outlines:
                self._outlines[facts.name] = _outline(self._folders[facts.name])
            return self._outlines[facts.name]

    def _take(self, name: str) -> _Held:
        facts = self.facts(name)
        with self._loading:
            with self._lock:
                held = self._held.get(name)
                if held is None:
                    self._make_room(facts)
            if held is None:
                from limner.systems import drawing

                held = _Held(drawing.load_pipe(self._folders[name], device=self._device, dtype=self._dtype), facts.bytes)
            with self._lock:
                held.users += 1
                self._held[name] = held
                self._held.move_to_end(name)
            return held

    def _make_room(self, facts: Facts) -> None:
        """Let go of models nobody uses until another fits."""
        if facts.bytes > self.memory:
            raise MemoryLimitError(
                f"model: {facts.name} needs {facts.bytes >> 20} MB, the budget is {self.memory >> 20} MB; raise it"
            )
        for name in [name for name, held in self._held.items() if not held.users]:
            if self._used() + facts.bytes <= self.memory:
                break
            del self._held[name]
        if self._used() + facts.bytes > self.memory:
            busy = ", ".join(self._held)
            raise MemoryLimitError(f"model: no room for {facts.name} while {busy} draw; raise the budget or try again")

    def _used(self) -> int:
        return sum(held.bytes for held in self._held.values())


def _found(models: Sequence[Path]) -> dict[str, Path]:
    """Names and folders of what limner can draw with; a bundled or installed name is not shadowed."""
    folders: dict[str, Path] = {}
    entries = [*catalog.models(), *(catalog.describe(path.resolve()) for path in models)]
    for entry in entries:
        if entry.problem and entry.path in [path.resolve() for path in models]:
            raise CheckpointError(f"{entry.path}: {entry.problem}")
        if not entry.problem and catalog.settings_of(entry.path).system in DRAWING:
            folders.setdefault(entry.name, entry.path)
    return folders


def _facts(name: str, folder: Path, dtype: Dtype) -> Facts:
    settings = catalog.settings_of(folder)
    return Facts(
        name=name,
        family=settings.system,
        summary=settings.summary,
        licence=settings.licence,
        sides=tuple(stage.network.side for stage in settings.stages),
        verbs=_verbs(settings),
        words=any(stage.network.text is not None for stage in settings.stages),
        bytes=_WIDTHS[dtype] * sum(sum(_sizes(folder / f"{each}.safetensors").values()) for each in settings.networks()),
        created=int((folder / "config.json").stat().st_mtime),
    )


def _verbs(settings: SystemSettings) -> tuple[Verb, ...]:
    """What the server can do with a model: all but a model of classes starts from words or from noise alone."""
    first, last = settings.stages[0], settings.stages[-1]
    classes = any(stage.network.classes is not None for stage in settings.stages)
    painting: tuple[Verb, ...] = () if classes or first.network.low_res else ("draw", "edit", "sketch", "outpaint")
    enlarging: tuple[Verb, ...] = ("upscale",) if last.low_side is not None and not classes else ()
    return painting + enlarging


def _sizes(file: Path) -> dict[str, int]:
    """How many numbers each tensor of a weights file has, by the file's own head; what it borrows counts as its own.

    Differs from `weights.opened`, which does the same with the tensors: nothing here imports torch or reads them. A file that
    cannot be read has none; loading it says what is wrong.
    """
    try:
        with file.open("rb") as opened:
            (length,) = struct.unpack("<Q", opened.read(8))
            head = json.loads(opened.read(min(length, file.stat().st_size)))
        told = head.pop("__metadata__", {})
        own = {name: math.prod(each["shape"]) for name, each in head.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, struct.error):
        return {}
    if "base_model" not in told:
        return own
    lender = file.parent.parent / told["base_model"]
    with contextlib.suppress(CheckpointError):
        lender = catalog.find(told["base_model"])
    whole = {name: size for name, size in own.items() if not name.endswith((".change", ".scale"))}  # see changes.py
    return _sizes(lender / f"{told.get('base_network')}.safetensors") | whole


def _outline(folder: Path) -> Pipe:
    import torch

    from limner.diffusion import schedules
    from limner.networks.building import hollow
    from limner.networks.unet import UNet
    from limner.systems.adm import Adm
    from limner.systems.base import Stage
    from limner.systems.drawing import Pipe
    from limner.systems.glide import Glide

    try:
        settings = catalog.settings_of(folder)
    except (OSError, ValueError):
        raise CheckpointError(f"{folder.name}: config.json cannot be read any more; fetch or export the model again") from None
    stages = tuple(
        Stage(number, each, hollow(UNet, each.network), None, schedules.of(each.diffusion), torch.device("meta"))
        for number, each in enumerate(settings.stages)
    )
    system = Adm(settings, stages, {}) if settings.system == "adm" else Glide(settings, stages, {})
    return Pipe(system, folder.name)
