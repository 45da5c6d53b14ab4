"""Options of the test run; they lie here so that pytest knows them from wherever it is started."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        metavar="DIR",
        help="folder of conformance cases to run instead of the committed ones; may be given several times",
    )
