"""The page as a whole."""

from __future__ import annotations

import gc
import json
import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from limner.studio import page
from limner.studio.desk import Desk
from tests.studio.conftest import drawn, noted

pytestmark = pytest.mark.filterwarnings("ignore")  # gradio's own


@pytest.fixture(autouse=True)
def _swept() -> Iterator[None]:
    """Event loops that gradio leaves open complain here, not in the next test."""
    yield
    gc.collect()


@pytest.fixture
def client(desk: Desk) -> TestClient:
    return TestClient(page.mount(FastAPI(), desk))


def test_the_page_fetches_nothing_from_elsewhere(client: TestClient) -> None:
    html = client.get("/studio/").text
    fetched = re.findall(r"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"'](https?:)?//([^\"'/]+)", html)
    assert fetched == []
    assert "fonts.googleapis" not in html
    config = client.get("/studio/config").json()
    assert config["analytics_enabled"] is False
    assert "cdn" not in json.dumps(config["css"]).lower()


def test_no_event_of_the_page_is_an_endpoint_for_programs(client: TestClient) -> None:
    events = client.get("/studio/config").json()["dependencies"]
    assert events
    assert {event["api_visibility"] for event in events} == {"private"}


def test_the_mark_and_the_manifest_are_there(client: TestClient) -> None:
    assert client.get("/favicon.ico").content.startswith(b"\x89PNG")
    assert client.get("/manifest.json").json()["name"] == "limner studio"


def test_use_all_brings_back_everything_a_picture_was_drawn_with(desk: Desk) -> None:
    picture = drawn(desk, steps="3", guidance=1.5, sampler="ddpm", negative="a house", seed=9)
    tabs, prompt, negative, model, n, seed, lock, steps, guidance, sampler, size, about = page.all_of(desk, picture.id)
    assert tabs.selected == "draw"
    assert (prompt, negative, model, n, seed, lock) == ("a red fox", "a house", "tiny", 1, 9, True)
    assert (steps, guidance, sampler) == (3, 1.5, "ddpm")
    assert size.value == 16
    assert "tiny cascade" in about


def test_a_picture_is_sent_to_the_canvas_with_its_words(desk: Desk) -> None:
    picture = noted(desk, "a fox")
    tabs, _, shown, known, prompt, *_ = page.sent(desk, "edit", picture.id)
    assert (tabs.selected, known, prompt) == ("edit", picture.id, "a fox")
    assert shown["layers"] == []
    assert page.sent(desk, "sketch", picture.id)[0].selected == "sketch"


def test_a_picture_that_is_gone_moves_nothing(desk: Desk) -> None:
    assert {each["__type__"] for each in page.sent(desk, "edit", "gone")} == {"update"}
    assert {each["__type__"] for each in page.all_of(desk, "gone")} == {"update"}
