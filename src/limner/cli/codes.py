"""`limner reconstruct`: pictures through the codes of a discrete autoencoder and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limner.cli.flags import Device, Dtype, option, verb
from limner.cli.terminal import Terminal

MODEL = "dalle-dvae"


@verb
def reconstruct(
    terminal: Terminal,
    pictures: Annotated[list[Path], typer.Argument(help="Pictures of at least the side.", show_default=False)],
    *,
    model: Annotated[str, option("--model", "-m", help="A dVAE's name or checkpoint folder.")] = MODEL,
    out: Annotated[Path, option("--out", "-o", help="The picture to write; a folder for several.")] = Path("reconstructed"),
    side: Annotated[int, option("--side", help="Pixels of the square that is coded, a multiple of 8.", min=8)] = 256,
    device: Device = "auto",
    dtype: Annotated[Dtype, option("--dtype", help="auto: as the original, float16 on CUDA, else float32.")] = Dtype.auto,
) -> None:
    """Turn pictures into codes and back, to see what the codes keep.

    limner reconstruct photo.jpg -m dalle-dvae -o back.png
    """
    from limner import images
    from limner.systems import dvae

    places = _places(pictures, out)
    squares = [images.open_picture(path) for path in pictures]
    system = dvae.load(model, device=device, dtype=dtype.value)
    with terminal.bar() as tell:
        for done, (path, square, place) in enumerate(zip(pictures, squares, places, strict=True)):
            tell(path.name, done, len(pictures))
            codes = system.encode([square], side=side)
            back = system.decode(codes)[0]
            place.parent.mkdir(parents=True, exist_ok=True)
            back.save(place)
            distinct = len(set(codes.flatten().tolist()))
            terminal.result(f"{place}", path=str(place), source=str(path), codes=codes.numel(), distinct=distinct)
    count = len(places)
    terminal.say(f"{count} picture{'s' if count != 1 else ''} of {side}x{side}, each from {(side // dvae.CELL) ** 2} codes")


def _places(pictures: list[Path], out: Path) -> list[Path]:
    """Where each picture goes; nothing is overwritten.

    Raises: InputError when a file is there already, or two pictures would have one name.
    """
    from limner.errors import InputError

    if out.suffix and not out.is_dir():
        places = [out]
        if len(pictures) > 1:
            raise InputError(f"--out {out}: {len(pictures)} pictures need a folder; leave out the ending {out.suffix}")
        if out.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
            raise InputError(f"--out {out}: pictures are written as .png, .jpg or .webp")
    else:
        places = [out / f"{path.stem}.png" for path in pictures]
    for place in places:
        if place.exists():
            raise InputError(f"{place}: exists already; choose another --out")
    if len(set(places)) < len(places):
        raise InputError(f"--out {out}: two pictures have the same name; give them one at a time")
    return places
