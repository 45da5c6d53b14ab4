"""One process or many."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limner.errors import ConfigError
from limner.training import checkpoints, distributed
from limner.training.log import read_log

ROOT = Path(__file__).parents[2]


def launch(out: Path, ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "tests.training.ranks", str(out), *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_two_ranks_are_one_rank_with_twice_the_accumulation(tmp_path: Path) -> None:
    for name, ranks, accumulate in (("two", 2, 1), ("one", 1, 2)):
        done = launch(tmp_path / name, ranks, str(accumulate))
        assert done.returncode == 0, done.stderr
    two, one = (read_log(tmp_path / name / "log.jsonl") for name in ("two", "one"))
    assert len(two) == len(one) == 20
    for a, b in zip(two, one, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-5)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-4)
        for one_rank, two_ranks in zip(a["by_quartile"], b["by_quartile"], strict=True):
            assert two_ranks == (None if one_rank is None else pytest.approx(one_rank, rel=1e-4))
    found = [checkpoints.newest(tmp_path / name) for name in ("two", "one")]
    weights = [dict(checkpoints.tensors(saved, "weights.safetensors")) for saved in found if saved is not None]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.slow
def test_ranks_stop_together_by_the_first_ones_clock_and_resume(tmp_path: Path) -> None:
    done = launch(tmp_path, 2, "1", "0")
    assert done.returncode == 0, done.stderr
    saved = checkpoints.newest(tmp_path)
    assert saved is not None
    assert saved.step == 2
    done = launch(tmp_path, 2, "1")
    assert done.returncode == 0, done.stderr
    assert [line["step"] for line in read_log(tmp_path / "log.jsonl")] == list(range(1, 21))


def test_one_process_needs_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks = distributed.join("cpu")
    gradient = torch.ones(3)
    distributed.average(ranks, [gradient])
    distributed.wait(ranks)
    assert distributed.total(ranks, [1.0, 2.0]) == [1.0, 2.0]
    assert torch.equal(distributed.gather(ranks, gradient), torch.ones(3))
    assert ranks.first
    distributed.leave(ranks)


def test_a_device_that_is_not_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="device 'abacus': no such device"):
        distributed.pick_device("abacus")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="wants CUDA device 0, there are 0"):
        distributed.pick_device("cuda")


def test_auto_takes_what_there_is() -> None:
    assert distributed.pick_device("auto").type in ("cpu", "cuda", "mps")
