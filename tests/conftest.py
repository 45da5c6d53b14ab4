"""What tests of several packages share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a tiny cascade; not to be written to."""
    from tests import tiny as made

    return made.save(tmp_path_factory.mktemp("models") / "tiny")
