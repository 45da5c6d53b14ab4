"""What the fields do."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from limner.studio import controls, draw, history
from limner.studio.desk import Desk
from tests.studio.conftest import asked

TAB: Any = SimpleNamespace(tab="draw", empty="nothing yet")


def scenes(desk: Desk, jobs: list[str]) -> list[tuple[Any, ...]]:
    async def all_of() -> list[tuple[Any, ...]]:
        return [scene async for scene in controls.scenes(desk, TAB, jobs, "session")]

    return asyncio.run(all_of())


def test_a_prompt_is_counted_by_the_models_own_tokenizer(desk: Desk) -> None:
    assert " of 16 tokens" in controls.counted(desk, "tiny", "a red fox")
    assert "does not see" in controls.counted(desk, "tiny", "fox house " * 30)


def test_a_broken_text_and_no_model_are_no_accident(desk: Desk) -> None:
    assert "surrogate" in controls.counted(desk, "tiny", "a \ud800 fox")
    assert controls.counted(desk, None, "a fox") == ""


def test_another_model_brings_its_own_settings_and_sizes(desk: Desk) -> None:
    about, steps, guidance, sampler, size = controls.suited(desk, "tiny", sized=True)
    assert "A tiny cascade for tests" in about
    assert (steps, guidance, sampler) == (4, 2.0, controls.OWN)
    assert size.value == 16
    assert controls.sides(desk.offer("tiny")) == [("16", 16), ("32", 32), ("64", 64)]


def test_without_a_model_the_page_says_what_to_do() -> None:
    assert "No model can do this yet" in controls.about_model(None)
    assert controls.sides(None) == []


def test_ended_jobs_are_forgotten_when_a_new_one_comes(desk: Desk) -> None:
    jobs, _ = draw.submit(desk, asked(), [])
    desk.queue.cancel(jobs[0])
    assert controls.kept(desk, [*jobs, "gone"], "new") == ["new"]


def test_what_a_browser_kept_may_be_anything() -> None:
    assert controls.ids_of({"a": 1}) == []
    assert controls.ids_of(["a", 3]) == ["a", "3"]


def test_cancelling_stops_the_next_job_when_none_is_drawn(desk: Desk) -> None:
    first, _ = draw.submit(desk, asked(), [])
    both, _ = draw.submit(desk, asked(), first)
    controls.cancelled(desk, both)
    states = [status.state for job in both if (status := desk.queue.status(job))]
    assert states == ["cancelled", "queued"]


def test_a_job_is_followed_to_its_picture(desk: Desk) -> None:
    jobs, _ = draw.submit(desk, asked(), [])
    desk.queue.start()
    stage, said, cancel = scenes(desk, jobs)[-1]
    assert "/studio/pictures/" in stage
    assert said == "Done: 1 picture"
    assert cancel.interactive is False


def test_a_page_that_comes_back_finds_its_finished_job(desk: Desk) -> None:
    jobs, _ = draw.submit(desk, asked(), [])
    desk.queue.start()
    before = scenes(desk, jobs)[-1][0]
    assert scenes(desk, jobs)[-1][0] == before


def test_without_jobs_the_stage_is_empty(desk: Desk) -> None:
    assert scenes(desk, ["gone"])[-1][:2] == ("nothing yet", "")


def test_whoever_follows_later_takes_over() -> None:
    first = controls.turn("session", "draw")
    other = controls.turn("session", "edit")
    second = controls.turn("session", "draw")
    assert (first(), other(), second()) == (False, True, True)


def test_a_picture_that_was_deleted_is_not_shown_again(desk: Desk) -> None:
    jobs, _ = draw.submit(desk, asked(n=2), [])
    desk.queue.start()
    assert scenes(desk, jobs)[-1][1] == "Done: 2 pictures"
    history.delete(desk.store, desk.store.drawn(jobs[0])[0].id)
    stage, said, _ = scenes(desk, jobs)[-1]
    assert (said, stage.count("<figure")) == ("Done: 1 picture", 1)
