"""`limner reproduce`: draw a picture again from the recipe inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.flags import Dtype, option, verb
from limner.cli.terminal import Terminal

DIFFERENT = 1


@verb
def reproduce(
    terminal: Terminal,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures that limner drew.", show_default=False)],
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
    import limner

    code = 0
    for path in pictures:
        found = limner.reproduce(path, model=model, device=device, dtype=None if dtype is None else dtype.value)
        verdict = "identical" if found.identical else "different"
        told = (
            "" if found.identical else f": largest difference {found.largest} of 255, {100 * found.share:.2f} % of the pixels"
        )
        kept = None if out is None else str(found.image.save(out))
        facts = {"largest": found.largest, "share": found.share, "changed": found.changed, "redrawn": kept}
        terminal.result(f"{verdict} {path}{told}", path=str(path), identical=found.identical, **facts)
        for line in found.changed:
            terminal.say(f"{path}: {line}")
        if not found.identical:
            code = DIFFERENT
            if path.suffix.lower() in (".jpg", ".jpeg"):
                terminal.say(f"{path}: JPEG changes pixels; small differences are expected")
    return code
