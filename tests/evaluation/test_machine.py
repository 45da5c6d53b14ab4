from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.evaluation import machine

CPU = torch.device("cpu")


def test_the_machine_is_described_with_its_versions() -> None:
    here = machine.here(CPU)
    assert here.torch == torch.__version__
    assert here.threads == torch.get_num_threads()
    assert here.cores >= 1
    assert here.processor
    assert here.accelerator is None


def test_the_peak_is_that_since_the_reset() -> None:
    before = machine.peak_mb(CPU)
    if before is None:
        pytest.skip("this system does not tell the peak")
    machine.reset_peak(CPU)
    block = torch.ones(64 * 2**20)  # 256 MB
    high = machine.peak_mb(CPU)
    del block
    machine.reset_peak(CPU)
    low = machine.peak_mb(CPU)
    assert high is not None
    assert low is not None
    assert high - low > 200


def test_what_is_held_grows_by_what_is_kept() -> None:
    before = machine.held_mb(CPU)
    if not before:
        pytest.skip("this system does not tell what is held")
    block = torch.ones(64 * 2**20)  # 256 MB
    assert machine.held_mb(CPU) - before > 200
    del block


def test_a_system_without_tables_tells_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_table", lambda path: {})
    assert machine.peak_mb(CPU) is None
    assert machine.held_mb(CPU) == 0
    assert machine.here(CPU).memory_gb is None
    assert machine.processor()


def test_units_are_named_from_the_widest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "amx_bf16": True, "avx512_vnni": False})
    assert machine.units() == ("AMX bf16", "AVX2")


def test_a_table_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert machine._table(tmp_path / "none") == {}
