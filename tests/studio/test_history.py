"""Questions to the gallery."""

from __future__ import annotations

import time

import pytest

from limner.serving.store import Picture
from limner.studio import history
from limner.studio.desk import Desk
from limner.studio.history import Search
from tests.studio.conftest import noted


def noted_row(number: int) -> Picture:
    facts = {"index": 0, "client": "studio", "verb": "draw", "model": "tiny", "negative": "", "seed": 1}
    name = f"{number:032}"
    return Picture(id=name, job=name, prompt=f"a fox {number}", width=8, height=8, created=number, path=name, **facts)


def prompts(desk: Desk, search: Search, most: int = 10) -> list[str]:
    return [picture.prompt for picture in history.find(desk.store, search, most=most)]


def test_pictures_come_newest_first_and_no_more_than_asked(desk: Desk) -> None:
    for number in range(3):
        noted(desk, f"fox {number}", created=1000.0 + number)
    assert prompts(desk, Search(), most=2) == ["fox 2", "fox 1"]


def test_every_word_must_be_in_the_prompt_or_the_models_name(desk: Desk) -> None:
    noted(desk, "a red fox")
    noted(desk, "a red house", model="other")
    assert prompts(desk, Search("FOX red")) == ["a red fox"]
    assert prompts(desk, Search("other")) == ["a red house"]
    assert prompts(desk, Search("red blue")) == []


def test_signs_that_sql_reads_are_only_signs(desk: Desk) -> None:
    noted(desk, "100% wool")
    noted(desk, "1000 wools")
    assert prompts(desk, Search("100%")) == ["100% wool"]
    assert prompts(desk, Search("_")) == []


def test_favourites_models_and_age_narrow_the_search(desk: Desk) -> None:
    liked = noted(desk, "liked")
    noted(desk, "old", created=time.time() - 8 * 86_400)
    noted(desk, "other", model="other")
    assert history.like(desk.store, liked.id, True)
    assert prompts(desk, Search(favourites=True)) == ["liked"]
    assert prompts(desk, Search(model="other")) == ["other"]
    assert "old" not in prompts(desk, Search(age="this week"))
    assert "old" in prompts(desk, Search(age="this month"))


def test_a_deleted_picture_is_gone_until_it_is_restored(desk: Desk) -> None:
    picture = noted(desk, "a fox")
    assert history.delete(desk.store, picture.id)
    assert history.get(desk.store, picture.id) is None
    assert desk.store.picture(picture.id) is None
    assert not history.delete(desk.store, picture.id)
    assert history.restore(desk.store, [picture.id]) == 1
    assert history.get(desk.store, picture.id) is not None
    assert desk.store.picture(picture.id) is not None


def test_what_is_swept_soon_is_not_found_later(desk: Desk) -> None:
    noted(desk, "short", expires=50.0)
    assert prompts(desk, Search()) == []


def test_models_are_those_that_have_drawn(desk: Desk) -> None:
    noted(desk, "a", model="two")
    noted(desk, "b", model="one")
    assert history.models(desk.store) == ["one", "two"]


def test_a_search_knows_the_case_and_the_accents_of_every_script(desk: Desk) -> None:
    noted(desk, "\u00dcber den Wolken")
    noted(desk, "\u041a\u0440\u0430\u0441\u043d\u0430\u044f \u043b\u0438\u0441\u0430")
    assert prompts(desk, Search("\u00fcber")) == ["\u00dcber den Wolken"]
    assert prompts(desk, Search("u\u0308ber")) == ["\u00dcber den Wolken"]  # as some keyboards write it
    assert len(prompts(desk, Search("\u043a\u0440\u0430\u0441\u043d\u0430\u044f"))) == 1


@pytest.mark.parametrize("text", ["x" * 100_000, "\ud800", "a\0b", "x " * 10_000, "%' OR 1=1 --", "\\"])
def test_whatever_is_searched_for_is_only_not_found(desk: Desk, text: str) -> None:
    noted(desk, "a red fo")
    assert prompts(desk, Search(text)) == []


def test_a_thousand_pictures_are_searched_at_once(desk: Desk) -> None:
    rows = [noted_row(number) for number in range(1000)]
    with desk.store.writing() as session:
        session.add_all(rows)
    began = time.process_time()
    assert len(prompts(desk, Search("FOX 7"), most=31)) == 31
    assert time.process_time() - began < 1
