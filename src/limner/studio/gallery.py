"""The history tab: every picture that was drawn, to be found, liked, looked into, used again, saved and thrown away."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from limner import recipe
from limner.errors import LimnerError
from limner.recipe import Recipe
from limner.serving.store import Picture
from limner.studio import history, showing
from limner.studio.controls import HAND_OVER
from limner.studio.desk import Desk
from limner.studio.following import Finished
from limner.studio.history import AGES, Search

PAGE = 30  # pictures shown at first, and more each time
ANY = "every model"
NOTHING = '<div class="lm-empty"><p>Choose a picture to see what it was made from.</p></div>'


@dataclass(frozen=True)
class Gallery:
    """The tab's parts that others reach."""

    chosen: gr.State  # id of the picture that is looked at, or None
    buttons: dict[str, gr.Button]  # what can be done with it elsewhere: all, seed, prompt, edit, sketch
    tab: gr.Tab


@dataclass(frozen=True)
class _Parts:
    search: gr.Textbox
    model: gr.Dropdown
    age: gr.Dropdown
    favourites: gr.Checkbox
    grid: gr.HTML
    more: gr.Button
    undo: gr.Button
    inspector: gr.HTML
    like: gr.Button
    delete: gr.Button
    most: gr.State
    chosen: gr.State
    deleted: gr.State

    @property
    def asked(self) -> list[Any]:
        return [self.search, self.model, self.favourites, self.age, self.most, self.chosen]


def lay(desk: Desk, tab: gr.Tab) -> Gallery:
    """Lay the tab out and connect what happens inside it."""
    most, chosen, deleted = gr.State(PAGE), gr.State(None), gr.State([])
    with gr.Row(elem_classes="lm-search"):
        search = gr.Textbox(
            "", label="Search", placeholder="words of the prompt", max_lines=1, scale=4, min_width=200, elem_id="lm-search"
        )
        model = gr.Dropdown([ANY], value=ANY, label="Model", scale=2, min_width=140)
        age = gr.Dropdown(list(AGES), value="any time", label="Drawn", scale=1, min_width=120)
        favourites = gr.Checkbox(label="Only favourites", scale=1, min_width=140, container=False)
    with gr.Row(elem_classes="lm-tab"):
        with gr.Column(scale=8, min_width=320):
            grid = gr.HTML(elem_id="lm-history", js_on_load=HAND_OVER)
            more = gr.Button("Show more", visible=False, elem_classes="lm-more")
        with gr.Column(scale=5, min_width=300, elem_classes="lm-inspector"):
            undo = gr.Button("Undo the deletion", visible=False, elem_id="lm-undo")
            inspector = gr.HTML(NOTHING, elem_id="lm-inspector")
            with gr.Row(visible=True, elem_classes="lm-uses"):
                words = {
                    "all": "Use all",
                    "prompt": "Use the prompt",
                    "seed": "Use the seed",
                    "edit": "Edit",
                    "sketch": "Sketch",
                }
                buttons = {
                    key: gr.Button(text, size="sm", interactive=False, min_width=90, elem_id=f"lm-use-{key}")
                    for key, text in words.items()
                }
                like = gr.Button("Favourite", size="sm", interactive=False, min_width=90, elem_id="lm-like")
                delete = gr.Button("Delete", size="sm", variant="stop", interactive=False, min_width=90, elem_id="lm-delete")
    parts = _Parts(search, model, age, favourites, grid, more, undo, inspector, like, delete, most, chosen, deleted)
    _wire(desk, tab, parts, list(buttons.values()))
    return Gallery(chosen, buttons, tab)


def _wire(desk: Desk, tab: gr.Tab, parts: _Parts, uses: list[gr.Button]) -> None:
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    found = [parts.grid, parts.more]
    looked = [parts.inspector, parts.like, parts.delete, *uses]

    def again(*asked: Any) -> tuple[Any, ...]:
        return listed(desk, *asked)

    gr.on(
        [parts.search.change, parts.model.input, parts.age.input, parts.favourites.input],
        lambda: PAGE,
        None,
        parts.most,
        **quiet,
    ).then(again, parts.asked, found, **quiet)
    tab.select(lambda: gr.Dropdown(choices=[ANY, *history.models(desk.store)]), None, parts.model, **quiet).then(
        again, parts.asked, found, **quiet
    )
    parts.more.click(lambda most: most + PAGE, parts.most, parts.most, **quiet).then(again, parts.asked, found, **quiet)

    def look(event: gr.EventData) -> str:
        return str(event._data.get("id", ""))

    parts.grid.click(look, None, parts.chosen, **quiet).then(
        lambda picture: looked_at(desk, picture), parts.chosen, looked, **quiet
    ).then(again, parts.asked, found, **quiet)

    def liked(picture: str | None) -> None:
        row = history.get(desk.store, picture or "")
        if row is not None:
            history.like(desk.store, row.id, not row.favourite)

    parts.like.click(liked, parts.chosen, None, **quiet).then(
        lambda picture: looked_at(desk, picture), parts.chosen, looked, **quiet
    ).then(again, parts.asked, found, **quiet)

    def gone(picture: str | None, deleted: list[str]) -> tuple[Any, ...]:
        if picture and history.delete(desk.store, picture):
            deleted = [*deleted, picture]
        return None, deleted, gr.Button(visible=bool(deleted))

    parts.delete.click(gone, [parts.chosen, parts.deleted], [parts.chosen, parts.deleted, parts.undo], **quiet).then(
        lambda: looked_at(desk, None), None, looked, **quiet
    ).then(again, parts.asked, found, **quiet)

    def back(deleted: list[str]) -> tuple[Any, ...]:
        last = deleted[-1:]
        history.restore(desk.store, last)
        return (last[0] if last else None), deleted[:-1], gr.Button(visible=len(deleted) > 1)

    parts.undo.click(back, parts.deleted, [parts.chosen, parts.deleted, parts.undo], **quiet).then(
        lambda picture: looked_at(desk, picture), parts.chosen, looked, **quiet
    ).then(again, parts.asked, found, **quiet)


