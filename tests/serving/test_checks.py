"""What is refused before it is accepted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limner.errors import ConfigError, InputError
from limner.serving.checks import checked
from limner.serving.orders import Order
from limner.serving.shelf import Shelf
from tests.serving.conftest import png

MASK = png(hole=(0, 0, 4, 4), mode="RGBA")


@pytest.fixture(scope="module")
def shelf(tiny: Path) -> Shelf:
    return Shelf(models=[tiny])


def check(shelf: Shelf, picture: bytes | None = None, mask: bytes | None = None, **more: Any) -> Order:
    return checked(Order.model_validate({"model": "tiny", **more}), shelf, picture=picture, mask=mask)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"verb": "sketch"}, "picture: sketch starts from a picture"),
        ({"picture": png()}, "picture: draw starts from words alone"),
        ({"verb": "edit", "picture": png()}, "mask: edit repaints"),
        ({"verb": "sketch", "picture": png(), "mask": MASK}, "mask: sketch takes none"),
        ({"verb": "edit", "picture": png(32, 32), "mask": MASK}, "the mask has 16x16 pixels, the picture 32x32"),
        ({"verb": "sketch", "picture": b"GIF89a"}, "not a picture|broken"),
        ({"verb": "outpaint", "picture": png()}, "margins: outpaint needs one above 0"),
        ({"verb": "outpaint", "picture": png(), "margins": (0, 0, 0, 0)}, "margins: outpaint needs one above 0"),
        ({"margins": (1, 0, 0, 0)}, "margins: draw takes none"),
        ({"strength": 0.5}, "strength: draw takes none"),
        ({"soft": 2}, "soft: draw has no border"),
        ({"verb": "upscale", "picture": png(), "steps": "4"}, "steps: steers the first stage"),
        ({"negative": "a", "guidance": 1}, "negative prompt: has no effect"),
        ({"prompt": "a" * 10_001}, "prompt: 10,001 characters"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_line(shelf: Shelf, more: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check(shelf, **more)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("steps", ["many", "0", "51", "ddim99"])
def test_steps_that_the_model_cannot_take_are_refused(shelf: Shelf, steps: str) -> None:
    with pytest.raises(ConfigError, match="steps"):
        check(shelf, steps=steps)


@pytest.mark.parametrize(
    "more",
    [
        {"steps": "49", "guidance": 1.0, "sampler": "ddim"},
        {"verb": "edit", "picture": png(), "mask": MASK, "soft": 1, "strength": 0.5},
        {"verb": "outpaint", "picture": png(), "margins": (0, 1, 0, 0), "soft": 1},
        {"verb": "upscale", "picture": png()},
    ],
)
def test_what_fits_is_accepted_as_it_is(shelf: Shelf, more: dict[str, Any]) -> None:
    order = check(shelf, **more)
    assert order.model == "tiny"
    assert shelf.loaded() == {}
