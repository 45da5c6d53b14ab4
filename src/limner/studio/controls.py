"""The fields that draw, edit and sketch share, and what they do: count tokens, follow the model, order, follow the job.

Each tab keeps the ids of its jobs in the browser, so that a page that is reloaded shows them again. Pages that are open side
by side show what each of them ordered (`assets/studio.js`).
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import gradio as gr

from limner.config import SamplerName
from limner.errors import LimnerError
from limner.serving.orders import ENDS, Verb
from limner.studio import showing, words
from limner.studio.asking import MOST, OWN, Asked, new_seed, plain, toasts
from limner.studio.desk import Desk, Offer
from limner.studio.following import View, followed

SAMPLERS: tuple[SamplerName, ...] = SamplerName.__args__  # type: ignore[attr-defined]
REMEMBERED = 20  # jobs that a page keeps in mind
LARGEST = 1024  # pixels of a side that are offered
MOST_PAGES = 1000  # whose turns are kept in mind
_turns = itertools.count()
_newest: dict[tuple[str, str], int] = {}  # (session, tab) -> who follows; the one before then stops


@dataclass(frozen=True)
class Controls:
    """A tab's fields."""

    tab: str
    empty: str  # the stage before the first picture
    prompt: gr.Textbox
    counter: gr.HTML
    go: gr.Button
    cancel: gr.Button
    model: gr.Dropdown
    about: gr.HTML
    n: gr.Slider
    seed: gr.Number
    dice: gr.Button
    lock: gr.Checkbox
    negative: gr.Textbox
    steps: gr.Slider
    guidance: gr.Slider
    sampler: gr.Dropdown
    size: gr.Radio | None
    jobs: gr.JSON

    @property
    def fields(self) -> list[Any]:
        """The components of an `Asked`, in its order."""
        own = [self.prompt, self.negative, self.model, self.n, self.seed, self.lock, self.steps, self.guidance, self.sampler]
        return own if self.size is None else [*own, self.size]


@dataclass(frozen=True)
class Easel:
    """Where a tab's pictures appear."""

    stage: gr.HTML
    status: gr.HTML

    @property
    def outputs(self) -> list[Any]:
        """What following a job changes, the cancel button excepted."""
        return [self.stage, self.status]


def fields(
    desk: Desk,
    tab: str,
    verb: Verb,
    *,
    go: str,
    asks: str,
    empty: str,
    sizes: bool = False,
    many: bool = True,
    extra: Callable[[], None] | None = None,
) -> Controls:
    """Lay out a tab's fields; `extra` lays out what only this tab has, between the buttons and the settings."""
    names = desk.names(verb)
    offer = desk.offer(names[0]) if names else None
    prompt = gr.Textbox("", label="Prompt", placeholder=asks, lines=2, max_lines=10, elem_id=f"lm-{tab}-prompt")
    counter = gr.HTML(elem_classes="lm-counter")
    with gr.Row(elem_classes="lm-buttons"):
        start = gr.Button(go, variant="primary", elem_classes="lm-go", elem_id=f"lm-{tab}-go", scale=3)
        cancel = gr.Button(
            "Cancel", interactive=False, elem_classes="lm-cancel", elem_id=f"lm-{tab}-cancel", scale=1, min_width=90
        )
    if extra is not None:
        extra()
    model = gr.Dropdown(names, value=names[0] if names else None, label="Model", elem_id=f"lm-{tab}-model")
    about = gr.HTML(about_model(offer), elem_classes="lm-about")
    size = None
    if sizes:
        size = gr.Radio(
            choices=sides(offer), value=offer.facts.side if offer else None, label="Size in pixels", elem_classes="lm-sizes"
        )
    n = gr.Slider(1, MOST, value=1, step=1, label="Pictures", visible=many, elem_id=f"lm-{tab}-n")
    with gr.Row(elem_classes="lm-seed"):
        seed = gr.Number(label="Seed", precision=0, scale=2, min_width=120)
        dice = gr.Button("New seed", size="sm", scale=1, min_width=92, elem_classes="lm-dice")
        lock = gr.Checkbox(label="Keep it", container=False, scale=1, min_width=90)
    with gr.Accordion("More settings", open=False):
        negative = gr.Textbox("", label="Draw away from", placeholder="what should not be there", lines=1, max_lines=5)
        steps = gr.Slider(1, 250, value=offer.steps if offer else 20, step=1, label="Steps", elem_id=f"lm-{tab}-steps")
        guidance = gr.Slider(
            0, 20, value=offer.own.guidance if offer else 3, step=0.1, label="Guidance", info="how hard the words pull"
        )
        sampler = gr.Dropdown([OWN, *SAMPLERS], value=OWN, label="Sampler")
    jobs = gr.JSON([], visible=False)
    again = (negative, steps, guidance, sampler, size, jobs)
    return Controls(tab, empty, prompt, counter, start, cancel, model, about, n, seed, dice, lock, *again)


