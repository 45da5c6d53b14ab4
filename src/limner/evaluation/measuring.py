"""Every measure of this package by its name: load the model, open the data, draw, judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias, overload

from limner.config import parse
from limner.data.emoji import EmojiSource
from limner.data.source import Source, open_source
from limner.errors import DataError, InputError, UnsupportedError
from limner.evaluation import edits, emoji, features, frechet, shapes
from limner.evaluation.drawing import Wishes
from limner.evaluation.edits import EditsResult
from limner.evaluation.emoji import EmojiResult
from limner.evaluation.frechet import Against, FrechetResult
from limner.evaluation.shapes import ShapesResult
from limner.systems import choosing
from limner.systems.drawing import load_pipe
from limner.systems.glide import Glide

Measure = Literal["shapes", "edits", "emoji", "frechet"]
Result: TypeAlias = ShapesResult | EditsResult | EmojiResult | FrechetResult
Progress = Callable[[str, int, int], None]  # what, done, of
PICTURES: dict[Measure, int] = {"shapes": 500, "edits": 300, "emoji": 200, "frechet": 500}  # unless asked otherwise


@overload
def evaluate(measure: Literal["shapes"], model: str | Path, **options: Any) -> ShapesResult: ...
@overload
def evaluate(measure: Literal["edits"], model: str | Path, **options: Any) -> EditsResult: ...
@overload
def evaluate(measure: Literal["emoji"], model: str | Path, data: str | Source, **options: Any) -> EmojiResult: ...
@overload
def evaluate(measure: Literal["frechet"], model: str | Path, data: str | Source, **options: Any) -> FrechetResult: ...
def evaluate(
    measure: Measure,
    model: str | Path,
    data: str | Source | None = None,
    *,
    n: int | None = None,
    against: Against = "held_out",
    device: str = "auto",
    dtype: str = "auto",
    settings: Sequence[str] = (),
    progress: Progress = lambda what, done, of: None,
    **wishes: Any,
) -> Result:
    """Measure a model: `evaluate("shapes", "glide-shapes", n=100)`, `evaluate("emoji", "glide-emoji", "emoji:data/emoji")`.

    "shapes": scenes of shapes, read back exactly. "edits": edits of such scenes by both methods. "emoji": is the thing asked
    for among the five nearest concepts. "frechet": the distance to real pictures, of which `against` says which ones.
    `n` counts pictures, `wishes` are the fields of `Wishes` (seed, steps, guidance, ...), `settings` as in `load`.

    Raises: InputError for an unknown measure or a missing data set; DataError for one that does not serve; UnsupportedError for
        a model that reads no words; ConfigError for a wish that does not fit.
    """
    if measure not in PICTURES:
        raise InputError(f"evaluate: no measure {measure!r}; there are {', '.join(PICTURES)}")
    if data is None and measure in ("emoji", "frechet"):
        raise InputError(f"evaluate: {measure} needs a data set, such as 'emoji:FOLDER'")
    count = PICTURES[measure] if n is None else n
    wished = parse(Wishes, wishes, where="evaluate")
    loading: dict[str, Any] = {"device": device, "dtype": dtype, "settings": settings}
    if measure == "edits":
        places, _ = painters(model)
        pipes = {method: load_pipe(place, **loading) for method, place in places.items()}
        return edits.evaluate(pipes, wished, n=count, progress=lambda done, of: progress("edits", done, of))
    source = open_source(data) if isinstance(data, str) else data
    if measure == "emoji" and not isinstance(source, EmojiSource):
        raise DataError(f"{data}: concepts are known of emoji folders only; build one with `limner data build emoji`")
    system = _reader(model, loading)
    if source is None or measure == "shapes":
        return shapes.evaluate(system, wished, n=count, progress=lambda done, of: progress("shapes", done, of))
    if isinstance(source, EmojiSource) and measure == "emoji":
        return emoji.evaluate(system, source, features.efficientnet(), wished, n=count, progress=progress)
    return frechet.evaluate(system, source, features.efficientnet(), wished, n=count, against=against, progress=progress)


def painters(model: str | Path) -> tuple[dict[str, str | Path], dict[str, str]]:
    """What paints for a model by each method of editing, and by which it cannot, with the reason."""
    places: dict[str, str | Path] = {}
    missing: dict[str, str] = {}
    for method in choosing.METHODS:
        try:
            places[method] = choosing.painter(str(model), method)
        except UnsupportedError as error:
            missing[method] = str(error)
    return places, missing


def _reader(model: str | Path, loading: dict[str, Any]) -> Glide:
    pipe = load_pipe(model, **loading)
    if not isinstance(pipe.system, Glide):
        raise UnsupportedError(f"{pipe.name}: reads no words, so captions cannot judge what it draws; use a glide model")
    return pipe.system
