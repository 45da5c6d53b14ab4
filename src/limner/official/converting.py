"""From released files to a checkpoint folder: every file is recognised, translated and written one tensor at a time.

The folder remembers the layout of its files (`official.json`), so that `exporting` can give them back bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from limner import released, weights
from limner.config import PartSettings, StageSettings, SystemSettings, load_preset, parse, presets
from limner.errors import CheckpointError
from limner.networks.building import build, hollow
from limner.official import families, layout, reading
from limner.official.piece import Family, Piece
from limner.official.reading import Foreign

RECORD = "official.json"
_CHUNK = 2**20  # numbers looked at at a time
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


class Source(NamedTuple):
    """A released file and what it turned out to be."""

    foreign: Foreign
    family: Family
    pieces: tuple[Piece, ...]

    @property
    def name(self) -> str:
        """What the file is called; with its folder where every file of a release is called the same."""
        path = self.foreign.path
        return f"{path.parent.name}/{path.name}" if reading.generic(path) else path.name


def convert(
    files: Path | Sequence[Path],
    out: Path,
    *,
    system: str | None = None,
    name: str | None = None,
    preset: str | Path | None = None,
) -> Path:
    """Write released files, whatever they are called, as a checkpoint folder; a folder stands for the weights in it.

    Every number keeps its type. `system` is what they become; it is told from the files when left out. `name` is the model's
    (that of the folder when left out); a name of the catalog brings its licence, summary and published flags. `preset`
    describes networks of sizes that were never released.

    Raises: CheckpointError in one line for a file that cannot be read, is of no known family, does not fit, or holds
        numbers that are not finite, and for files that do not belong together.
    """
    described_networks = None if preset is None else load_preset(preset).model
    paths = [file for path in ([files] if isinstance(files, Path) else files) for file in reading.files(path)]
    sources = twinned([recognised(path, system, described_networks) for path in paths])
    if not sources:
        raise CheckpointError("convert: name at least one file")
    settings = settings_of(sources, system=system, name=name or out.resolve().name)
    states: dict[str, Mapping[str, Tensor]] = {}
    for source in sources:
        for piece in source.pieces:
            state = Translated(source.foreign, piece.keys)
            check_numbers(state, piece)
            states[piece.settings.name] = state
    told = [described(source) for source in sources]
    record = json.dumps({"files": told}) + "\n"
    return weights.save_folder(out, settings, states, _card(settings, told), {RECORD: record.encode()}, dtype=None)


def recognised(path: Path, system: str | None = None, described: SystemSettings | None = None) -> Source:
    """A released file, read and told from its keys; or one of the networks `described`, when they are given.

    Raises: CheckpointError when it cannot be read, is of no known family, or none of the networks.
    """
    foreign = reading.read(path)
    if described is None:
        return Source(foreign, *families.recognise(foreign.shapes, system, where=str(path)))
    return Source(foreign, *families.fitting(foreign.shapes, (*described.stages, *described.parts), where=str(path)))


def twinned(sources: Sequence[Source]) -> list[Source]:
    """The same sources, where networks that look alike are told apart: by the name of their file or folder, else by order."""
    seen: set[str] = set()
    out = []
    for source in sources:
        pieces = []
        for piece in source.pieces:
            other = None if source.family.twin is None else source.family.twin(piece)
            path = source.foreign.path
            if other and (piece.settings.name in seen or other.settings.name in (path.parent.name, path.stem)):
                piece = other
            seen.add(piece.settings.name)
            pieces.append(piece)
        out.append(source._replace(pieces=tuple(pieces)))
    return out


def settings_of(sources: Sequence[Source], *, system: str | None, name: str) -> SystemSettings:
    """The system that some files make together: stages from small pictures to large ones, then the other networks.

    Raises: CheckpointError for files that do not belong together.
    """
    found: dict[str, tuple[Path, StageSettings | PartSettings]] = {}
    for source in sources:
        for piece in source.pieces:
            other, _ = found.setdefault(piece.settings.name, (source.foreign.path, piece.settings))
            if other != source.foreign.path:
                raise CheckpointError(
                    f"{source.foreign.path}: is the {piece.settings.name} network, and so is {other}; convert them apart"
                )
    published = _published(name)
    order = {each.name: place for place, each in enumerate(published.values())}
    pieces = [_fitting(each, published.get(each.name)) for _, each in found.values()]
    stages = [piece for piece in pieces if isinstance(piece, StageSettings)]
    known = released.find(name)
    tree = {
        "system": system or _common(sources),
        "name": name,
        "summary": known.summary if known else f"Converted from {', '.join(source.foreign.path.name for source in sources)}",
        "licence": known.licence if known else "see the card",
        "stages": sorted(stages, key=lambda stage: (order.get(stage.name, 0), stage.network.side)),
        "parts": [piece for piece in pieces if isinstance(piece, PartSettings)],
    }
    return parse(SystemSettings, tree, where=name)


class Translated(Mapping[str, Tensor]):
    """A released network under limner's names; every tensor is made when it is asked for and never kept."""

    def __init__(self, foreign: Foreign, keys: layout.KeyMap) -> None:
        self.foreign = foreign
        self.groups: dict[str, dict[str, layout.Entry]] = {}
        for official, entry in keys.items():
            if isinstance(entry, layout.Entry):
                self.groups.setdefault(entry.key, {})[official] = entry

    def __getitem__(self, key: str) -> Tensor:
        group = self.groups[key]
        state = {official: self.foreign.tensors[official] for official in group}
        return layout.to_limner(state, group, where=str(self.foreign.path))[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)


