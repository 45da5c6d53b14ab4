"""The page: its tabs, what they hand to each other, and its place on the server's application.

Everything the page needs comes from this server: no fonts, scripts or counts from elsewhere.
"""

from __future__ import annotations

import os
import re
from importlib import resources
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import gradio as gr

from limner.studio import canvas, compare, controls, draw, edit, files, gallery, history, sketch
from limner.studio.asking import OWN, toasts
from limner.studio.desk import PATH, Desk
from limner.studio.draw import Draw
from limner.studio.edit import Edit
from limner.studio.gallery import Gallery
from limner.studio.sketch import Sketch
from limner.studio.theme import theme

TITLE = "limner studio"
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}


def mount(app: FastAPI, desk: Desk) -> FastAPI:
    """Put the studio on an application, at `PATH`."""
    app.include_router(files.routes(desk))

    @app.get("/manifest.json", include_in_schema=False)
    def manifest() -> JSONResponse:  # the page asks for it at the root, wherever it lies itself
        return JSONResponse({"name": TITLE, "start_url": f"{PATH}/", "display": "standalone"})

    @app.get("/favicon.ico", include_in_schema=False)
    def mark() -> Response:
        return Response((resources.files("limner.studio") / "assets" / "mark.png").read_bytes(), media_type="image/png")

    mounted: FastAPI = gr.mount_gradio_app(
        app,
        build(desk),
        PATH,
        root_path=PATH,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=canvas.UPLOADS,
        theme=theme(),
        css=_asset("studio.css"),
        head=f"<script>{_asset('studio.js')}</script>",
    )
    return mounted


def build(desk: Desk) -> gr.Blocks:
    """Lay out the page and connect its tabs."""
    page: gr.Blocks
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_asset("header.html"), elem_classes="lm-header")
        with gr.Tabs(elem_id="lm-tabs") as tabs:
            with gr.Tab("Draw", id="draw"):
                drawing = draw.lay(desk)
            with gr.Tab("Edit", id="edit", render_children=True):
                editing = edit.lay(desk)
            with gr.Tab("Sketch", id="sketch", render_children=True):
                sketching = sketch.lay(desk)
            with gr.Tab("Compare", id="compare"):
                compare.lay(desk)
            with gr.Tab("History", id="history") as tab:
                kept = gallery.lay(desk, tab)
        _send(desk, tabs, drawing, editing, sketching)
        _use(desk, tabs, kept, drawing, editing, sketching)
    return page


def _send(desk: Desk, tabs: gr.Tabs, drawing: Draw, editing: Edit, sketching: Sketch) -> None:
    """What is pressed inside a stage: cancel a job, take up an example, send a picture to another tab."""
    outputs = [tabs, drawing.controls.prompt, editing.canvas, editing.known, editing.controls.prompt]
    outputs += [sketching.canvas, sketching.controls.prompt]

    def acted(event: gr.EventData) -> tuple[Any, ...]:
        act, what = str(event._data.get("act", "")), str(event._data.get("id", ""))
        unmoved = [gr.skip()] * len(outputs)
        match act:
            case "cancel":
                desk.queue.cancel(what)
            case "try":
                return (gr.skip(), what, *unmoved[2:])
            case "edit" | "sketch":
                return sent(desk, act, what)
        return tuple(unmoved)

    for each in (drawing.easel, editing.easel, sketching.easel):
        each.stage.click(acted, None, outputs, **_QUIET)


def sent(desk: Desk, act: str, picture: str | None) -> tuple[Any, ...]:
    """Put a picture onto the canvas of another tab: tabs, draw's prompt, edit's canvas, its picture and prompt, sketch's."""
    path = desk.store.picture(picture) if picture else None
    row = history.get(desk.store, picture or "")
    if path is None or row is None:
        gr.Warning("The picture is not there any more.")
        return tuple([gr.skip()] * 7)
    with toasts():
        shown = canvas.shown(path)
    if act == "edit":
        return (gr.Tabs(selected="edit"), gr.skip(), shown, picture, row.prompt, gr.skip(), gr.skip())
    return (gr.Tabs(selected="sketch"), gr.skip(), gr.skip(), gr.skip(), gr.skip(), shown, row.prompt)


def _use(desk: Desk, tabs: gr.Tabs, kept: Gallery, drawing: Draw, editing: Edit, sketching: Sketch) -> None:
    """What the history's buttons do with the picture that is looked at."""
    tab = drawing.controls
    every = [tabs, *tab.fields, tab.about]
    kept.buttons["all"].click(lambda picture: all_of(desk, picture), kept.chosen, every, **_QUIET)
    kept.buttons["prompt"].click(
        lambda picture: (gr.Tabs(selected="draw"), _row(desk, picture, "prompt")), kept.chosen, [tabs, tab.prompt], **_QUIET
    )
    kept.buttons["seed"].click(
        lambda picture: (gr.Tabs(selected="draw"), _row(desk, picture, "seed"), True),
        kept.chosen,
        [tabs, tab.seed, tab.lock],
        **_QUIET,
    )
    sends = [tabs, tab.prompt, editing.canvas, editing.known, editing.controls.prompt]
    sends += [sketching.canvas, sketching.controls.prompt]
    kept.buttons["edit"].click(lambda picture: sent(desk, "edit", picture), kept.chosen, sends, **_QUIET)
    kept.buttons["sketch"].click(lambda picture: sent(desk, "sketch", picture), kept.chosen, sends, **_QUIET)


def all_of(desk: Desk, picture: str | None) -> tuple[Any, ...]:
    """Everything a picture was drawn with: tabs, the fields of the draw tab in the order of `Asked`, the model's line."""
    row, made = history.get(desk.store, picture or ""), gallery.made_from(desk, picture or "")
    if row is None or made is None or row.model not in desk.names("draw"):
        gr.Warning("The picture or its model is not there any more.")
        return tuple([gr.skip()] * 12)
    with toasts():
        offer = desk.offer(row.model)
    first = made.stages[0] if made.stages else None
    steps, guidance, sampler = offer.steps, offer.own.guidance, OWN
    if first is not None:
        counts = re.findall(r"\d+", first.steps)
        steps = offer.steps if first.steps == offer.own.steps or len(counts) != 1 else int(counts[0])
        guidance, sampler = first.guidance, first.sampler if first.sampler != offer.own.sampler else OWN
    choices = controls.sides(offer)
    side = row.width if row.width == row.height and row.width in dict(choices).values() else offer.facts.side
    size = gr.Radio(choices=choices, value=side)
    count = max(1, made.index + 1)
    fields = (row.prompt, row.negative, row.model, count, row.seed, True, steps, guidance, sampler, size)
    return (gr.Tabs(selected="draw"), *fields, controls.about_model(offer))


def _row(desk: Desk, picture: str | None, name: str) -> Any:
    row = history.get(desk.store, picture or "")
    return gr.skip() if row is None else getattr(row, name)


def _asset(name: str) -> str:
    return (resources.files("limner.studio") / "assets" / name).read_text(encoding="utf-8")
