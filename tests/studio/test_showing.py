"""Jobs as HTML."""

from __future__ import annotations

from dataclasses import replace

import pytest

from limner.studio import showing
from limner.studio.following import Finished, View

VIEW = View("j", "draw", "tiny", "a <red> fox", 2, 7)
DONE = replace(VIEW, id="d", state="done", pictures={0: Finished("p0", 7, 16, 16), 1: Finished("p1", 7, 256, 256)})
RUNNING = replace(VIEW, id="r", state="running", stage="base", step=3, of=9, progress=0.3, eta_s=12)


def test_without_a_job_the_stage_is_empty() -> None:
    assert showing.stage((), empty="nothing") == "nothing"


def test_examples_are_buttons_that_say_what_to_try() -> None:
    assert 'data-act="try" data-id="a red fox"' in showing.welcome()


def test_words_of_a_person_are_escaped_everywhere() -> None:
    html = showing.stage((replace(RUNNING, previews={0: "QUJD"}), VIEW, replace(DONE, prompt='"><script>')), empty="")
    assert "<red>" not in html
    assert "<script>" not in html
    assert "a &lt;red&gt; fox" in html


def test_what_is_drawn_is_shown_before_what_is_done_and_what_waits() -> None:
    assert showing.chosen((DONE, VIEW, RUNNING)) is RUNNING
    assert showing.chosen((VIEW, DONE)) is DONE
    assert showing.chosen((VIEW,)) is VIEW
    assert showing.chosen((DONE, replace(DONE, id="later"))) != DONE


def test_a_running_job_shows_its_step_and_the_time_left() -> None:
    html = showing.stage((RUNNING,), empty="")
    assert "base, step 3 of 9 · about 12 s left" in html
    assert '<progress max="1" value="0.300"' in html
    assert html.count("lm-coming") == 2


def test_the_others_wait_in_a_line_and_can_be_cancelled() -> None:
    html = showing.stage((RUNNING, replace(VIEW, position=1)), empty="")
    assert "In the queue, 1 job before it" in html
    assert 'data-act="cancel" data-id="j"' in html


def test_a_finished_picture_has_its_prompt_as_alternative_text_and_can_be_sent_on() -> None:
    html = showing.stage((DONE,), empty="")
    assert 'src="/studio/pictures/p0" alt="a &lt;red&gt; fox"' in html
    assert 'data-act="edit" data-id="p0"' in html
    assert 'href="/studio/pictures/p1?as=save" download' in html


def test_the_result_of_an_edit_is_the_next_step() -> None:
    assert ">Go on from this</button>" in showing.stage((replace(DONE, verb="edit"),), empty="")
    assert ">Edit</button>" in showing.stage((DONE,), empty="")


def test_small_pictures_keep_their_pixels() -> None:
    assert "lm-small" in showing.image(Finished("p", 1, 32, 32), "")
    assert "lm-small" not in showing.image(Finished("p", 1, 256, 256), "")


def test_a_failure_is_an_alert_that_can_be_copied() -> None:
    html = showing.stage((replace(VIEW, state="failed", message="no <room>"),), empty="")
    assert 'role="alert"><p>no &lt;room&gt;</p>' in html
    assert 'data-copy="no &lt;room&gt;"' in html


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (VIEW, "Next in the queue"),
        (replace(VIEW, position=3), "In the queue, 3 jobs before it"),
        (RUNNING, "Drawing: 25 %"),
        (replace(RUNNING, progress=0.1), "Drawing"),
        (DONE, "Done: 2 pictures"),
        (replace(VIEW, state="cancelled"), "Cancelled"),
        (replace(DONE, state="cancelled", pictures={0: DONE.pictures[0]}), "Cancelled; 1 picture finished before"),
        (replace(VIEW, state="failed", message="no room"), "Failed: no room"),
    ],
)
def test_those_who_hear_the_page_are_told_how_things_stand(view: View, words: str) -> None:
    assert showing.said((view,)) == words


def test_time_left_is_said_in_seconds_and_then_in_minutes() -> None:
    assert [showing.left(seconds) for seconds in (None, 0.2, 89, 200)] == [
        "",
        "about 1 s left",
        "about 89 s left",
        "about 3 min left",
    ]


def test_words_that_run_from_right_to_left_turn_nothing_else_round() -> None:
    html = showing.stage((RUNNING, replace(VIEW, prompt="\u202e\u05e9\u05d5\u05e2\u05dc")), empty="")
    assert "<bdi>\u202e\u05e9\u05d5\u05e2\u05dc</bdi>" in html
    assert '<h2 dir="auto">' in html
