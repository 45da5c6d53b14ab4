"""`limner convert`: released files, whatever they are called, as a checkpoint folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.flags import Out, option, verb
from limner.cli.terminal import Terminal


@verb
def convert(
    terminal: Terminal,
    files: Annotated[list[Path], typer.Argument(help="Released files, or folders that hold them.", show_default=False)],
    *,
    out: Out,
    system: Annotated[
        str | None, option("--system", help="What they become: glide, adm, clip, dvae, ...; told from the files when left out.")
    ] = None,
    name: Annotated[
        str | None, option("--name", help="The model's name; one of the catalog brings its published flags and licence.")
    ] = None,
    preset: Annotated[
        str | None, option("--preset", help="A preset that describes the networks, for sizes that were never released.")
    ] = None,
) -> None:
    """Turn released files into a checkpoint folder that `limner draw --model` and its kin load.

    Which files they are is told from the names and shapes of their weights. Nothing in them is run.

    limner convert base.pt upsample.pt --out glide
    """
    import limner
    from limner import catalog, released

    path = limner.convert(files, out, system=system, name=name, preset=preset)
    entry = catalog.describe(path)
    settings = catalog.settings_of(path)
    known = released.find(settings.name)
    if known:
        terminal.say(f"licence {known.licence}. {known.limits}")
    networks = {key: network.kind for key, network in settings.networks().items()}
    terminal.say(f"{settings.system}: {', '.join(f'{key} ({kind})' for key, kind in networks.items())}")
    terminal.result(str(path), checkpoint=str(path), system=settings.system, networks=networks, size=entry.size)
