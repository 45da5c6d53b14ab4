"""The studio's pictures over HTTP."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from limner import images, recipe
from limner.errors import InputError
from limner.studio import files
from limner.studio.desk import HANDED_OUT, Desk
from tests.studio.conftest import drawn, noted


def client(desk: Desk) -> TestClient:
    app = FastAPI()
    app.include_router(files.routes(desk))
    return TestClient(app)


def test_a_picture_is_saved_with_its_recipe_or_without_any_metadata(desk: Desk) -> None:
    picture = drawn(desk)
    page = client(desk)
    saved = page.get(f"/studio/pictures/{picture.id}?as=save")
    bare = page.get(f"/studio/pictures/{picture.id}?as=bare")
    assert recipe.read(saved.content).prompt == "a red fox"
    assert saved.headers["content-disposition"] == 'attachment; filename="5-a-red-fox-000.png"'
    assert images.open_picture(bare.content).tobytes() == images.open_picture(saved.content).tobytes()
    with pytest.raises(InputError, match="carries no limner recipe"):
        recipe.read(bare.content)


def test_a_picture_is_shown_without_being_saved(desk: Desk) -> None:
    answer = client(desk).get(f"/studio/pictures/{noted(desk, 'a fox').id}")
    assert answer.headers["content-type"] == "image/png"
    assert "content-disposition" not in answer.headers
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_not_there_is_not_found(desk: Desk) -> None:
    page = client(desk)
    for address in ("pictures/nothing", "pictures/..%2Flimner.sqlite", "made/nothing"):
        assert page.get(f"/studio/{address}").status_code == 404


def test_a_picture_without_a_recipe_has_a_plain_name(desk: Desk) -> None:
    answer = client(desk).get(f"/studio/pictures/{noted(desk, 'a fox').id}?as=save")
    assert answer.headers["content-disposition"] == 'attachment; filename="picture.png"'


def test_files_made_for_the_page_are_fetched_and_only_the_last_are_kept(desk: Desk) -> None:
    first = desk.hand_out("grid.csv", b"a,b")
    page = client(desk)
    answer = page.get(first)
    assert (answer.content, answer.headers["content-type"]) == (b"a,b", "text/csv; charset=utf-8")
    for _ in range(HANDED_OUT):
        desk.hand_out("grid.png", b"")
    assert page.get(first).status_code == 404
