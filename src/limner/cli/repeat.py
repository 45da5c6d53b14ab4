"""`limner reproduce`: draw a picture again from the recipe inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import typer

from limner.cli.draw import pattern
from limner.cli.flags import Dtype, option, verb
from limner.cli.terminal import Terminal

DIFFERENT = 1


@verb
def reproduce(
    terminal: Terminal,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures that limner drew.", show_default=False)],
    *,
    parents: Annotated[
        list[Path] | None,
        option("--parent", help="What an edited picture was made from, or its folder; repeatable. Also looked for beside it."),
    ] = None,
    mask: Annotated[Path | None, option("--mask", help="The mask's file, where it was too large for the recipe.")] = None,
    chain: Annotated[
        bool, option("--chain/--no-chain", help="Whether to draw again what a picture was made from, too.")
    ] = True,
    model: Annotated[
        str | None, option("--model", "-m", help="Where the model lies, when the recipe's name does not find it.")
    ] = None,
    device: Annotated[str | None, option("--device", help="Instead of the recipe's.", env="LIMNER_DEVICE")] = None,
    dtype: Annotated[Dtype | None, option("--dtype", help="Instead of the recipe's.")] = None,
    out: Annotated[str | None, option("--out", "-o", help="Also keep what was drawn now: folder or pattern.")] = None,
) -> int:
    """Draw pictures again from their recipes and say whether they are the same.

    Ends with 0 when all are identical and with 1 when one is not; what differs is said: weights, versions, device.
    """
    from limner.systems import ancestry

    code = 0
    if out is not None:
        pattern(out, model or "")  # refused now, not when the picture is drawn
    wanted = [(path, path) for path in pictures]
    if chain:
        wanted = [(link, path) for path in pictures for link in ancestry.chain(path, parents or ())]
    given = Given(tuple(parents or ()), mask, model, device, None if dtype is None else dtype.value, out)
    for link, path in dict(wanted).items():
        code = max(code, _again(terminal, link, given, last=link == path))
    return code


class Given(NamedTuple):
    """What the flags say."""

    parents: tuple[Path, ...]
    mask: Path | None
    model: str | None
    device: str | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None
    out: str | None


def _again(terminal: Terminal, path: Path, given: Given, *, last: bool) -> int:
    """Draw one picture again and say how it compares; its exit code. What it was made from has its own model and mask."""
    import limner

    found = limner.reproduce(
        path,
        parents=given.parents,
        mask=given.mask if last else None,
        model=given.model if last else None,
        device=given.device,
        dtype=given.dtype,
    )
    verdict = "identical" if found.identical else "different"
    told = "" if found.identical else f": largest difference {found.largest} of 255, {100 * found.share:.2f} % of the pixels"
    kept = None if given.out is None else str(found.image.save(given.out))
    facts = {"largest": found.largest, "share": found.share, "changed": found.changed, "redrawn": kept}
    terminal.result(f"{verdict} {path}{told}", path=str(path), identical=found.identical, verb=found.recipe.verb, **facts)
    for line in found.changed:
        terminal.say(f"{path}: {line}")
    if not found.identical and path.suffix.lower() in (".jpg", ".jpeg"):
        terminal.say(f"{path}: JPEG changes pixels; small differences are expected")
    return 0 if found.identical else DIFFERENT
