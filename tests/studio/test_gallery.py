"""The history tab's functions."""

from __future__ import annotations

from limner.studio import gallery, history
from limner.studio.desk import Desk
from tests.studio.conftest import drawn, noted


def test_the_empty_history_says_what_will_be_there(desk: Desk) -> None:
    html, more = gallery.listed(desk, "", gallery.ANY, False, "any time", 10, None)
    assert "Nothing is drawn yet" in html
    assert more.visible is False


def test_a_search_without_a_find_says_so(desk: Desk) -> None:
    noted(desk, "a fox")
    assert "Nothing fits" in gallery.listed(desk, "house", gallery.ANY, False, "any time", 10, None)[0]


def test_pictures_are_buttons_with_their_prompt_and_the_chosen_one_is_pressed(desk: Desk) -> None:
    one, two = noted(desk, 'a "red" fox'), noted(desk, "two")
    html, more = gallery.listed(desk, "", gallery.ANY, False, "any time", 10, one.id)
    assert f'data-act="look" data-id="{one.id}"' in html
    assert 'alt="a &quot;red&quot; fox"' in html
    assert html.count('aria-pressed="true"') == 1
    assert html.index(two.id) < html.index(one.id)
    assert more.visible is False


def test_more_can_be_shown_when_there_are_more(desk: Desk) -> None:
    for number in range(3):
        noted(desk, f"fox {number}")
    html, more = gallery.listed(desk, "", gallery.ANY, False, "any time", 2, None)
    assert html.count("lm-thumb") == 2
    assert more.visible is True


def test_a_favourite_wears_a_heart_that_is_said(desk: Desk) -> None:
    history.like(desk.store, noted(desk, "a fox").id, True)
    assert "favourite</span>" in gallery.listed(desk, "", gallery.ANY, True, "any time", 2, None)[0]


def test_the_inspector_shows_what_a_picture_was_made_from(desk: Desk) -> None:
    picture = drawn(desk, negative="a <house>", steps="3")
    html, like, delete, *uses = gallery.looked_at(desk, picture.id)
    assert "<dt>Seed</dt><dd>5</dd>" in html
    assert "<dd>a &lt;house&gt;</dd>" in html
    assert "<dt>Steps</dt><dd>3</dd>" in html
    assert f"{picture.id}?as=bare" in html
    assert (like.interactive, delete.interactive, len(uses)) == (True, True, 5)


def test_without_a_picture_nothing_can_be_pressed(desk: Desk) -> None:
    html, *buttons = gallery.looked_at(desk, "gone")
    assert html == gallery.NOTHING
    assert not any(button.interactive for button in buttons)


def test_a_file_without_a_recipe_still_has_its_facts(desk: Desk) -> None:
    picture = noted(desk, "a fox")
    assert gallery.made_from(desk, picture.id) is None
    assert "<dd>a fox</dd>" in gallery.looked_at(desk, picture.id)[0]
