"""`limner data`: build training sets, look whether they can be read, and say what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.flags import Device, Out, option, verb
from limner.cli.terminal import Terminal

app = typer.Typer(help="Build, check and describe training sets.", no_args_is_help=True)
build = typer.Typer(help="Build a training set.", no_args_is_help=True)
app.add_typer(build, name="build")

Source = Annotated[
    str,
    typer.Argument(
        help="shapes, emoji:FOLDER, redrawn:FOLDER, a folder of pictures, a manifest, COCO json or tar shards.",
        show_default=False,
    ),
]


@build.command("emoji")
@verb
def build_emoji(
    terminal: Terminal,
    *,
    out: Out = Path("data/emoji"),
    styles: Annotated[str | None, option("--styles", help="Packs to fetch, joined by commas; the default is all.")] = None,
    side: Annotated[int, option("--side", help="Pixels of a rendered icon.", min=8)] = 256,
    packs_from: Annotated[Path | None, option("--packs-from", help="A folder of packages that are already there.")] = None,
) -> None:
    """Fetch pinned packs of emoji art with npm, check their hashes, and render every icon once."""
    from limner.data import art, emoji

    packs = tuple(art.PACKS) if styles is None else tuple(filter(None, (name.strip() for name in styles.split(","))))
    with terminal.bar() as tell:
        report = emoji.build(out, packs=packs, side=side, packs_from=packs_from, progress=tell)
    for reason, count in report.skipped.items():
        terminal.say(f"left out {count}: {reason}")
    total = sum(report.pictures.values())
    terminal.say(f"{total} pictures of {report.concepts} concepts: {_counts(report.pictures)}")
    terminal.result(
        str(report.folder),
        folder=str(report.folder),
        concepts=report.concepts,
        pictures=report.pictures,
        skipped=report.skipped,
    )


@build.command("shapes")
@verb
def build_shapes(
    terminal: Terminal,
    *,
    out: Out = Path("data/shapes"),
    count: Annotated[int, option("--count", "-n", help="How many scenes.", min=1)] = 1000,
    side: Annotated[int, option("--side", help="Pixels.", min=8)] = 64,
    seed: Annotated[int, option("--seed", "-s", help="Of the stream of scenes.")] = 0,
) -> None:
    """Write scenes of coloured shapes as PNG files with captions beside them; training itself draws them on the fly."""
    import PIL.Image

    from limner.data.source import open_source
    from limner.data.whole import whole

    source = open_source("shapes")
    with whole(out) as folder, terminal.bar() as tell:
        for k in range(count):
            view = source.view(k, side, seed)
            PIL.Image.fromarray(view.image).save(folder / f"{k:06}.png")
            (folder / f"{k:06}.txt").write_text(f"{view.caption}\n", encoding="utf-8")
            tell("shapes", k + 1, count)
    terminal.result(str(out), folder=str(out), pictures=count)


@app.command("redraw")
@verb
def redraw(
    terminal: Terminal,
    source: Source,
    *,
    model: Annotated[str, option("--model", "-m", help="Whose first stage draws; its upsampler is to be trained.")],
    out: Out,
    views: Annotated[int, option("--views", "-n", help="How many views of the source.", min=1)] = 8000,
    strength: Annotated[float, option("--strength", help="The most noise to draw over from, a share of all levels.")] = 0.5,
    seed: Annotated[int, option("--seed", "-s", help="Of the stream of views and of the noise.")] = 0,
    device: Device = "auto",
) -> None:
    """Draw small pictures over with a model, so that its upsampler learns from what it will be given.

    After an interruption the same command goes on.
    """
    from limner.errors import UnsupportedError
    from limner.systems.drawing import load_pipe
    from limner.systems.glide import Glide
    from limner.training import redrawing

    pipe = load_pipe(model, device=device)
    if not isinstance(pipe.system, Glide):
        raise UnsupportedError(f"{pipe.name}: cannot redraw; use a glide model")
    with terminal.bar() as tell:
        made = redrawing.redraw(pipe.system, source, out, views=views, strength=strength, seed=seed, progress=tell)
    terminal.result(str(out), folder=str(out), **made.model_dump())


@app.command("check")
@verb
def check(terminal: Terminal, source: Source) -> int:
    """Open every picture and say what cannot be used and why. Ends with 4 when nothing can."""
    from limner.data import check as checks
    from limner.errors import DataError

    with terminal.bar() as tell:
        for found in checks.checking(source):
            tell("check", found.done, found.total)
    terminal.result(f"{found.name}: {found.usable} of {found.total} usable, {found.duplicates} duplicates", **found._asdict())
    for reason, count in found.skipped.items():
        names = ", ".join(found.examples.get(reason, []))
        terminal.say(f"left out {count}: {reason}" + (f" ({names})" if names else ""))
    return 0 if found.usable else DataError.exit_code


@app.command("stats")
@verb
def stats(terminal: Terminal, source: Source) -> None:
    """What a training set holds: pictures, captions, words, sizes."""
    from limner.data import check as checks

    found = checks.stats(source)
    facts: dict[str, Any] = {
        key: value._asdict() if isinstance(value, checks.Spread) else value for key, value in found._asdict().items()
    }
    lines = [f"{key}: {_told(value)}" for key, value in facts.items() if value not in (None, {}, [])]
    terminal.result("\n".join(lines), **facts)


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {count}" for key, count in value.items())
    if isinstance(value, list):
        return ", ".join(f"{word} {count}" for word, count in value)
    return str(value)


def _counts(pictures: dict[str, int]) -> str:
    return ", ".join(f"{style} {count}" for style, count in pictures.items())
