"""The draw tab: words, a model, a seed; the picture grows while one watches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from limner.studio import controls, showing
from limner.studio.asking import Asked, order, seed_of
from limner.studio.controls import Controls, Easel
from limner.studio.desk import CLIENT, Desk

EMPTY = showing.welcome()


@dataclass(frozen=True)
class Draw:
    """The tab's parts that others reach."""

    controls: Controls
    easel: Easel


def lay(desk: Desk) -> Draw:
    """Lay the tab out and connect it."""
    with gr.Row(elem_classes="lm-tab"):
        with gr.Column(scale=4, min_width=300, elem_classes="lm-fields"):
            tab = controls.fields(desk, "draw", "draw", go="Draw", asks="What would you like to see?", empty=EMPTY, sizes=True)
        with gr.Column(scale=9, min_width=320):
            easel = controls.easel("draw", EMPTY)

    controls.wire(desk, tab, easel, lambda asked, _, jobs: submit(desk, asked, jobs))
    return Draw(tab, easel)


def submit(desk: Desk, asked: Asked, jobs: Any) -> tuple[list[str], int]:
    """Order pictures; the job ids to keep and the seed taken. Raises: LimnerError for what does not fit."""
    seed = seed_of(asked)
    job = desk.queue.submit(order(asked, desk.offer(asked.model), seed), client=CLIENT)
    return controls.kept(desk, jobs, job), seed
