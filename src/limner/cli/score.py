"""`limner score`: how well pictures and words fit each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.flags import Device, Dtype, Precision, option, verb
from limner.cli.terminal import Terminal

MODEL = "clip-vit-b-32"


@verb
def score(
    terminal: Terminal,
    pictures: Annotated[list[Path], typer.Argument(metavar="PICTURE", help="Picture files.", show_default=False)],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What they should show.", show_default=False)],
    *,
    model: Annotated[str, option("--model", "-m", help="A CLIP's name or checkpoint folder.")] = MODEL,
    against: Annotated[
        list[str] | None, option("--against", help="Another text; with any, say how likely each is. Repeatable.")
    ] = None,
    keep: Annotated[int | None, option("--keep", help="Only so many pictures, those that fit TEXT best.", min=1)] = None,
    device: Device = "auto",
    dtype: Precision = Dtype.auto,
) -> None:
    """Say how well pictures fit a text, best first: the cosine of CLIP's vectors, or with --against, how likely it is.

    limner score *.png "a red fox" --keep 4
    """
    from limner import images
    from limner.errors import InputError
    from limner.systems import clip

    if keep is not None and keep > len(pictures):
        raise InputError(f"--keep {keep}: there are only {len(pictures)} pictures")
    opened = [images.open_picture(path) for path in pictures]
    texts = [text, *(against or ())]
    scorer = clip.load(model, device=device, dtype=dtype.value)
    found = scorer.zero_shot(opened, texts, templates=["{}"]) if against else scorer.score(opened, texts)
    for number in found[:, 0].argsort(descending=True, stable=True)[:keep].tolist():
        path, first = str(pictures[number]), float(found[number, 0])
        if against:
            likely = dict(zip(texts, found[number].tolist(), strict=True))
            best = texts[int(found[number].argmax())]
            terminal.result(f"{first:6.1%}  {path}  {best}", path=path, caption=text, likely=likely, best=best)
        else:
            terminal.result(f"{first:.4f}  {path}", path=path, caption=text, cosine=first)
