"""The compare tab: one prompt, two settings, a grid of pictures that fills while one watches; saved as PNG and CSV."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

import gradio as gr

from limner import images
from limner.studio import canvas, controls, grids, showing
from limner.studio.asking import Asked, order, plain, seed_of
from limner.studio.controls import Way
from limner.studio.desk import CLIENT, Desk
from limner.studio.following import View, followed
from limner.studio.grids import AXES, NOTHING

PACE = 0.4  # seconds between two looks; a grid has many cells
EMPTY = showing.welcome((), hint="Choose two settings and the values to try; every combination is drawn from one seed.")


class Grid(NamedTuple):
    """A grid that was ordered, as the browser keeps it."""

    columns: list[str]
    rows: list[str]
    jobs: list[list[str]]  # rows of columns

    @property
    def all(self) -> list[str]:
        """Every job, row by row."""
        return [job for row in self.jobs for job in row]


def lay(desk: Desk) -> None:
    """Lay the tab out and connect it."""
    axes: list[Any] = []
    with gr.Row(elem_classes="lm-tab"):
        with gr.Column(scale=4, min_width=300, elem_classes="lm-fields"):
            tab = controls.fields(
                desk,
                "compare",
                "draw",
                go="Compare",
                asks="What every picture shows",
                empty=EMPTY,
                many=False,
                extra=lambda: axes.extend(_axes()),
            )
        with gr.Column(scale=9, min_width=320):
            easel = controls.easel("compare", EMPTY)

    way = Way(
        lambda asked, axes, _: submit(desk, asked, axes),
        lambda kept, session: scenes(desk, grid_of(kept), session),
        lambda kept: stopped(desk, grid_of(kept)),
    )
    controls.connect(desk, tab, easel, way, axes)


def grid_of(kept: Any) -> Grid | None:
    """What the browser kept, when it is a grid."""
    if not isinstance(kept, dict):
        return None
    columns, rows, jobs = (kept.get(name) for name in Grid._fields)
    if not (isinstance(columns, list) and isinstance(rows, list) and isinstance(jobs, list) and len(jobs) == len(rows)):
        return None
    if not all(isinstance(row, list) and len(row) == len(columns) for row in jobs):
        return None
    grid = Grid([str(c) for c in columns], [str(r) for r in rows], [[str(job) for job in row] for row in jobs])
    return grid if 0 < len(grid.all) <= grids.MOST_CELLS else None


def stopped(desk: Desk, grid: Grid | None) -> None:
    """Cancel whatever of a grid is not drawn yet."""
    for job in [] if grid is None else grid.all:
        desk.queue.cancel(job)


async def scenes(desk: Desk, grid: Grid | None, session: str) -> AsyncIterator[tuple[Any, ...]]:
    """Grid, status line and cancel button, again whenever a cell has changed."""
    if grid is None:
        yield EMPTY, "", gr.Button(interactive=False)
        return
    wanted = controls.turn(session, "compare")
    async for views in followed(desk.queue, grid.all, wanted, pace=PACE):
        by_job = {view.id: view for view in views}
        busy = any(not view.ended for view in views)
        links = "" if busy else await asyncio.to_thread(exported, desk, grid, by_job)  # seconds, for large pictures
        yield shown(grid, by_job, links), said(grid, views), gr.Button(interactive=busy)


def said(grid: Grid, views: Sequence[View]) -> str:
    """How far a grid has come, in words."""
    done = sum(view.ended for view in views)
    return f"Done: {showing.many(done)}" if done == len(views) else f"{done} of {showing.many(len(grid.all))}"


def shown(grid: Grid, views: Mapping[str, View], links: str) -> str:
    """The grid as a table with headings."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in grid.columns)
    corner = "<td></td>" if any(grid.rows) else ""
    rows = ""
    for label, jobs in zip(grid.rows, grid.jobs, strict=True):
        first = f'<th scope="row">{escape(label)}</th>' if any(grid.rows) else ""
        rows += f"<tr>{first}{''.join(f'<td>{_cell(views.get(job))}</td>' for job in jobs)}</tr>"
    table = f'<table class="lm-table"><thead><tr>{corner}{head}</tr></thead><tbody>{rows}</tbody></table>'
    return (
        f'<div class="lm-scene"><div class="lm-scroll" tabindex="0" role="region" aria-label="Grid">{table}</div>{links}</div>'
    )


