"""Options of the test run and of hypothesis; they lie here so that pytest knows them from wherever it is started."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The same examples every time, and no clock: a test must not fail because the machine is busy.
settings.register_profile("limner", deadline=None, derandomize=True)
settings.load_profile("limner")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        metavar="DIR",
        help="folder of conformance cases to run instead of the committed ones; may be given several times",
    )
