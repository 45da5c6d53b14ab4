"""The bodies of the Images API, limner's extensions among them: from JSON or a form to a checked `Wanted`.

null is the same as nothing. What a model name allows is in `aliases.py`; uploaded pictures are read in `uploads.py`.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from fastapi import Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import UploadFile

from limner.config import SamplerName
from limner.serving import aliases
from limner.serving.aliases import Chosen, Route
from limner.serving.envelopes import ApiError, invalid, of_validation
from limner.serving.orders import Order
from limner.serving.settings import ServeSettings

LARGEST = 2048  # pixels of a side of a finished picture
SKETCHING = 0.6  # strength of an edit without a mask
FETCHING = 600  # seconds that a picture which travels in the answer is kept for it
_SIDE = r"(1[6-9]|[2-9]\d|[1-9]\d\d|1\d{3}|20[0-3]\d|204[0-8])"  # 16 to 2048
_SIZE = re.compile(rf"auto|{_SIDE}x{_SIDE}")
_PICTURES = re.compile(r"image(\[\d{0,3}\])?")
# Fields of OpenAI's newest models that these models have no use for; an answer lists those it passed over.
UNUSED = (
    "quality",
    "style",
    "input_fidelity",
    "complexity",
    "frame_count",
    "frame_duration_ms",
    "svg",
    "svg[model]",
    "svg[reasoning][effort]",
    "markup",
)

Body = TypeVar("Body", bound=BaseModel)


def _size(text: str) -> str:
    if not _SIZE.fullmatch(text):
        raise ValueError(f"write auto or WIDTHxHEIGHT, each 16 to {LARGEST} pixels")
    return text


Size = Annotated[str, AfterValidator(_size), Field(json_schema_extra={"pattern": f"^({_SIZE.pattern})$"})]


class StreamOptions(BaseModel):
    """limner's extension: more than pictures on a stream."""

    model_config = ConfigDict(extra="forbid")

    progress: bool | None = Field(None, description="Send limner.progress events.")


class Common(BaseModel):
    """What all three routes know."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, max_length=200, description="A model of GET /v1/models; dall-e-2 without one.")
    n: int | None = Field(None, ge=1, le=10, description="Pictures.")
    size: Size | None = Field(None, description="auto or WIDTHxHEIGHT; other sizes than the model's own are resampled.")
    response_format: Literal["url", "b64_json"] | None = None
    user: str | None = Field(None, max_length=2000)


class Drawing(Common):
    """What generations and edits know."""

    prompt: str = Field(min_length=1, max_length=32_000)
    quality: Literal["auto", "standard", "hd", "low", "medium", "high", "xhigh", "max"] | None = None
    background: Literal["auto", "opaque", "transparent"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of jpeg and webp.")
    stream: bool | None = None
    partial_images: int | None = Field(None, ge=0, le=3)
    safety_identifier: str | None = Field(None, max_length=2000)
    complexity: Literal["low", "medium", "high"] | None = None
    frame_count: int | None = Field(None, ge=2, le=16)
    frame_duration_ms: int | None = None
    seed: int | None = Field(None, ge=-(2**63), lt=2**63, description="limner: the same seed draws the same picture.")
    steps: int | str | None = Field(None, description='limner: of the first stage; 27, "ddim25", "fast27".')
    guidance: float | None = Field(None, ge=0, le=100, allow_inf_nan=False, description="limner: how hard the words pull.")
    guidance_scale: float | None = Field(None, ge=0, le=100, allow_inf_nan=False, description="limner: the same.")
    sampler: SamplerName | None = Field(None, description="limner: of the first stage.")
    negative_prompt: str | None = Field(None, max_length=10_000, description="limner: words to draw away from.")

    @property
    def pull(self) -> float | None:
        """The guidance, by whichever of its two names."""
        return self.guidance if self.guidance is not None else self.guidance_scale


class GenerateBody(Drawing):
    """POST /v1/images/generations."""

    style: Literal["vivid", "natural"] | None = None
    moderation: Literal["auto", "low"] | None = None
    svg: dict[str, Any] | None = None
    stream_options: StreamOptions | None = None


class EditFields(Drawing):
    """The fields of POST /v1/images/edits, beside its files."""

    input_fidelity: Literal["high", "low"] | None = None
    strength: float | None = Field(None, gt=0, le=1, description="limner: how far to leave the picture; 1 forgets it.")
    soft: float | None = Field(None, ge=0, le=1000, description="limner: pixels over which the new fades into the old.")
    progress: bool | None = Field(None, alias="stream_options[progress]", description="limner: send limner.progress events.")
    svg_model: str | None = Field(None, alias="svg[model]")
    svg_effort: str | None = Field(None, alias="svg[reasoning][effort]")


class VariationFields(Common):
    """The fields of POST /v1/images/variations, beside its file."""


BODIES: dict[Route, type[Common]] = {"generations": GenerateBody, "edits": EditFields, "variations": VariationFields}


class Upload(NamedTuple):
    """A form: its fields, and its files by their names."""

    fields: dict[str, str]
    images: list[UploadFile]
    mask: UploadFile | None
    given: set[str]  # names of all parts


class Wanted(NamedTuple):
    """A request of pictures, checked: the order and how the answer shall look."""

    order: Order
    chosen: Chosen
    links: bool  # url instead of b64_json
    format: str  # png, jpeg or webp
    quality: int | None
    stream: bool
    progress: bool  # send limner.progress events
    told: dict[str, str]  # background and quality as the answer says them
    passed_over: tuple[str, ...]  # fields that these models have no use for


async def read_json(request: Request, kind: type[Body]) -> tuple[Body, set[str]]:
    """The JSON body of a request, and the names of the fields that are given.

    Raises: ApiError for what is not JSON, or does not fit.
    """
    tree = await read_object(request)
    fields = {name: value for name, value in tree.items() if value is not None}
    return parse(kind, fields, strict=True), set(fields)


async def read_object(request: Request) -> dict[str, Any]:
    """The JSON object that a request carries.

    Raises: ApiError for what is none.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # A page of another site can send forms and plain text without asking; JSON it cannot.
        raise ApiError(415, "Send the body as application/json.", code="unsupported_media_type")
    return object_of(await request.body())