def listed(desk: Desk, text: str, model: str, favourites: bool, age: str, most: int, chosen: str | None) -> tuple[str, Any]:
    """The pictures that fit as HTML, and whether there are more."""
    search = Search(text or "", "" if model in (ANY, None) else model, favourites, age if age in AGES else "any time")
    pictures = history.find(desk.store, search, most=most + 1)
    return thumbs(pictures[:most], chosen, searched=search != Search()), gr.Button(visible=len(pictures) > most)


def thumbs(pictures: Sequence[Picture], chosen: str | None, *, searched: bool) -> str:
    """Pictures as buttons, the newest first."""
    if not pictures:
        words = (
            "Nothing fits; try fewer words."
            if searched
            else "Nothing is drawn yet. What you draw, edit and sketch is kept here."
        )
        return f'<div class="lm-empty"><div class="lm-easel" aria-hidden="true"></div><p>{words}</p></div>'
    return f'<div class="lm-grid">{"".join(_thumb(picture, picture.id == chosen) for picture in pictures)}</div>'


def _thumb(picture: Picture, chosen: bool) -> str:
    heart = (
        '<span class="lm-heart" aria-hidden="true">♥</span><span class="lm-hidden"> favourite</span>'
        if picture.favourite
        else ""
    )
    shown = Finished(picture.id, picture.seed, picture.width, picture.height)
    alt = picture.prompt or "A picture without words"
    return (
        f'<button type="button" class="lm-thumb" data-act="look" data-id="{picture.id}" data-key="t{picture.id}" '
        f'aria-pressed="{"true" if chosen else "false"}">{showing.image(shown, alt, lazy=True)}{heart}</button>'
    )


def looked_at(desk: Desk, picture: str | None) -> list[Any]:
    """The inspector, and which of its buttons can be pressed."""
    row = history.get(desk.store, picture) if picture else None
    there = row is not None
    label = "No favourite" if row is not None and row.favourite else "Favourite"
    uses = [gr.Button(interactive=there) for _ in range(5)]
    return [
        NOTHING if row is None else inspected(row, made_from(desk, row.id)),
        gr.Button(label, interactive=there),
        gr.Button(interactive=there),
        *uses,
    ]


def made_from(desk: Desk, picture: str) -> Recipe | None:
    """The recipe inside a picture's file; None when it is gone."""
    path = desk.store.picture(picture)
    try:
        return None if path is None else recipe.read(path)
    except LimnerError:
        return None


def inspected(row: Picture, made: Recipe | None) -> str:
    """Everything that is known of a picture."""
    shown = Finished(row.id, row.seed, row.width, row.height)
    facts = [("Prompt", row.prompt or "none"), ("Away from", row.negative), ("Made by", row.verb), ("Model", row.model)]
    facts += [("Seed", f"{row.seed}" if made is None or not made.index else f"{row.seed}, picture {made.index + 1}")]
    if made is not None and made.stages:
        first = made.stages[0]
        facts += [("Steps", first.steps), ("Sampler", first.sampler), ("Guidance", f"{first.guidance:g}")]
    facts += [("Size", f"{row.width} × {row.height}"), ("Drawn", _when(row.created))]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    picture = showing.image(shown, row.prompt or "A picture without words")
    view, save, bare = (showing.picture_url(row.id, query=query) for query in ("", "save", "bare"))
    return (
        f'<figure class="lm-large"><a href="{view}" target="_blank" rel="noopener">{picture}</a></figure>'
        f'<dl class="lm-facts">{rows}</dl><p class="lm-acts"><a href="{save}" download>Save</a>'
        f'<a href="{bare}" download>Save without metadata</a></p>'
    )


def _when(created: float) -> str:
    return datetime.datetime.fromtimestamp(created).strftime("%d %B %Y, %H:%M")
