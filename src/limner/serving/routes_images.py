"""POST /v1/images/generations, /edits and /variations, and the links to their pictures."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response
from starlette.datastructures import UploadFile

from limner.errors import InputError
from limner.serving import aliases, answers, describing, guards, pictures, requests
from limner.serving.aliases import Route, Rules
from limner.serving.answers import Task
from limner.serving.envelopes import ApiError, invalid, responses
from limner.serving.orders import Order
from limner.serving.requests import EditFields, GenerateBody, Upload, VariationFields, Wanted
from limner.serving.safety import Refused
from limner.serving.server import Client, Parts, Serving
from limner.serving.shelf import Shelf

router = APIRouter(prefix="/images", tags=["images"])
files = APIRouter(tags=["images"])

_FAILURES = responses(400, 401, 403, 404, 408, 409, 413, 415, 429, 500, 503)
_DALL_E_2_BYTES = 4 * 2**20


class Painting(NamedTuple):
    """An edit, ready to be queued."""

    order: Order
    picture: bytes
    mask: bytes | None
    size: tuple[int, int]  # of the picture
    passed_over: tuple[str, ...]  # pictures that have no part in it


@router.post(
    "/generations",
    summary="Draw pictures of a prompt",
    responses=describing.pictures(_FAILURES),
    openapi_extra=describing.json_body(GenerateBody),
)
async def generations(request: Request, serving: Parts, client: Client) -> Response:
    """What `client.images.generate` of OpenAI's library asks for."""
    body, given = await requests.read_json(request, GenerateBody)
    wanted = requests.wanted(body, given, "generations", serving.settings, serving.shelf.names())
    return await _drawn(request, serving, wanted, "generations", client)


@router.post(
    "/edits",
    summary="Repaint part of a picture, or start from it",
    responses=describing.pictures(_FAILURES),
    openapi_extra=describing.form_body(EditFields, files=("image", "image[]", "mask", "markup"), required=("image",)),
)
async def edits(request: Request, serving: Parts, client: Client) -> Response:
    """What `client.images.edit` asks for. Transparent parts of the mask, else of the picture itself, are repainted.

    A picture without a mask is a sketch: `strength` says how far to leave it.
    """
    async with requests.form(request, EditFields) as (body, upload):
        wanted = requests.wanted(body, upload.given, "edits", serving.settings, serving.shelf.names())
        painting = await _painting(body, upload, wanted, serving.shelf)
    return await _drawn(request, serving, wanted._replace(order=painting.order), "edits", client, painting)


@router.post(
    "/variations",
    summary="Draw a picture again, differently",
    responses=describing.pictures(_FAILURES),
    openapi_extra=describing.form_body(VariationFields, files=("image",), required=("image",)),
)
async def variations(request: Request, serving: Parts, client: Client) -> Response:
    """What `client.images.create_variation` asks for; no model here has this verb yet."""
    async with requests.form(request, VariationFields) as (body, upload):
        served = serving.shelf.names()
        chosen = aliases.choose(body.model, upload.given, serving.settings, served)
        aliases.check_fields(chosen.rules, "variations", upload.given)
        await _picture(upload.images[0], "image", chosen.rules.square_png)
    having = [name for name in served if "variation" in serving.shelf.facts(name).verbs]
    message = f"The model '{chosen.model}' has no variations; models that have: {', '.join(having) or 'none'}."
    raise invalid(message, param="model", code="unsupported")


@files.head("/files/{name}", include_in_schema=False)
@files.get(
    "/files/{name}",
    summary="A picture by its signed link",
    responses={200: {"content": {kind: {} for kind in pictures.ENDINGS.values()}}, **responses(403, 404, 410)},
    response_class=Response,
)
async def file(name: str, request: Request, serving: Parts) -> Response:
    """The picture, as long as its link and the picture live; no key is needed."""
    link = serving.links.open(name, dict(request.query_params))
    if link is None:
        raise ApiError(403, "This link was not made here, or has ended; ask for the picture again.", code="invalid_link")
    path = await to_thread.run_sync(serving.queue.picture, link.picture)
    if path is None:
        raise ApiError(410, "This picture is not kept any more; ask for it again.", code="expired")
    data = await to_thread.run_sync(pictures.encoded, path, link.ending, link.quality)
    headers = {"cache-control": "private, max-age=3600", "content-disposition": f'inline; filename="{name}"'}
    return Response(data, media_type=pictures.ENDINGS[link.ending], headers=headers)