def object_of(body: bytes) -> dict[str, Any]:
    """A JSON object from its text. Raises: ApiError for what is none."""
    try:
        tree = json.loads(body, parse_constant=_no_number)
        json.dumps(tree, ensure_ascii=False).encode()  # half a character, as "\\ud800", can be written in JSON but nowhere else
    except (ValueError, RecursionError):
        raise invalid("The body is not JSON.", code="invalid_json") from None
    if not isinstance(tree, dict):
        raise invalid("The body must be a JSON object.", code="invalid_type")
    return tree


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")  # Python reads NaN and Infinity all the same


def parse(kind: type[Body], fields: Mapping[str, Any], *, strict: bool, files: Iterable[str] = ()) -> Body:
    """A body from its fields; strict: a text is no number, as in JSON. `files` are names of fields that carry files.

    Raises: ApiError with the first thing that does not fit.
    """
    known = [field.alias or name for name, field in kind.model_fields.items()]
    for name in fields:
        if name not in known:
            raise unknown(name, [*known, *files])
    try:
        return kind.model_validate(dict(fields), strict=strict)
    except ValidationError as error:
        raise of_validation(error.errors()) from None


def unknown(name: str, known: Iterable[str]) -> ApiError:
    """A field that a route does not know, with the routes that do or the field that may be meant."""
    routes = [route for route, body in BODIES.items() if name in body.model_fields]
    near = difflib.get_close_matches(name[:80], list(known), n=1, cutoff=0.6)
    hint = f" It belongs to {' and '.join(routes)}." if routes else f" Did you mean '{near[0]}'?" if near else ""
    return invalid(f"Unknown parameter: '{name[:80]}'.{hint}", param=name[:80], code="unknown_parameter")