def easel(tab: str, empty: str) -> Easel:
    """Lay out where a tab's pictures appear."""
    status = gr.HTML(elem_id=f"lm-{tab}-status", elem_classes="lm-status")
    stage = gr.HTML(empty, elem_id=f"lm-{tab}-stage", elem_classes="lm-stage", js_on_load=HAND_OVER)
    return Easel(stage, status)


# Whatever is pressed inside a stage is handed to Python as {act, id}.
HAND_OVER = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-act]');
  if (button) { event.preventDefault(); trigger('click', {act: button.dataset.act, id: button.dataset.id}); }
});
"""


def about_model(offer: Offer | None) -> str:
    """A line on what a model is and can do."""
    if offer is None:
        return "<p>No model can do this yet. Put one into the models folder, or start the studio with --models.</p>"
    facts = offer.facts
    return f"<p>{plain(facts.summary)}. Can {', '.join(facts.verbs)}.</p>"


def sides(offer: Offer | None) -> list[tuple[str, int]]:
    """The sizes to choose from: the model's own, twice and four times that."""
    if offer is None:
        return []
    own = offer.facts.side
    return [(str(side), side) for side in (own, 2 * own, 4 * own) if side <= LARGEST]


def wire_fields(desk: Desk, tab: Controls) -> None:
    """Connect what the fields do among themselves: count tokens, suit the model, draw and keep seeds."""
    fast: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    gr.on(
        [tab.prompt.change, tab.model.change],
        lambda prompt, model: counted(desk, model, prompt),
        [tab.prompt, tab.model],
        tab.counter,
        trigger_mode="always_last",
        **fast,
    )
    outputs = [tab.about, tab.steps, tab.guidance, tab.sampler, *([tab.size] if tab.size is not None else [])]
    tab.model.input(lambda name: suited(desk, name, sized=tab.size is not None), tab.model, outputs, **fast)
    on_load(fn=new_seed, outputs=tab.seed, **fast)
    tab.dice.click(lambda: (new_seed(), True), None, [tab.seed, tab.lock], **fast)
    # In the browser, so that who types a seed and presses Draw at once is not given another.
    tab.seed.input(None, tab.seed, tab.lock, js="(seed) => seed !== null", **fast)


Orders: TypeAlias = Callable[[Asked, list[Any], Any], tuple[Any, int]]
"""(fields, the tab's own fields, kept) -> what the browser keeps, and the seed taken; a LimnerError becomes a toast."""


class Way(NamedTuple):
    """What a tab does with its jobs. What the browser keeps of them is whatever `order` gives first."""

    order: Orders
    follow: Callable[[Any, str], AsyncIterator[tuple[Any, ...]]]  # (kept, session) -> stage, status line, cancel button
    stop: Callable[[Any], None]  # (kept)


def wire(desk: Desk, tab: Controls, easel: Easel, order: Orders, more: Sequence[Any] = ()) -> None:
    """Connect a tab that shows one job at a time; its browser keeps a list of job ids."""
    way = Way(
        order,
        lambda kept, session: scenes(desk, tab, ids_of(kept), session),
        lambda kept: cancelled(desk, ids_of(kept)),
    )
    connect(desk, tab, easel, way, more)