def exported(desk: Desk, grid: Grid, views: Mapping[str, View]) -> str:
    """Links to the grid as PNG and as CSV; "" when nothing was drawn."""
    found, lines = {}, []
    for row, jobs in enumerate(grid.jobs):
        for column, job in enumerate(jobs):
            view = views.get(job)
            if view is None:
                continue
            status = desk.queue.status(job)
            asked = [] if status is None else [getattr(status.order, name) for name in _ORDERED]
            lines.append([grid.columns[column], grid.rows[row], *asked, view.state, *(p.id for p in view.pictures.values())])
            for picture in view.pictures.values():
                path = desk.store.picture(picture.id)
                if path is not None:
                    found[row, column] = images.open_picture(path)
    if not found:
        return ""
    sheet = desk.hand_out("grid.png", canvas.png(grids.sheet(grid.columns, grid.rows, found)))
    table = desk.hand_out("grid.csv", grids.table(["column", "row", *_ORDERED, "state", "picture"], lines).encode())
    return f'<p class="lm-acts"><a href="{sheet}" download>Save as PNG</a><a href="{table}" download>Save as CSV</a></p>'


_ORDERED = ("prompt", "negative", "model", "seed", "steps", "guidance", "sampler")


def _axes() -> list[Any]:
    x = gr.Dropdown([*AXES], value="guidance", label="Across", elem_id="lm-x")
    x_text = gr.Textbox("1, 3, 6", label="Values across", lines=1, max_lines=6, elem_id="lm-x-values")
    y = gr.Dropdown([NOTHING, *AXES], value="seed", label="Down", elem_id="lm-y")
    y_text = gr.Textbox("0, 1", label="Values down", lines=1, max_lines=6, elem_id="lm-y-values")
    return [x, x_text, y, y_text]


def submit(desk: Desk, asked: Asked, axes: list[str]) -> tuple[dict[str, Any], int]:
    """Order a grid; what the browser keeps and the seed. Raises: LimnerError; nothing is ordered then."""
    seed = seed_of(asked)
    wanted = grids.plan(asked._replace(seed=seed, lock=True, n=1), *axes)
    orders = []
    for row in wanted.cells:
        orders.append([order(_suited(desk, cell, asked), desk.offer(cell.model), seed_of(cell)) for cell in row])
    jobs = [[desk.queue.submit(each, client=CLIENT) for each in row] for row in orders]
    return {"columns": list(wanted.columns), "rows": list(wanted.rows), "jobs": jobs}, seed


def _suited(desk: Desk, cell: Asked, asked: Asked) -> Asked:
    """A cell of another model takes that model's own steps and guidance where the fields stand at the first model's."""
    if cell.model == asked.model:
        return cell
    first, other = desk.offer(asked.model), desk.offer(cell.model)
    if cell.steps == asked.steps == first.steps:
        cell = cell._replace(steps=other.steps)
    if cell.guidance == asked.guidance == first.own.guidance:
        cell = cell._replace(guidance=other.own.guidance)
    return cell


def _cell(view: View | None) -> str:
    if view is None:
        return ""
    for picture in view.pictures.values():
        link = showing.picture_url(picture.id)
        return f'<a href="{link}" target="_blank" rel="noopener">{showing.image(picture, view.prompt or "no words")}</a>'
    for preview in view.previews.values():
        return f'<img class="lm-preview" src="data:image/png;base64,{preview}" alt="Preview of {escape(view.prompt)}">'
    if view.state == "failed":
        return f'<p class="lm-none">{plain(view.message)}</p>'
    words = "cancelled" if view.state == "cancelled" else "waits" if view.state == "queued" else "is drawn"
    return f'<div class="lm-blank"><span>{words}</span></div>'
