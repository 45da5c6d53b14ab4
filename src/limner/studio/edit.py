"""The edit tab: repaint what the brush marks, go on beyond the border, enlarge; each result can be the next picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from limner import images
from limner.errors import InputError
from limner.studio import canvas, controls, showing
from limner.studio.asking import Asked, order, seed_of
from limner.studio.canvas import MASK
from limner.studio.controls import Controls, Easel
from limner.studio.desk import CLIENT, Desk, Offer
from limner.systems import masks

REPAINT, GO_ON, ENLARGE = "Repaint what I brush", "Go on beyond the border", "Enlarge"
BUTTONS = {REPAINT: "Repaint", GO_ON: "Go on", ENLARGE: "Enlarge"}
EMPTY = showing.welcome((), hint="The edited picture appears here; go on from it as often as you like.")


@dataclass(frozen=True)
class Edit:
    """The tab's parts that others reach."""

    controls: Controls
    easel: Easel
    canvas: gr.ImageEditor
    known: gr.State  # id of the gallery's picture on the canvas


@dataclass(frozen=True)
class _Own:
    """The fields of this tab alone, in the order in which `ordered` takes them."""

    what: gr.Radio
    strength: gr.Slider
    soft: gr.Slider
    boxes: gr.Textbox
    margins: tuple[gr.Slider, gr.Slider, gr.Slider, gr.Slider]

    @property
    def all(self) -> list[Any]:
        return [self.what, self.strength, self.soft, self.boxes, *self.margins]


def lay(desk: Desk) -> Edit:
    """Lay the tab out and connect it."""
    made: list[_Own] = []
    with gr.Row(elem_classes="lm-tab"):
        with gr.Column(scale=4, min_width=300, elem_classes="lm-fields"):
            tab = controls.fields(
                desk,
                "edit",
                "edit",
                go="Repaint",
                asks="What should be there",
                empty=EMPTY,
                extra=lambda: made.append(_own_fields()),
            )
        with gr.Column(scale=9, min_width=320, elem_classes="lm-board"), gr.Row(elem_classes="lm-pair"):
            with gr.Column(min_width=320, elem_classes="lm-canvas"):
                board = gr.ImageEditor(
                    type="pil",
                    format="png",
                    label="Picture to edit; brush over what should change",
                    sources=["upload", "clipboard"],
                    brush=gr.Brush(colors=[MASK], color_mode="fixed", default_size=24),
                    layers=False,
                    transforms=(),
                    height=520,
                    buttons=["fullscreen"],
                    placeholder="Drop or paste a picture\nor send one here with Edit",
                    elem_id="lm-edit-canvas",
                )
                known = gr.State(None)
            with gr.Column(min_width=320):
                easel = controls.easel("edit", EMPTY)
    own = made[0]
    own.what.change(
        fitting,
        own.what,
        [*own.all[1:], tab.go],
        show_progress="hidden",
        queue=False,
        api_visibility="private",
    )

    controls.wire(desk, tab, easel, lambda asked, rest, jobs: submit(desk, asked, rest, jobs), [*own.all, board, known])
    canvas.guarded(board)
    return Edit(tab, easel, board, known)


def _own_fields() -> _Own:
    what = gr.Radio([*BUTTONS], value=REPAINT, label="What to do")
    strength = gr.Slider(0.05, 1, value=1, step=0.05, label="Strength", info="1 forgets what was there")
    soft = gr.Slider(0, 32, value=4, step=1, label="Soft edge, in pixels")
    boxes = gr.Textbox("", label="Or mark boxes without a brush", placeholder="x,y,width,height; several with ;", max_lines=1)
    with gr.Row():
        margins = (
            gr.Slider(0, 256, value=0, step=8, label="Left", visible=False, min_width=130),
            gr.Slider(0, 256, value=0, step=8, label="Above", visible=False, min_width=130),
            gr.Slider(0, 256, value=0, step=8, label="Right", visible=False, min_width=130),
            gr.Slider(0, 256, value=0, step=8, label="Below", visible=False, min_width=130),
        )
    return _Own(what, strength, soft, boxes, margins)


def fitting(what: str) -> list[Any]:
    """Show the fields that belong to what shall be done: strength, soft edge, boxes, four margins, the button's word."""
    brushed = what == REPAINT
    margins = [gr.Slider(visible=what == GO_ON) for _ in range(4)]
    first = [gr.Slider(visible=brushed), gr.Slider(visible=what != ENLARGE), gr.Textbox(visible=brushed)]
    return [*first, *margins, gr.Button(BUTTONS[what])]


def submit(desk: Desk, asked: Asked, rest: list[Any], jobs: Any) -> tuple[list[str], int]:
    """Order an edit; the job ids to keep and the seed. Raises: LimnerError saying what is missing."""
    what, strength, soft, boxes, left, above, right, below, value, known = rest
    painting = canvas.painted(value)
    picture = canvas.source(desk, painting.picture, known)
    size = images.open_picture(picture).size  # the canvas shows small pictures enlarged
    seed, offer = seed_of(asked), desk.offer(asked.model)
    if what == ENLARGE:
        _check_smaller(size, offer)
        job = desk.queue.submit(order(asked, offer, seed, verb="upscale"), client=CLIENT, picture=picture)
    elif what == GO_ON:
        margins = (int(left), int(above), int(right), int(below))
        if not any(margins):
            raise InputError("the margins are all 0; say on which sides the picture should go on")
        wanted = order(asked, offer, seed, verb="outpaint", margins=margins, soft=float(soft))
        job = desk.queue.submit(wanted, client=CLIENT, picture=picture)
    else:
        mask = masks.boxes(boxes, size) if boxes.strip() else canvas.fitted(painting.mask, size)
        if mask.getbbox() is None:
            raise InputError("nothing is marked; brush over what should change, or write a box")
        wanted = order(asked, offer, seed, verb="edit", strength=float(strength), soft=float(soft))
        job = desk.queue.submit(wanted, client=CLIENT, picture=picture, mask=canvas.png(mask))
    return controls.kept(desk, jobs, job), seed


def _check_smaller(size: tuple[int, int], offer: Offer) -> None:
    """Refuse to enlarge what would become no larger: the last stage begins with a copy at its own small side."""
    facts = offer.facts
    if "upscale" in facts.verbs and max(size) >= facts.side:
        raise InputError(
            f"the picture has {size[0]} x {size[1]} pixels and {facts.name} enlarges to {facts.side}; take a smaller one"
        )