def connect(desk: Desk, tab: Controls, easel: Easel, way: Way, more: Sequence[Any] = ()) -> None:
    """Connect a tab's fields, buttons and stage; a page that is loaded again follows what its browser has kept."""
    wire_fields(desk, tab)
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

    def ordered(*values: Any) -> tuple[Any, int]:
        own, kept = values[len(tab.fields) : -1], values[-1]
        with toasts():
            return way.order(Asked(*values[: len(tab.fields)]), list(own), kept)

    async def follow(kept: Any, request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        async for shown in way.follow(kept, str(request.session_hash)):
            yield shown

    following: dict[str, Any] = {
        "fn": follow,
        "inputs": tab.jobs,
        "outputs": [*easel.outputs, tab.cancel],
        "trigger_mode": "multiple",
        "concurrency_limit": None,
        **quiet,
    }
    ordering = tab.go.click(ordered, [*tab.fields, *more, tab.jobs], [tab.jobs, tab.seed], concurrency_limit=None, **quiet)
    there: dict[str, Any] = {"fn": None, "queue": False, **quiet}
    ordering.success(inputs=tab.jobs, js=f"(kept) => limner.keep('{tab.tab}', kept)", **there)
    ordering.success(**following)
    on_load(outputs=tab.jobs, js=f"async () => [await limner.kept('{tab.tab}')]", **there).then(**following)
    tab.cancel.click(way.stop, tab.jobs, None, queue=False, **quiet)


def on_load(**event: Any) -> Any:
    """Connect an event to the loading of the page that is being laid out."""
    page = gr.context.Context.root_block
    if page is None:
        raise RuntimeError("a tab is laid out inside gr.Blocks")
    return page.load(**event)


def counted(desk: Desk, model: str | None, prompt: str) -> str:
    """The token counter's line."""
    if not model:
        return ""
    try:
        return words.counter(desk.count(model, prompt))
    except LimnerError as error:
        return f'<p class="lm-count lm-over">{plain(str(error))}</p>'


def suited(desk: Desk, name: str | None, *, sized: bool) -> tuple[Any, ...]:
    """What the fields show when another model is chosen: its own steps, guidance, sampler and sizes."""
    if not name:
        return ("", *[gr.skip()] * (4 if sized else 3))
    with toasts():
        offer = desk.offer(name)
    size = (gr.Radio(choices=sides(offer), value=offer.facts.side),) if sized else ()
    return about_model(offer), offer.steps, offer.own.guidance, OWN, *size


def kept(desk: Desk, jobs: Any, new: str) -> list[str]:
    """The job ids a page keeps in mind: those that have not ended, and the new one last."""
    found = [(job, desk.queue.status(job)) for job in ids_of(jobs)]
    return [*(job for job, status in found if status is not None and status.state not in ENDS), new]


def cancelled(desk: Desk, jobs: Sequence[str]) -> None:
    """Cancel what is shown: what is being drawn, or when nothing is, what comes next."""
    states = [(job, status.state) for job in jobs if (status := desk.queue.status(job)) is not None]
    running = [job for job, state in states if state == "running"] or [job for job, state in states if state == "queued"][:1]
    for job in running:
        desk.queue.cancel(job)


def ids_of(kept: Any) -> list[str]:
    """The job ids that a browser has kept, whatever else it may have kept there."""
    return [str(job) for job in kept[-REMEMBERED:]] if isinstance(kept, list) else []


def turn(session: str, tab: str) -> Callable[[], bool]:
    """Take over following a tab's jobs: whoever did so before in this page stops. Says whether it is still one's turn."""
    me, place = next(_turns), (session, tab)
    _newest[place] = me
    while len(_newest) > MOST_PAGES:  # pages that were closed
        del _newest[next(iter(_newest))]
    return lambda: _newest.get(place) == me


def left_of(desk: Desk, view: View) -> View:
    """A job that has ended without the pictures that were deleted since."""
    if not view.ended:
        return view
    there = {index: picture for index, picture in view.pictures.items() if desk.store.picture(picture.id) is not None}
    return replace(view, pictures=there)


async def scenes(desk: Desk, tab: Controls, jobs: Sequence[str], session: str) -> AsyncIterator[tuple[Any, ...]]:
    """Stage, status line and cancel button, again whenever something has happened to one of the jobs."""
    told: set[str] = set()
    first = True
    async for known in followed(desk.queue, jobs, turn(session, tab.tab)):
        views = [left_of(desk, view) for view in known]
        busy = any(not view.ended for view in views)
        yield showing.stage(views, empty=tab.empty), plain(showing.said(views)), gr.Button(interactive=busy)
        failed = {view.id: view.message for view in views if view.state == "failed" and view.id not in told}
        for message in () if first else failed.values():  # what had failed before the page was loaded is no news
            gr.Warning(plain(message), title="Not drawn")
        told |= set(failed)
        first = False
