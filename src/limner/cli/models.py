"""`limner models`: which there are, what one of them is, and how released ones come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.flags import option, verb
from limner.cli.terminal import Terminal

if TYPE_CHECKING:
    from limner.catalog import Entry
    from limner.released import Model

app = typer.Typer(help="Which models there are, what they are, and the released ones to be had.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="A model's name.", show_default=False)]


@app.command("list")
@verb
def list_models(
    terminal: Terminal,
    *,
    released: Annotated[bool, option("--released", help="Those that can be pulled, whether they are here or not.")] = False,
) -> None:
    """Every model known by name: those in the box, then those in the models folder."""
    from limner import catalog

    if released:
        _list_released(terminal)
        return
    entries = catalog.models()
    if not terminal.json and entries:
        width = max(len(entry.name) for entry in entries)
        for entry in entries:
            terminal.result(f"{entry.name:<{width}}  {size(entry.size):>9}  {entry.licence or '-':<10}  {told(entry)}")
    for entry in entries if terminal.json else ():
        terminal.result(entry.name, **facts(entry))
    if not entries:
        terminal.say(f"no models yet; they are looked for in the box and in {catalog.models_root()}")
    terminal.say("released models can be had with `limner models pull`; see `limner models list --released`")


@app.command("show")
@verb
def show(
    terminal: Terminal,
    model: Annotated[str, typer.Argument(help="A model's name or checkpoint folder.", show_default=False)],
    card: Annotated[bool, option("--card", help="Print its card: data, licence, training, figures.")] = False,
) -> None:
    """What one model is made of; its weights are checked against their hashes."""
    from limner import catalog, weights

    known = catalog.not_pulled(model)
    if known:
        terminal.result("\n".join(_told_of(known)), **_facts_of(known))
        return
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
        sampling, shared = stage.sampling, weights.base_of(folder.weights(stage.name))
        lines.append(
            f"stage {stage.name}: {stage.network.side} px, width {stage.network.width}, "
            f"{sampling.sampler} {sampling.steps} steps, guidance {sampling.guidance:g}, "
            f"sha256 {folder.hashes[stage.name][:12]}" + (f", changes to {shared.model}" if shared else "")
        )
    settings = folder.settings.model_dump(mode="json")
    terminal.result("\n".join(lines), **facts(entry), hashes=folder.hashes, settings=settings)


@app.command("pull")
@verb
def pull(
    terminal: Terminal,
    model: Name,
    *,
    offline: Annotated[
        bool, option("--offline", help="Use only files that were fetched before.", env="LIMNER_OFFLINE")
    ] = False,
    keep: Annotated[bool, option("--keep", help="Keep the released files beside the model made of them.")] = False,
) -> None:
    """Fetch a released model, check it, and put it among the models. A broken download goes on where it stopped.

    limner models pull clip-vit-b-32
    """
    import limner
    from limner import catalog, released

    known = released.find(model)
    if known:
        terminal.say(f"{known.source}: about {size(known.memory)} in {len(known.files)} files")
        terminal.say(f"licence {known.licence}. {known.limits}")
    with terminal.bar() as tell:
        pulled = limner.pull(model, offline=offline, keep=keep, progress=tell)
    for file, fetched in zip(pulled.model.files, pulled.files, strict=False):
        published = "as published" if file.sha256 else "recorded; none is published"
        terminal.say(f"{file.local}: {size(file.size)}, sha256 {fetched.sha256} ({published})")
    if not pulled.files:
        terminal.say(f"{model} is here already")
    hashes = {file.local: fetched.sha256 for file, fetched in zip(pulled.model.files, pulled.files, strict=False)}
    entry = catalog.describe(pulled.path)
    terminal.result(str(pulled.path), model=model, path=str(pulled.path), size=entry.size, files=hashes)


@app.command("rm")
@verb
def remove(
    terminal: Terminal,
    model: Name,
    *,
    yes: Annotated[bool, option("--yes", "-y", help="Also when it cannot be pulled again.")] = False,
) -> None:
    """Delete a model from the models folder. One that was not released is deleted only with --yes: it may be the only copy."""
    from limner import catalog, released

    path = catalog.removable(model, even_own=yes or released.find(model) is not None)
    entry = catalog.describe(path)
    catalog.remove(path)
    terminal.say(f"{size(entry.size)} are free again")
    terminal.result(str(path), model=model, path=str(path), size=entry.size)


def _list_released(terminal: Terminal) -> None:
    from limner import catalog, released

    here = {entry.name for entry in catalog.models()}
    known = released.models().values()
    width = max(len(model.name) for model in known)
    for model in known:
        place = "here" if model.name in here else "-"
        line = f"{model.name:<{width}}  {size(model.memory):>10}  {place:<4}  {model.licence:<22}  {model.summary}"
        terminal.result(line, **_facts_of(model), here=model.name in here)


def _told_of(model: Model) -> list[str]:
    """What is known of a released model, as lines."""
    lines = [f"{model.name}: {model.summary}", f"{model.source}; {model.parameters:,} parameters"]
    lines += [f"can: {model.can}"] + ([f"cannot: {model.cannot}"] if model.cannot else [])
    lines += [f"licence {model.licence}. {model.limits}", f"memory: about {size(model.memory)} in float32"]
    lines += [f"file {file.local}: about {size(file.size)}, {file.address or file.hub}" for file in model.files]
    return [*lines, f"not here; run `limner models pull {model.name}`"]


def _facts_of(model: Model) -> dict[str, Any]:
    files = [file._asdict() | {"size": file.size} for file in model.files]
    return model._asdict() | {"files": files, "parameters": model.parameters, "memory": model.memory}


def facts(entry: Entry) -> dict[str, Any]:
    """What --json says of a model."""
    return entry._asdict() | {"path": str(entry.path)}


def told(entry: Entry) -> str:
    """The last column: what it draws, or why it cannot be loaded."""
    return f"cannot be used: {entry.problem}" if entry.problem else entry.summary


def size(count: int) -> str:
    """Bytes for people."""
    if count >= 2**30:
        return f"{count / 2**30:.2f} GB"
    return f"{count / 2**20:.1f} MB" if count >= 2**19 else f"{count / 2**10:.1f} KB"