@contextlib.asynccontextmanager
async def form(request: Request, kind: type[Body]) -> AsyncIterator[tuple[Body, Upload]]:
    """The form of a request, its files open until the block ends.

    Raises: ApiError for what is no form, or does not fit.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        raise ApiError(415, "Send the body as multipart/form-data, pictures as files.", code="unsupported_media_type")
    from limner.serving import uploads  # imports torch: not before somebody sends a picture

    parts = await uploads.form(request)
    try:
        upload = _sorted(parts.multi_items())
        yield parse(kind, upload.fields, strict=False, files=("image", "mask")), upload
    finally:
        await parts.close()


def _sorted(parts: Iterable[tuple[str, Any]]) -> Upload:
    fields: dict[str, str] = {}
    images: list[tuple[int, UploadFile]] = []
    masks: list[UploadFile] = []
    given = set()
    for name, value in parts:
        given.add(name.partition("[")[0] if name not in ("svg[model]", "svg[reasoning][effort]") else name)
        is_file = not isinstance(value, str)
        if _PICTURES.fullmatch(name) or name in ("mask", "markup"):
            if not is_file:
                raise invalid(f"Invalid type for '{name}': send it as a file.", param=name, code="invalid_type")
            if name != "markup":
                masks.append(value) if name == "mask" else images.append((int("0" + name[6:-1]), value))
        elif is_file:
            raise invalid(f"Invalid type for '{name[:80]}': it is no file.", param=name[:80], code="invalid_type")
        elif name in fields:
            raise invalid(f"'{name[:80]}' is given twice.", param=name[:80])
        else:
            fields[name] = value
    if not images:
        raise invalid("Missing required parameter: 'image'.", param="image", code="missing_required_parameter")
    if len(masks) > 1:
        raise invalid("'mask' is given twice.", param="mask")
    ordered = [value for _, value in sorted(images, key=lambda image: image[0])]  # image[1] may come before image[0]
    return Upload(fields, ordered, masks[0] if masks else None, given)


def wanted(body: Drawing, given: set[str], route: Route, settings: ServeSettings, served: list[str]) -> Wanted:
    """What a body asks for, by the rules of its model.

    Raises: ApiError when it does not fit them.
    """
    chosen = aliases.choose(body.model, given, settings, served)
    rules = chosen.rules
    aliases.check_fields(rules, route, given)
    aliases.check_values(rules, prompt=body.prompt, n=body.n or 1, size=body.size, quality=body.quality)
    _check_together(body)
    stream = bool(body.stream)
    links = not stream and (body.response_format == "url" if body.response_format else rules.links)
    told = {"background": "opaque", "quality": body.quality if body.quality not in (None, "auto") else "high"}
    return Wanted(
        order=_order(body, chosen, settings.links_s if links else FETCHING),
        chosen=chosen,
        links=links,
        format=body.output_format or "png",
        quality=body.output_compression if body.output_format in ("jpeg", "webp") else None,
        stream=stream,
        progress=_progress(body),
        told={key: str(value) for key, value in told.items()},
        passed_over=tuple(name for name in UNUSED if name in given),
    )


def size_of(text: str) -> tuple[int | None, int | None]:
    """Width and height of a size; None for those of the model."""
    if text == "auto":
        return None, None
    width, _, height = text.partition("x")
    return int(width), int(height)


def _order(body: Drawing, chosen: Chosen, keep: int) -> Order:
    width, height = size_of(body.size or chosen.rules.size)
    return Order(
        model=chosen.model,
        prompt=body.prompt,
        negative=body.negative_prompt or "",
        n=body.n or 1,
        seed=body.seed,
        steps=None if body.steps is None else _short(str(body.steps)),
        guidance=body.pull,
        sampler=body.sampler,
        width=width,
        height=height,
        moderation=(body.moderation if isinstance(body, GenerateBody) else None) or "auto",
        previews=(body.partial_images or 0) if body.stream else 0,
        keep=keep,
    )


def _check_together(body: Drawing) -> None:
    """Fields that do not go together. Raises: ApiError."""
    if body.background == "transparent":
        raise invalid("Invalid value for 'background': pictures are opaque here; use opaque or auto.", param="background")
    if body.output_compression not in (None, 100) and body.output_format not in ("jpeg", "webp"):
        raise invalid("'output_compression' needs output_format jpeg or webp; png loses nothing.", param="output_compression")
    if body.guidance is not None and body.guidance_scale is not None and body.guidance != body.guidance_scale:
        raise invalid("'guidance' and 'guidance_scale' are one setting; give one of them.", param="guidance_scale")
    if not body.stream and body.partial_images:
        raise invalid("'partial_images' needs stream: true.", param="partial_images")
    if not body.stream and _progress(body):
        raise invalid("'stream_options' needs stream: true.", param="stream_options")
    if body.stream and body.response_format == "url":
        raise invalid("A stream carries its pictures; leave 'response_format' out, or say b64_json.", param="response_format")


def _progress(body: Drawing) -> bool:
    if isinstance(body, EditFields):
        return bool(body.progress)
    return isinstance(body, GenerateBody) and body.stream_options is not None and bool(body.stream_options.progress)


def _short(steps: str) -> str:
    if not 0 < len(steps) <= 100:
        raise invalid("Invalid value for 'steps': write 1 to 100 characters.", param="steps")
    return steps
