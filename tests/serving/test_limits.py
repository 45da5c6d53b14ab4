from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from limner.serving import limits
from limner.serving.keys import KeyFile
from limner.serving.limits import Budget


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits.time, "time", clock)
    return clock


@pytest.fixture
def file(tmp_path: Path) -> Iterator[KeyFile]:
    with closing(KeyFile(tmp_path)) as file:
        yield file


def spend(file: KeyFile, limit: int, cost: int = 1, owner: str = "me") -> Budget:
    budget = limits.spend(file, owner, limit, cost=cost)
    assert budget is not None
    return budget


def test_without_a_limit_nothing_is_counted(file: KeyFile) -> None:
    assert limits.spend(file, "me", None) is None


def test_a_burst_of_the_limit_passes_and_the_next_waits_its_share(file: KeyFile, clock: Clock) -> None:
    assert all(spend(file, 6).taken for _ in range(6))
    refused = spend(file, 6)
    assert not refused.taken
    assert refused.retry_after == pytest.approx(10)  # six a minute
    clock.now += 9.9
    assert not spend(file, 6).taken
    clock.now += 0.1
    assert spend(file, 6).taken


def test_a_refused_request_costs_nothing(file: KeyFile, clock: Clock) -> None:
    spend(file, 2, cost=2)
    before = spend(file, 2).retry_after
    assert spend(file, 2).retry_after == before


def test_a_bucket_never_holds_more_than_a_minute(file: KeyFile, clock: Clock) -> None:
    spend(file, 3)
    clock.now += 1000
    assert [spend(file, 3).taken for _ in range(4)] == [True, True, True, False]


def test_a_clock_that_goes_back_gives_and_takes_nothing(file: KeyFile, clock: Clock) -> None:
    spend(file, 3)
    clock.now -= 500
    assert spend(file, 3).left == 1


def test_owners_and_kinds_have_buckets_of_their_own(file: KeyFile, clock: Clock) -> None:
    spend(file, 1)
    assert spend(file, 1, owner="you").taken
    pictures = limits.spend(file, "me", 1, kind="pictures")
    assert pictures is not None
    assert pictures.taken


def test_another_process_shares_the_bucket(file: KeyFile, clock: Clock) -> None:
    spend(file, 1)
    with closing(KeyFile(file.path.parent)) as other:
        assert not spend(other, 1).taken


def test_more_at_once_than_a_minute_holds_is_never_worth_a_retry(file: KeyFile, clock: Clock) -> None:
    budget = spend(file, 3, cost=4)
    assert budget.retry_after == math.inf
    assert budget.headers()["x-should-retry"] == "false"
    assert "retry-after" not in budget.headers()
    assert "4 requests at once are more than the 3" in budget.refusal(4)
    assert spend(file, 3, cost=3).taken


def test_the_headers_tell_what_is_left_and_when_to_come_again(file: KeyFile, clock: Clock) -> None:
    taken = spend(file, 60, cost=59).headers()
    assert taken == {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "1",
        "x-ratelimit-reset-requests": "59.000s",
    }
    refused = spend(file, 60, cost=3)
    assert refused.headers()["retry-after"] == "2"
    assert refused.headers()["retry-after-ms"] == "2000"
    assert "60 requests a minute. Try again in 2 s" in refused.refusal()


def test_old_buckets_are_forgotten(file: KeyFile, clock: Clock) -> None:
    for number in range(5):
        spend(file, 9, owner=str(number))
    clock.now += limits.FORGET + 1
    spend(file, 9, owner="new")
    with file.reading() as database:
        assert [row[0] for row in database.execute("SELECT owner FROM bucket")] == ["new"]
