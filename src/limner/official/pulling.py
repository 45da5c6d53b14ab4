"""From a name of the catalog to a model that loads: its files are fetched, checked, converted and put among the models."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from limner import catalog, downloads, released
from limner.downloads import Fetched, Tell
from limner.errors import CheckpointError
from limner.official import converting
from limner.released import File, Model


class Pulled(NamedTuple):
    """A released model that is here now."""

    model: Model
    path: Path
    files: tuple[Fetched, ...]  # empty when it was here already


def pull(name: str, *, offline: bool = False, keep: bool = False, progress: Tell | None = None) -> Pulled:
    """Fetch a released model and put it among the models; the fetched files are deleted then, or kept with `keep`.

    What a broken download has brought stays, and the next call goes on from there.

    Raises: CheckpointError for a name that is not in the catalog or files that do not fit; DownloadError when they cannot be
    """
    model = released.find(name)
    if model is None:
        if name in (entry.name for entry in catalog.models()):
            raise CheckpointError(f"{name!r}: is here already; it is no released model, there is nothing to fetch")
        near = difflib.get_close_matches(name, list(released.models()), n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise CheckpointError(f"{name!r:.80}: no such released model{hint}; see `limner models list --released`")
    path = catalog.models_root() / name
    if (path / "config.json").is_file():
        return Pulled(model, path, ())
    files = tuple(_fetched(file, offline=offline, progress=progress) for file in model.files)
    converting.convert([file.path for file in files], path, system=model.system, name=name)
    if not keep:
        for file in files:
            file.path.unlink(missing_ok=True)
    return Pulled(model, path, files)


def _fetched(file: File, *, offline: bool, progress: Tell | None) -> Fetched:
    root = downloads.cache_root() / "released"
    if file.hub:
        return downloads.from_hub(file.hub, file.local, root / file.hub, offline=offline, progress=progress)
    place = urlsplit(file.address)
    folder = root / place.netloc / Path(place.path).parent.relative_to("/")
    return downloads.fetch(file.address, folder, file.local, sha256=file.sha256, offline=offline, progress=progress)
