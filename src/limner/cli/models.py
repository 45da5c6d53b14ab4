"""`limner models`: which there are, and what one of them is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.flags import option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner.catalog import Entry

app = typer.Typer(help="Which models there are, and what they are.", no_args_is_help=True)


@app.command("list")
@verb
def list_models(terminal: Terminal) -> None:
    """Every model known by name: those in the box, then those in the models folder."""
    from limner import catalog

    entries = catalog.models()
    if not terminal.json and entries:
        width = max(len(entry.name) for entry in entries)
        for entry in entries:
            terminal.result(f"{entry.name:<{width}}  {size(entry.size):>9}  {entry.licence or '-':<10}  {told(entry)}")
    for entry in entries if terminal.json else ():
        terminal.result(entry.name, **facts(entry))
    if not entries:
        terminal.say(f"no models yet; they are looked for in the box and in {catalog.models_root()}")


@app.command("show")
@verb
def show(
    terminal: Terminal,
    model: Annotated[str, typer.Argument(help="A model's name or checkpoint folder.", show_default=False)],
    card: Annotated[bool, option("--card", help="Print its card: data, licence, training, figures.")] = False,
) -> None:
    """What one model is made of; its weights are checked against their hashes."""
    from limner import catalog, weights

    path = catalog.find(model)
    folder = weights.read_folder(path)
    if card:
        text = (path / "CARD.md").read_text(encoding="utf-8")
        terminal.result(text.rstrip(), model=path.name, card=text)
        return
    entry = catalog.describe(path)
    lines = [
        f"{entry.name}: {entry.summary}",
        f"{size(entry.size)}, licence {entry.licence}, can {', '.join(entry.verbs)}, in {path}",
    ]
    for stage in folder.settings.stages:
        sampling = stage.sampling
        lines.append(
            f"stage {stage.name}: {stage.network.side} px, width {stage.network.width}, "
            f"{sampling.sampler} {sampling.steps} steps, guidance {sampling.guidance:g}, "
            f"sha256 {folder.hashes[stage.name][:12]}"
        )
    settings = folder.settings.model_dump(mode="json")
    terminal.result("\n".join(lines), **facts(entry), hashes=folder.hashes, settings=settings)


def facts(entry: Entry) -> dict[str, Any]:
    """What --json says of a model."""
    return entry._asdict() | {"path": str(entry.path)}


def told(entry: Entry) -> str:
    """The last column: what it draws, or why it cannot be loaded."""
    return f"cannot be used: {entry.problem}" if entry.problem else entry.summary


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 2**20:.1f} MB" if count >= 2**19 else f"{count / 2**10:.1f} KB"