async def _drawn(
    request: Request, serving: Serving, wanted: Wanted, route: Route, client: str, painting: Painting | None = None
) -> Response:
    """Have an order drawn and answer with it."""
    told = await guards.take_pictures(request, wanted.order.n)
    picture, mask = (painting.picture, painting.mask) if painting else (None, None)
    submit = partial(serving.queue.submit, wanted.order, client=client, picture=picture, mask=mask)
    try:
        job = await to_thread.run_sync(submit)
    except Refused as error:
        raise answers.refused(str(error), wanted.chosen.rules) from None
    base = (serving.settings.public_url or str(request.base_url)).rstrip("/")
    source, passed_over = (painting.size, painting.passed_over) if painting else (None, ())
    response = await answers.answer(request, Task(serving, wanted, route, job, base, source, passed_over))
    response.headers.update({"x-limner-job": job, **told})
    return response


async def _painting(body: EditFields, upload: Upload, wanted: Wanted, shelf: Shelf) -> Painting:
    """What an edit asks for, its files read.

    Raises: ApiError for pictures or settings that do not fit.
    """
    rules, order = wanted.chosen.rules, wanted.order
    if len(upload.images) > rules.images:
        message = f"'{rules.name}' takes {rules.images} picture{'s' if rules.images > 1 else ''}; got {len(upload.images)}."
        raise invalid(message, param="image")
    first, size, _ = await _picture(upload.images[0], "image", rules.square_png)
    for number, other in enumerate(upload.images[1:], start=1):
        await _picture(other, f"image[{number}]", rules.square_png)
    mask = await _mask(upload, first, size, rules)
    if mask is None and body.soft:
        raise invalid("'soft' fades the border of a mask, and there is none.", param="soft")
    settings: dict[str, Any] = {"verb": "sketch", "strength": body.strength or requests.SKETCHING}
    if mask is not None:
        painter = await to_thread.run_sync(_painter, shelf, order.model)
        settings = {"verb": "edit", "strength": body.strength, "soft": body.soft or 0, "model": painter}
    passed_over = tuple(f"image[{number}]" for number in range(1, len(upload.images)))
    return Painting(order.model_copy(update=settings), first, mask, size, passed_over)


async def _mask(upload: Upload, picture: bytes, size: tuple[int, int], rules: Rules) -> bytes | None:
    """What shall be repainted: the mask, else the holes of the picture itself; None for a sketch.

    Raises: ApiError for a mask that does not fit, or none where the model's name needs one.
    """
    if upload.mask is None:
        holes = await to_thread.run_sync(pictures.holes, picture)
        if holes is None and rules.square_png:
            message = "Invalid input image: nothing says where to paint. Send a mask, or a picture that is transparent there."
            raise invalid(message, param="image", code="invalid_image_format")
        return holes
    mask, masked, alpha = await _picture(upload.mask, "mask", False)
    if masked != size:
        message = f"Invalid mask: it has {masked[0]}x{masked[1]} pixels, the picture {size[0]}x{size[1]}."
        raise invalid(message, param="mask", code="invalid_image_format")
    if rules.strict and not alpha:
        message = "Invalid mask: it has no alpha channel; make transparent what shall be repainted."
        raise invalid(message, param="mask", code="invalid_image_format")
    return mask


def _painter(shelf: Shelf, model: str) -> str:
    """The model that repaints for another: its sibling trained to inpaint, where that is served."""
    from limner.systems import choosing

    found = choosing.painter(shelf.folder(model)).resolve()
    return next((name for name in shelf.names() if shelf.folder(name).resolve() == found), model)


async def _picture(upload: UploadFile, param: str, square_png: bool) -> tuple[bytes, tuple[int, int], bool]:
    """An uploaded picture as a clean PNG, its size, and whether it has an alpha channel.

    Raises: ApiError for what is no picture, or not one that the model takes.
    """
    from limner.serving import uploads

    try:
        found = await uploads.look(upload, param=param)
    except InputError as error:
        raise invalid(str(error), param=param, code="invalid_image_format") from None
    small = upload.size is None or upload.size < _DALL_E_2_BYTES
    if square_png and not (found.format == "PNG" and found.width == found.height and small):
        message = f"'{param}' must be a square PNG of less than 4 MB; got {found.format}, {found.width}x{found.height}."
        raise invalid(message, param=param, code="invalid_image_format")
    return found.data, (found.width, found.height), found.alpha
