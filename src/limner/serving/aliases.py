"""OpenAI's model names and what each of them takes; limner's own models take everything.

Source: the Images API. A field that a name does not take is refused, as there; limner's extensions are taken everywhere.
What the fields look like is in `requests.py`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from limner.serving.envelopes import ApiError, invalid
from limner.serving.settings import ServeSettings

Route = Literal["generations", "edits", "variations"]

EXTENSIONS = ("seed", "steps", "guidance", "guidance_scale", "sampler", "negative_prompt", "strength", "soft", "stream_options")
_GPT = ("background", "output_format", "output_compression", "quality", "stream", "partial_images", "safety_identifier")
_GPT_ONLY = {*_GPT, "moderation", "input_fidelity"} - {"quality"}
_SQUARES = ("256x256", "512x512", "1024x1024")


class Rules(NamedTuple):
    """What may be asked of a model name."""

    name: str  # as messages say it
    takes: dict[Route, tuple[str, ...]]  # fields beside those of all; a missing route is a missing verb
    prompt: int = 32_000  # characters
    n: int = 10
    sizes: tuple[str, ...] = ()  # () = any
    size: str = "auto"  # when none is asked for
    qualities: tuple[str, ...] = ()  # () = any
    links: bool = False  # answers with a url unless asked otherwise
    usage: bool = False  # tells tokens, background, format, quality and size
    revised: bool = False  # tells the prompt that was drawn
    images: int = 16  # pictures of an edit
    square_png: bool = False  # the picture of an edit must be a square PNG below 4 MB
    strict: bool = True  # refuses fields it does not take


_DALLE_2 = Rules(
    "dall-e-2",
    {"generations": ("response_format", "quality"), "edits": ("response_format",), "variations": ("response_format",)},
    prompt=1000,
    sizes=_SQUARES,
    size="1024x1024",
    qualities=("standard", "auto"),
    links=True,
    images=1,
    square_png=True,
)
_DALLE_3 = Rules(
    "dall-e-3",
    {"generations": ("response_format", "quality", "style")},
    prompt=4000,
    n=1,
    sizes=("1024x1024", "1792x1024", "1024x1792"),
    size="1024x1024",
    qualities=("standard", "hd", "auto"),
    links=True,
    revised=True,
)
_GPT_IMAGE = Rules(
    "gpt-image-1",
    {"generations": (*_GPT, "moderation"), "edits": (*_GPT, "input_fidelity")},
    sizes=("auto", "1024x1024", "1536x1024", "1024x1536"),
    qualities=("low", "medium", "high", "auto"),
    usage=True,
)
OWN = Rules("limner", {}, strict=False, links=True)
ALIASES = {
    "dall-e-2": _DALLE_2,
    "dall-e-3": _DALLE_3,
    "gpt-image-1": _GPT_IMAGE,
    "gpt-image-1-mini": _GPT_IMAGE._replace(name="gpt-image-1-mini"),
    "gpt-image-1.5": _GPT_IMAGE._replace(name="gpt-image-1.5"),
}


class Chosen(NamedTuple):
    """Who draws a request, and by which rules."""

    asked: str  # the name in the request
    model: str  # the one that draws
    rules: Rules


def choose(name: str | None, given: set[str], settings: ServeSettings, served: list[str]) -> Chosen:
    """The model of a request. One without a name means dall-e-2, or gpt-image-1 when it has a field of that alone.

    Raises: ApiError 404 for a name that is neither served nor an alias.
    """
    asked = name or ("gpt-image-1" if given & _GPT_ONLY else "dall-e-2")
    model = drawn_by(asked, settings)
    if model not in served:
        raise unknown(asked, served)
    return Chosen(asked, model, OWN._replace(name=asked) if asked in served else ALIASES[asked])


def drawn_by(name: str, settings: ServeSettings) -> str:
    """The model that draws for a name; a name that is no alias stands for itself."""
    return settings.aliases.get(name, settings.model) if name in ALIASES else name


def unknown(name: str, served: list[str]) -> ApiError:
    """There is no such model."""
    have = ", ".join([*served, *ALIASES])
    message = f"The model '{name[:80]}' does not exist here. Have: {have}."
    return ApiError(404, message, code="model_not_found", param="model")


def check_fields(rules: Rules, route: Route, given: set[str]) -> None:
    """Refuse fields that a name does not take.

    Raises: ApiError.
    """
    if rules.strict and route not in rules.takes:
        having = " or ".join(name for name, each in ALIASES.items() if route in each.takes)
        what = f"The model '{rules.name}' has no {route}; "
        raise invalid(f"{what}{having or 'one of limner'} has.", param="model", code="unsupported")
    taken = {"prompt", "model", "n", "size", "user", "image", "mask", *EXTENSIONS}
    for name in sorted(given):
        if rules.strict and name not in taken and name not in rules.takes[route]:
            raise invalid(
                f"Unknown parameter: '{name}'. The model '{rules.name}' does not take it.", param=name, code="unknown_parameter"
            )


def check_values(rules: Rules, *, prompt: str, n: int, size: str | None, quality: str | None) -> None:
    """Refuse values outside what a name takes.

    Raises: ApiError.
    """
    if len(prompt) > rules.prompt:
        message = f"The prompt has {len(prompt):,} characters; '{rules.name}' takes {rules.prompt:,}."
        raise invalid(message, param="prompt", code="string_above_max_length")
    if n > rules.n:
        raise invalid(f"Invalid value for 'n': {n}; '{rules.name}' draws at most {rules.n} at a time.", param="n")
    if size is not None and rules.sizes and size not in rules.sizes:
        raise invalid(f"Invalid value for 'size': '{size}'; '{rules.name}' takes {', '.join(rules.sizes)}.", param="size")
    if quality is not None and rules.qualities and quality not in rules.qualities:
        have = ", ".join(rules.qualities)
        raise invalid(f"Invalid value for 'quality': '{quality}'; '{rules.name}' takes {have}.", param="quality")
