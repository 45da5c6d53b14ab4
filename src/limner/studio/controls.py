"""The fields that draw, edit and sketch share, and what they do: count tokens, follow the model, order, follow the job.

Each tab keeps the ids of its jobs in the browser, so that a page that is reloaded shows them again.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from limner.config import SamplerName
from limner.errors import LimnerError
from limner.serving.orders import ENDS, Verb
from limner.studio import showing, words
from limner.studio.asking import MOST, OWN, new_seed, plain, toasts
from limner.studio.desk import Desk, Offer
from limner.studio.following import followed

SAMPLERS: tuple[SamplerName, ...] = SamplerName.__args__  # type: ignore[attr-defined]
REMEMBERED = 20  # jobs that a page keeps in mind
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
    jobs: gr.BrowserState

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
        size = gr.Radio(choices=sides(offer), value=offer.facts.side if offer else None, label="Size", elem_classes="lm-sizes")
    n = gr.Slider(1, MOST, value=1, step=1, label="Pictures")
    with gr.Row(elem_classes="lm-seed"):
        seed = gr.Number(new_seed, label="Seed", precision=0, scale=3, min_width=120)
        dice = gr.Button("New seed", size="sm", scale=1, min_width=80, elem_classes="lm-dice")
        lock = gr.Checkbox(label="Keep the seed", container=False, scale=1, min_width=120)
    with gr.Accordion("More settings", open=False):
        negative = gr.Textbox("", label="Draw away from", placeholder="what should not be there", lines=1, max_lines=5)
        steps = gr.Slider(1, 250, value=offer.steps if offer else 20, step=1, label="Steps")
        guidance = gr.Slider(
            0, 20, value=offer.own.guidance if offer else 3, step=0.1, label="Guidance: how hard the words pull"
        )
        sampler = gr.Dropdown([OWN, *SAMPLERS], value=OWN, label="Sampler")
    jobs = gr.BrowserState([], storage_key=f"limner-{tab}", secret="limner-studio")
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
    sizes = " and ".join(f"{side} px" for side in facts.sides)
    return f"<p>{plain(facts.summary)}. {sizes}; {', '.join(facts.verbs)}.</p>"


def sides(offer: Offer | None) -> list[tuple[str, int]]:
    """The sizes to choose from: the model's own, twice and four times that."""
    if offer is None:
        return []
    own = offer.facts.side
    return [(f"{side} × {side}" + (" (own)" if side == own else ""), side) for side in (own, 2 * own, 4 * own) if side <= 1024]


def wire(
    desk: Desk, tab: Controls, easel: Easel, order: Callable[..., tuple[list[str], int]], more: Sequence[Any] = ()
) -> None:
    """Connect a tab's fields: `order(*fields, *more, jobs)` orders, and gives the ids to keep and the seed taken."""
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    fast: dict[str, Any] = {**quiet, "queue": False}
    gr.on(
        [tab.prompt.change, tab.model.change],
        lambda prompt, model: counted(desk, model, prompt),
        [tab.prompt, tab.model],
        tab.counter,
        trigger_mode="always_last",
        **fast,
    )
    outputs = [tab.about, tab.steps, tab.guidance, tab.sampler, *([tab.size] if tab.size is not None else [])]
    tab.model.change(lambda name: suited(desk, name, sized=tab.size is not None), tab.model, outputs, **fast)
    tab.dice.click(lambda: (new_seed(), True), None, [tab.seed, tab.lock], **fast)
    tab.seed.input(lambda seed: seed is not None, tab.seed, tab.lock, **fast)

    async def follow(jobs: list[str], request: gr.Request) -> AsyncIterator[tuple[Any, ...]]:
        async for shown in scenes(desk, tab, jobs, str(request.session_hash)):
            yield shown

    following: dict[str, Any] = {
        "fn": follow,
        "inputs": tab.jobs,
        "outputs": [*easel.outputs, tab.cancel],
        "trigger_mode": "multiple",
        "concurrency_limit": None,
        **quiet,
    }
    tab.go.click(order, [*tab.fields, *more, tab.jobs], [tab.jobs, tab.seed], concurrency_limit=None, **quiet).success(
        **following
    )
    gr.context.Context.root_block.load(**following)  # type: ignore[union-attr]  # there is one while a page is laid out
    tab.cancel.click(lambda jobs: cancelled(desk, jobs), tab.jobs, None, **fast)


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


def kept(desk: Desk, jobs: Sequence[str], new: str) -> list[str]:
    """The job ids a page keeps in mind: those that have not ended, and the new one last."""
    found = [(job, desk.queue.status(job)) for job in jobs[-REMEMBERED:]]
    return [*(job for job, status in found if status is not None and status.state not in ENDS), new]


def cancelled(desk: Desk, jobs: Sequence[str]) -> None:
    """Cancel what is shown: what is being drawn, or when nothing is, what comes next."""
    states = [(job, status.state) for job in jobs if (status := desk.queue.status(job)) is not None]
    running = [job for job, state in states if state == "running"] or [job for job, state in states if state == "queued"][:1]
    for job in running:
        desk.queue.cancel(job)


async def scenes(desk: Desk, tab: Controls, jobs: Sequence[str], session: str) -> AsyncIterator[tuple[Any, ...]]:
    """Stage, status line and cancel button, again whenever something has happened to one of the jobs."""
    me = next(_turns)
    place = (session, tab.tab)
    _newest[place] = me
    try:
        async for views in followed(desk.queue, jobs, lambda: _newest.get(place) == me):
            busy = any(not view.ended for view in views)
            yield showing.stage(views, empty=tab.empty), plain(showing.said(views)), gr.Button(interactive=busy)
            for view in views:
                if view.state == "failed":
                    gr.Warning(plain(view.message), title="Not drawn")
    finally:
        if _newest.get(place) == me:
            del _newest[place]
