"""Jobs and pictures as HTML: the stage where a picture appears, the line of waiting jobs, what a screen reader is told.

Every text of a person or a model passes `html.escape`. Buttons say in `data-act` and `data-id` what they want; the
page's script hands that to Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from limner.studio.following import Finished, View

PATH = "/studio/pictures"
SMALL = 128  # pixels below which a picture is enlarged without smoothing
EXAMPLES = ("a red fox", "a cup of coffee", "a rocket", "a slice of pizza", "a blue whale", "a smiling sun")
_VERBS = {"draw": "Drawing", "edit": "Painting", "outpaint": "Going on", "sketch": "Drawing over", "upscale": "Enlarging"}


def picture_url(picture: str, *, query: str = "") -> str:
    """Where the page fetches a finished picture; `query` is "", "save" or "bare"."""
    return f"{PATH}/{picture}" + (f"?as={query}" if query else "")


def welcome(
    examples: Sequence[str] = EXAMPLES, *, hint: str = "Say what you would like to see, or begin with one of these."
) -> str:
    """The empty stage: a word of what to do, and prompts to begin with."""
    chips = "".join(
        f'<button type="button" class="lm-chip" data-act="try" data-id="{escape(e)}">{escape(e)}</button>' for e in examples
    )
    chips = f'<div class="lm-chips">{chips}</div>' if examples else ""
    return f'<div class="lm-empty"><div class="lm-easel" aria-hidden="true"></div><p>{escape(hint)}</p>{chips}</div>'


def stage(views: Sequence[View], *, empty: str) -> str:
    """The stage: the job that is shown, and the others that have not ended."""
    shown = chosen(views)
    if shown is None:
        return empty
    waiting = [view for view in views if not view.ended and view is not shown]
    return f'<div class="lm-scene">{_line(waiting)}{_head(shown)}{_progress(shown)}{_fault(shown)}{_pictures(shown)}</div>'


def chosen(views: Sequence[View]) -> View | None:
    """The job to show large: what is being drawn, else what was drawn last, else what comes next."""
    for state in (("running",), ("done", "failed", "cancelled"), ("queued",)):
        fitting = [view for view in views if view.state in state]
        if fitting:
            return fitting[-1] if "done" in state else fitting[0]
    return None


def said(views: Sequence[View]) -> str:
    """How things stand in a few words, for those who hear the page; it changes at most four times a picture."""
    view = chosen(views)
    if view is None:
        return ""
    match view.state:
        case "queued":
            return place(view.position)
        case "running":
            doing = _VERBS.get(view.verb, "Drawing")
            quarter = int(view.progress * 4) * 25
            return f"{doing}: {quarter} %" if quarter else doing
        case "done":
            return f"Done: {many(len(view.pictures))}"
        case "cancelled":
            return f"Cancelled; {many(len(view.pictures))} finished before" if view.pictures else "Cancelled"
    return f"Failed: {view.message}"


def place(position: int | None) -> str:
    """A place in the queue in words."""
    if not position:
        return "Next in the queue"
    return f"In the queue, {position} {'job' if position == 1 else 'jobs'} before it"


def left(seconds: float | None) -> str:
    """Time left in words; "" when nobody knows."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s left"
    return f"about {round(seconds / 60)} min left"


def many(count: int) -> str:
    """A number of pictures in words."""
    return "1 picture" if count == 1 else f"{count} pictures"


def image(picture: Finished, alt: str, *, lazy: bool = False) -> str:
    """A finished picture; small ones keep their pixels."""
    kind = ' class="lm-small"' if max(picture.width, picture.height) < SMALL else ""
    later = ' loading="lazy"' if lazy else ""
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="{picture_url(picture.id)}" alt="{escape(alt)}" {size}{kind}{later}>'


def _line(views: Sequence[View]) -> str:
    if not views:
        return ""
    rows = "".join(
        f"<li><bdi>{escape(view.prompt) or 'no words'}</bdi> <small>{place(view.position)}"
        f"{' · ' + left(view.eta_s) if view.eta_s is not None else ''}</small> "
        f'<button type="button" data-act="cancel" data-id="{view.id}" data-key="x{view.id}" '
        f'aria-label="Cancel {escape(view.prompt, quote=True)}">Cancel</button></li>'
        for view in views
    )
    return f'<ul class="lm-line" aria-label="Waiting">{rows}</ul>'


def _head(view: View) -> str:
    facts = [view.model, "" if view.seed is None else f"seed {view.seed}", "cancelled" if view.state == "cancelled" else ""]
    line = " · ".join(escape(fact) for fact in facts if fact)
    return f'<div class="lm-head"><h2 dir="auto">{escape(view.prompt) or "no words"}</h2><p>{line}</p></div>'


def _progress(view: View) -> str:
    if view.ended:
        return ""
    if view.state == "queued":
        words = " · ".join(part for part in (place(view.position), left(view.eta_s)) if part)
    else:
        step = f"{escape(view.stage)}, step {view.step} of {view.of}" if view.of else "Getting the model ready"
        words = " · ".join(part for part in (step, left(view.eta_s)) if part)
    return (
        f'<div class="lm-progress"><progress max="1" value="{view.progress:.3f}" aria-label="Progress">'
        f"</progress><p>{words}</p></div>"
    )


def _fault(view: View) -> str:
    if view.state != "failed":
        return ""
    return (
        f'<div class="lm-fault" role="alert"><p>{escape(view.message)}</p>'
        f'<button type="button" data-copy="{escape(view.message, quote=True)}">Copy the message</button></div>'
    )


def _pictures(view: View) -> str:
    if view.ended:
        slots = [_finished(view, view.pictures[index]) for index in sorted(view.pictures)]
    else:
        slots = [_slot(view, index) for index in range(view.n)]
    return f'<div class="lm-pictures lm-of{min(4, len(slots))}">{"".join(slots)}</div>' if slots else ""


def _slot(view: View, index: int) -> str:
    if index in view.pictures:
        return _finished(view, view.pictures[index])
    if index in view.previews:
        alt = f"Preview of {view.prompt}"
        return (
            '<figure class="lm-coming"><img class="lm-preview" '
            f'src="data:image/png;base64,{view.previews[index]}" alt="{escape(alt)}"></figure>'
        )
    return '<figure class="lm-coming"><div class="lm-blank" aria-hidden="true"></div></figure>'


def _finished(view: View, picture: Finished) -> str:
    acts = "".join(
        f'<button type="button" data-act="{act}" data-id="{picture.id}" data-key="{act}{picture.id}">{words}</button>'
        for act, words in (("edit", _again(view)), ("sketch", "Sketch"))
    )
    save = f'<a href="{picture_url(picture.id, query="save")}" download data-key="s{picture.id}">Save</a>'
    return (
        f'<figure><a class="lm-open" href="{picture_url(picture.id)}" target="_blank" rel="noopener">'
        f"{image(picture, view.prompt or 'A picture without words')}</a>"
        f'<figcaption><span class="lm-acts">{acts}{save}</span></figcaption></figure>'
    )


def _again(view: View) -> str:
    """What sending a result to the canvas is called: the next step, where it was an edit."""
    return "Go on from this" if view.verb in ("edit", "outpaint") else "Edit"
