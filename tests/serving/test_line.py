"""Who is next, and who may be drawn together."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.serving.line import FIRST_GUESS, Line, Speed, Waiting
from limner.serving.orders import Order


def job(client: str, n: int = 1, **more: Any) -> Waiting:
    order = Order.model_validate({"model": "tiny", "n": n, **more})
    return Waiting(f"{client}-{id(order)}", client, order, deque(range(n)))


def line(*jobs: Waiting) -> Line:
    found = Line()
    for each in jobs:
        found.add(each)
    return found


def clients(taken: Any) -> list[str]:
    return [task.job.client for task in taken]


def test_clients_take_turns_however_much_one_has_ordered() -> None:
    waiting = line(job("a", 5), job("a", 5), job("b"), job("c", 2))
    assert clients(waiting.take(4)) == ["a", "b", "c", "a"]
    assert clients(waiting.take(4)) == ["c", "a", "a", "a"]


def test_a_clients_jobs_are_drawn_in_the_order_in_which_they_came() -> None:
    first, second = job("a", 2), job("a", 2)
    assert [task.job for task in line(first, second).take(8)] == [first, first, second, second]


def test_pictures_of_a_job_come_by_number() -> None:
    assert [task.number for task in line(job("a", 3)).take(2)] == [0, 1]


@pytest.mark.parametrize(
    "other", [{"model": "other"}, {"steps": "7"}, {"guidance": 2.0}, {"sampler": "ddim"}, {"verb": "sketch"}]
)
def test_what_is_sampled_otherwise_is_not_drawn_together(other: dict[str, Any]) -> None:
    waiting = line(job("a"), job("b", **other), job("c"))
    assert clients(waiting.take(8)) == ["a", "c"]
    assert clients(waiting.take(8)) == ["b"]


@pytest.mark.parametrize("other", [{"prompt": "x"}, {"negative": "y"}, {"seed": 9}, {"width": 64}, {"previews": 2}])
def test_what_differs_in_words_seed_or_size_is_drawn_together(other: dict[str, Any]) -> None:
    assert len(line(job("a"), job("b", **other)).take(8)) == 2


def test_a_later_job_of_a_client_may_join_a_batch_that_its_first_cannot() -> None:
    joins = job("b")
    waiting = line(job("a"), job("b", steps="7"), joins)
    assert joins in [task.job for task in waiting.take(8)]


def test_who_could_not_join_chooses_next() -> None:
    waiting = line(*(job("a") for _ in range(9)), job("b", steps="7"))
    assert clients(waiting.take(4)) == ["a"] * 4
    assert clients(waiting.take(4)) == ["b"]


def test_a_job_that_failed_in_company_is_drawn_alone() -> None:
    alone = job("a")
    alone.alone = True
    assert len(line(alone, job("b")).take(8)) == 1


def test_edits_are_drawn_without_others() -> None:
    edits = [job(client, 2, verb="edit") for client in "ab"]
    assert len({task.job.id for task in line(*edits).take(8)}) == 1


def test_what_is_put_back_comes_first() -> None:
    back = job("z")
    waiting = line(job("a"), job("b"))
    waiting.put_back(back)
    waiting.put_back(back)
    assert clients(waiting.take(8)) == ["z", "a", "b"]


def test_a_removed_job_is_not_drawn() -> None:
    gone = job("a")
    waiting = line(gone, job("b"))
    waiting.remove(gone)
    waiting.remove(gone)
    assert (len(waiting), clients(waiting.take(8))) == (1, ["b"])


def test_an_empty_line_gives_nothing() -> None:
    assert Line().take(8) == []


def test_what_is_ahead_of_a_job_is_what_turns_bring_before_it() -> None:
    mine = job("c", 2)
    waiting = line(job("a", 10), job("b"), job("c", 1), mine)
    # Of c three pictures in all, so of a three at most, of b its one: b's job and c's first are finished before.
    assert waiting.ahead(mine) == (2, 7)


def test_nothing_is_ahead_of_a_job_that_does_not_wait() -> None:
    assert line(job("a")).ahead(job("a")) == (0, 0)


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 6), st.sampled_from(["4", "7"])), max_size=20), st.integers(1, 9)
)
def test_every_picture_is_taken_once_and_no_batch_is_mixed_or_too_large(ordered: list[tuple[str, int, str]], most: int) -> None:
    jobs = [job(client, n, steps=steps) for client, n, steps in ordered]
    waiting = line(*jobs)
    taken = []
    while batch := waiting.take(most):
        assert len(batch) <= most
        assert len({task.job.company for task in batch}) == 1
        taken += [(task.job.id, task.number) for task in batch]
    assert len(waiting) == 0
    assert Counter(taken) == Counter((each.id, k) for each in jobs for k in range(each.order.n))


@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 12), min_size=1), st.integers(1, 8))
def test_nobody_with_the_same_wish_waits_longer_than_a_turn(counts: dict[str, int], most: int) -> None:
    waiting = line(*(job(client) for client, count in counts.items() for _ in range(count)))
    served: Counter[str] = Counter()
    while batch := waiting.take(most):
        served.update(clients(batch))
        hungry = [served[client] for client, count in counts.items() if served[client] < count]
        assert not hungry or max(served.values()) - min(hungry) <= 1


def test_the_speed_is_measured_for_each_kind_of_order() -> None:
    speed, slow, fast = Speed(), Order(model="tiny", steps="49"), Order(model="tiny", steps="4")
    assert speed.of(slow) == FIRST_GUESS
    speed.note(slow, 8.0)
    speed.note(fast, 1.0)
    assert (speed.of(slow), speed.of(fast)) == (8.0, 1.0)
    speed.note(slow, 4.0)
    assert 4.0 < speed.of(slow) < 8.0


def test_kinds_of_orders_are_forgotten_before_they_fill_the_memory() -> None:
    speed = Speed()
    for steps in range(1000):
        speed.note(Order(model="tiny", steps=str(steps)), float(steps))
    assert speed.of(Order(model="tiny", steps="998")) == 998.0
    assert speed.of(Order(model="tiny", steps="1")) == speed.of(Order(model="never"))


def test_the_speed_of_what_was_never_drawn_is_guessed_from_the_last() -> None:
    speed = Speed()
    speed.note(Order(model="tiny"), 3.0)
    assert speed.of(Order(model="other")) == 3.0