def check_numbers(state: Translated, piece: Piece) -> None:
    """See to it that every tensor has a type that fits its network, and that all its numbers are finite.

    Raises: CheckpointError naming the first tensor that has not.
    """
    path = state.foreign.path
    for key, wanted in hollow(build, piece.settings.network).state_dict().items():
        for official in state.groups[key]:
            found = state.foreign.tensors[official]
            if wanted.is_floating_point() and found.dtype not in _FLOATS:
                kinds = ", ".join(str(dtype).removeprefix("torch.") for dtype in _FLOATS)
                stored = str(found.dtype).removeprefix("torch.")
                raise CheckpointError(f"{path}: {official} is stored as {stored}; weights are {kinds}")
            if not wanted.is_floating_point() and found.is_floating_point():
                raise CheckpointError(f"{path}: {official} holds fractions where whole numbers belong")
            if found.is_floating_point() and not all(bool(part.isfinite().all()) for part in _parts(found)):
                raise CheckpointError(
                    f"{path}: {official} holds numbers that are not finite; the file is damaged or was never good"
                )


def described(source: Source) -> dict[str, Any]:
    """What a checkpoint folder remembers of a released file: enough to write it again, its numbers aside."""
    return {
        "file": source.name,
        "kind": source.foreign.kind,
        "wrapper": source.foreign.wrapper,
        "sha256": weights.sha256(source.foreign.path),
        "family": source.family.name,
        "layout": source.family.layout,
        "networks": [piece.settings.name for piece in source.pieces],
        "tensors": {
            key: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
            for key, tensor in source.foreign.tensors.items()
        },
    }


def _parts(tensor: Tensor) -> Iterator[Tensor]:
    flat = tensor.reshape(-1)  # no copy for tensors as they are stored
    for start in range(0, flat.numel(), _CHUNK):
        yield flat[start : start + _CHUNK]


def _published(name: str) -> dict[str, StageSettings | PartSettings]:
    """Stages and parts of a model of the catalog, with the flags that were published with it."""
    known = released.find(name)
    preset = known.preset if known else ""
    if preset not in presets():
        return {}
    model = load_preset(preset).model
    found: dict[str, StageSettings | PartSettings] = {each.name: each for each in model.stages}
    return found | {each.name: each for each in model.parts}


def _fitting(
    found: StageSettings | PartSettings, published: StageSettings | PartSettings | None
) -> StageSettings | PartSettings:
    """The published settings of a network where its weights fit them; those told from its shapes otherwise."""
    same = published is not None and type(published) is type(found) and _shapes(published) == _shapes(found)
    return published if same and published is not None else found


def _shapes(settings: StageSettings | PartSettings) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in hollow(build, settings.network).state_dict().items()}


def _common(sources: Sequence[Source]) -> str:
    """The one system that all files can be part of: that of the first whose own system the others serve."""
    for name in dict.fromkeys(source.family.system for source in sources):
        if all(name in (source.family.system, *source.family.serves) for source in sources):
            return name
    found = "; ".join(f"{source.foreign.path.name} is {source.family.name}" for source in sources)
    raise CheckpointError(f"{found}: these are of different systems; convert them apart, or say --system")


def _card(settings: SystemSettings, files: Sequence[Mapping[str, Any]]) -> str:
    known = released.find(settings.name)
    lines = [f"# {settings.name}", "", settings.summary, ""]
    if known:
        lines += [f"{known.source}. Licence: {known.licence}. {known.limits}", "", f"It can {known.can}.", ""]
    else:
        lines += ["Licence: that of the files below; whoever released them says which.", ""]
    lines += ["| file | kind | networks | sha256 |", "|---|---|---|---|"]
    lines += [f"| {each['file']} | {each['kind']} | {', '.join(each['networks'])} | {each['sha256']} |" for each in files]
    return "\n".join(lines) + "\n"
