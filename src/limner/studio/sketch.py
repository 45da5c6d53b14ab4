"""The sketch tab: a few strokes of colour become what the words say (SDEdit)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import PIL.Image
from gradio.components.image_editor import EditorValue

from limner.studio import canvas, controls, showing
from limner.studio.asking import Asked, order, seed_of
from limner.studio.controls import Controls, Easel
from limner.studio.desk import CLIENT, Desk

PAPER = 512  # pixels of the empty sheet
COLOURS = ["#d62828", "#f77f00", "#fcbf49", "#2a9d3a", "#1d70c9", "#6a3fb5", "#8a5a3b", "#111111", "#8d99a6", "#ffffff"]
EMPTY = showing.welcome((), hint="Paint a few blots of colour, say what they are, and see it drawn here.")


@dataclass(frozen=True)
class Sketch:
    """The tab's parts that others reach."""

    controls: Controls
    easel: Easel
    canvas: gr.ImageEditor


def lay(desk: Desk) -> Sketch:
    """Lay the tab out and connect it."""
    made: list[gr.Slider] = []
    with gr.Row(elem_classes="lm-tab"):
        with gr.Column(scale=4, min_width=300, elem_classes="lm-fields"):
            tab = controls.fields(
                desk,
                "sketch",
                "sketch",
                go="Draw over it",
                asks="What the sketch is",
                empty=EMPTY,
                extra=lambda: made.append(_strength()),
            )
        with gr.Column(scale=9, min_width=320, elem_classes="lm-board"), gr.Row(elem_classes="lm-pair"):
            with gr.Column(min_width=320, elem_classes="lm-canvas"):
                board = gr.ImageEditor(
                    sheet(),
                    type="pil",
                    format="png",
                    label="Sketch",
                    sources=["upload", "clipboard"],
                    brush=gr.Brush(colors=list(COLOURS), default_color=COLOURS[0], default_size=36),
                    layers=False,
                    transforms=(),
                    canvas_size=(PAPER, PAPER),
                    height=520,
                    buttons=["fullscreen"],
                    elem_id="lm-sketch-canvas",
                )
            with gr.Column(min_width=320):
                easel = controls.easel("sketch", EMPTY)

    controls.wire(desk, tab, easel, lambda asked, own, jobs: submit(desk, asked, own[0], own[1], jobs), [made[0], board])
    canvas.guarded(board)
    return Sketch(tab, easel, board)


def submit(desk: Desk, asked: Asked, strength: float, value: EditorValue | None, jobs: Any) -> tuple[list[str], int]:
    """Order a picture of a sketch; the job ids to keep and the seed taken. Raises: LimnerError for what does not fit."""
    picture = canvas.png(canvas.painted(value).over)
    seed = seed_of(asked)
    wanted = order(asked, desk.offer(asked.model), seed, verb="sketch", strength=float(strength))
    return controls.kept(desk, jobs, desk.queue.submit(wanted, client=CLIENT, picture=picture)), seed


def sheet() -> PIL.Image.Image:
    """An empty sheet of paper."""
    return PIL.Image.new("RGB", (PAPER, PAPER), "white")


def _strength() -> gr.Slider:
    return gr.Slider(0.05, 1, value=0.7, step=0.05, label="Strength", info="near 0 keeps the sketch, 1 forgets it")
