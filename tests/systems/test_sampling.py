"""A stage bound to its conditions answers for every level, whatever was computed ahead."""

from __future__ import annotations

import pytest
import torch

from limner.systems import base
from tests.evaluation import tiny


@torch.no_grad()
@pytest.mark.parametrize("asked", [900, 870, 3, 555], ids=["first", "beyond those ahead", "last", "not on the path"])
def test_what_is_computed_ahead_changes_no_answer(asked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_AHEAD", 2)
    stage = tiny.system().stages[0]
    words = stage.words(["a dog", ""])
    cond, null = ({name: value[k : k + 1] for name, value in words.items()} for k in (0, 1))
    ahead = base.guided(stage, 2.0, cond, null, path=(900, 890, 880, 870, 3, -1))
    alone = base.guided(stage, 2.0, cond, null)
    side = stage.settings.network.side
    x, t = torch.randn(1, 3, side, side), torch.tensor([asked])
    ahead(x, torch.tensor([890]))
    torch.testing.assert_close(ahead(x, t), alone(x, t), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_levels_of_a_path_are_computed_together(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = tiny.system().stages[0]
    asked: list[int] = []
    prepare = stage.net.modulations
    monkeypatch.setattr(stage.net, "modulations", lambda t, cond: asked.append(len(t)) or prepare(t, cond))
    words = stage.words(["a dog"])
    net = base.guided(stage, 1.0, words, {}, path=(900, 600, 300, -1))
    side = stage.settings.network.side
    for t in (900, 600, 300):
        net(torch.zeros(1, 3, side, side), torch.tensor([t]))
    assert asked == [3]
