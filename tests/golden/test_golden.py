"""Every case gives the outputs of the official implementation, within the tolerance it states."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import pytest
import torch

from tests.golden.case import Case, differences


def test_outputs_equal_the_official_ones(folder: Path) -> None:
    case = Case(folder)
    module = f"{__package__}.runners.{case.component}"
    if not case.component.isidentifier() or importlib.util.find_spec(module) is None:
        pytest.skip(f"limner has no {case.component} yet")
    drawn = case.weights_hash()
    if drawn is not None:
        assert drawn == case.spec["weights"]["sha256"], "the recipe's weights came out differently: NumPy's stream changed"
    run = importlib.import_module(module).run
    single = run(case)
    double = run(Case(folder, torch.float64)) if case.has_twins else {}
    wrong = differences(case, single, double)
    assert not wrong, f"{len(wrong)} outputs of {case.component} are off\n" + "\n".join(wrong[:20])
