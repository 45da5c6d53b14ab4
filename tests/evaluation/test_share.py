from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import InputError
from limner.evaluation.share import share


def test_the_interval_is_wilsons() -> None:
    # 1 of 10 at 95 %: the textbook's 1.8 % to 40.4 %.
    found = share(1, 10)
    assert found.low == pytest.approx(0.0179, abs=1e-4)
    assert found.high == pytest.approx(0.4042, abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of))))
def test_the_share_lies_in_its_interval_and_the_interval_in_0_to_1(tries: tuple[int, int]) -> None:
    found = share(*tries)
    assert 0 <= found.low <= found.share + 1e-12
    assert found.share - 1e-12 <= found.high <= 1


def test_a_share_reads_as_a_sentence() -> None:
    assert str(share(90, 100)) == "90.0% (82.6% to 94.5%; 90 of 100)"


@pytest.mark.parametrize(("hits", "of"), [(0, 0), (2, 1), (-1, 3)])
def test_impossible_counts_are_refused(hits: int, of: int) -> None:
    with pytest.raises(InputError, match="hits"):
        share(hits, of)
