"""Every case gives the outputs of the official implementation, within the tolerance it states."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.golden.case import Case, differences, flaws_of


def test_outputs_equal_the_official_ones(folder: Path) -> None:
    flaws = flaws_of(folder)
    assert not flaws, "this is no case that can be judged:\n" + "\n".join(flaws[:20])
    case = Case(folder)
    run = runner(case.component)
    if run is None:
        pytest.skip(f"limner has no {case.component} yet")
    drawn = case.weights_hash()
    if drawn is not None:
        assert drawn == case.spec["weights"]["sha256"], "the recipe's weights came out differently: NumPy's stream changed"
    try:
        single = run(case)
        double = run(Case(folder, torch.float64)) if case.has_twins else {}
    except Exception as error:
        raise AssertionError(f"{case.component} cannot be run as the case describes it: {error!r}") from error
    wrong = differences(case, single, double)
    assert not wrong, f"{len(wrong)} outputs of {case.component} are off\n" + "\n".join(wrong[:20])


def runner(component: str) -> Callable[[Case], dict[str, Any]] | None:
    """What computes a component; None where limner has nothing of the kind."""
    module = f"{__package__}.runners.{component}"
    if not component.isidentifier() or importlib.util.find_spec(module) is None:
        return None
    found: Callable[[Case], dict[str, Any]] | None = getattr(importlib.import_module(module), "run", None)
    return found
