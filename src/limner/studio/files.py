"""The studio's pictures over HTTP: to look at, to save with their recipe, and to save without any metadata."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException

from limner import images, recipe
from limner.errors import LimnerError
from limner.studio.desk import PATH, Desk

# A picture never changes under its id, which nobody can guess.
HEADERS = {"Cache-Control": "private, max-age=86400, immutable", "X-Content-Type-Options": "nosniff"}


def routes(desk: Desk) -> APIRouter:
    """The route of the pictures."""
    router = APIRouter(prefix=PATH, include_in_schema=False)

    @router.get("/pictures/{picture}")
    async def picture(picture: str, wanted: Annotated[Literal["view", "save", "bare"], Query(alias="as")] = "view") -> Response:
        path = await asyncio.to_thread(desk.store.picture, picture)
        if path is None:
            raise HTTPException(404, "there is no such picture; it may have been deleted")
        if wanted == "view":
            return FileResponse(path, media_type="image/png", headers=HEADERS)
        name = await asyncio.to_thread(saved_as, path)
        attached = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
        if wanted == "save":
            return FileResponse(path, media_type="image/png", headers=attached)
        data = await asyncio.to_thread(bare, path)
        return Response(data, media_type="image/png", headers=attached)

    @router.get("/made/{token}")
    async def made(token: str) -> Response:
        found = desk.files.get(token)
        if found is None:
            raise HTTPException(404, "there is no such file any more; load the page again")
        name, data = found
        kind = "text/csv; charset=utf-8" if name.endswith(".csv") else "image/png"
        return Response(data, media_type=kind, headers=HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'})

    return router


def saved_as(path: Path) -> str:
    """The name under which a picture is saved: its seed and the words of its prompt, in ASCII."""
    try:
        made = recipe.read(path)
    except LimnerError:
        return "picture.png"
    words = recipe.slug(made.prompt).encode("ascii", "ignore").decode().strip("-") or "picture"
    return f"{made.seed}-{words}-{made.index:03}.png"


def bare(path: Path) -> bytes:
    """The same pixels as a PNG that says nothing about itself."""
    return recipe.encode(images.open_picture(path), None)
