"""Whether an order can be fulfilled, asked before it is accepted and without loading any weights."""

from __future__ import annotations

from typing import Any

from limner.errors import InputError, UnsupportedError
from limner.serving.orders import FROM_PICTURES, Order
from limner.serving.shelf import Shelf

_STEERING = ("steps", "guidance", "sampler")


def checked(order: Order, shelf: Shelf, *, picture: bytes | None, mask: bytes | None) -> Order:
    """The same order, if the model it names can fulfil it.

    Raises: CheckpointError for a model that is not served; UnsupportedError for a verb it lacks, naming those that have it;
        InputError and ConfigError for settings, words or pictures that do not fit.
    """
    facts = shelf.facts(order.model)
    if order.verb not in facts.verbs:
        having = ", ".join(shelf.having(order.verb)) or "none"
        raise UnsupportedError(f"model: {order.model} cannot {order.verb}; models that can: {having}")
    _check_pictures(order, picture, mask)
    _check_settings(order)
    from limner.systems import drawing

    wished: Any = {"negative": order.negative, "steps": order.steps, "guidance": order.guidance, "sampler": order.sampler}
    shelf.outline(order.model).check(drawing.request(order.prompt, seed=0, **wished))
    return order


def _check_pictures(order: Order, picture: bytes | None, mask: bytes | None) -> None:
    if order.verb in FROM_PICTURES and picture is None:
        raise InputError(f"picture: {order.verb} starts from a picture; send one")
    if order.verb not in FROM_PICTURES and picture is not None:
        raise InputError("picture: draw starts from words alone; use edit or sketch, or leave it out")
    if order.verb == "edit" and mask is None:
        raise InputError("mask: edit repaints what a mask marks; send one, or use sketch")
    if order.verb != "edit" and mask is not None:
        raise InputError(f"mask: {order.verb} takes none; use edit, or leave it out")
    if picture is not None:
        from limner import images
        from limner.systems import masks

        opened = images.open_picture(picture)
        if mask is not None:
            masks.read(mask, opened.size)


def _check_settings(order: Order) -> None:
    if order.verb == "outpaint" and not any(order.margins or ()):
        raise InputError("margins: outpaint needs one above 0; say [left, top, right, bottom] in pixels")
    if order.verb != "outpaint" and order.margins is not None:
        raise InputError(f"margins: {order.verb} takes none; use outpaint, or leave them out")
    if order.verb not in ("edit", "sketch") and order.strength is not None:
        raise InputError(f"strength: {order.verb} takes none; use edit or sketch, or leave it out")
    if order.verb not in ("edit", "outpaint") and order.soft:
        raise InputError(f"soft: {order.verb} has no border to soften; use edit or outpaint, or leave it out")
    given = [name for name in _STEERING if getattr(order, name) is not None]
    if order.verb == "upscale" and given:
        raise InputError(f"{given[0]}: steers the first stage, which upscale does not use; leave it out")
