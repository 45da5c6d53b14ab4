"""What a run says while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from limner.training import log

LINE = {
    "step": 7, "loss": 0.25, "grad_norm": 1.5, "lr": 1e-3, "imgs_per_s": 12.0, "data_wait": 0.5,
    "peak_memory_mb": 100.0, "eta_s": 7200.0,
}  # fmt: skip


def test_lines_are_json_and_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    written = log.Log(tmp_path / "log.jsonl", step=0, steps=10)
    written.write(LINE)
    assert log.read_log(tmp_path / "log.jsonl") == [LINE]
    written.close()


def test_a_resumed_log_forgets_what_is_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps({"step": step}) + "\n" for step in range(1, 9)) + '{"step": 9, "lo')
    log.Log(path, step=5, steps=10).close()
    assert [line["step"] for line in log.read_log(path)] == [1, 2, 3, 4, 5]
    assert path.read_text().endswith('{"step": 5}\n')


def test_a_person_without_a_terminal_gets_a_line_now_and_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = log.Log(tmp_path / "log.jsonl", step=0, steps=10, every=3600)
    for step in range(5):
        written.write({**LINE, "step": step})
    written.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "step 0 loss 0.2500 | 12.0 imgs/s | grad norm 1.500 | lr 1.00e-03 | data wait 0.5 % | 100 MB | 2.00 h to go"
    ]


def test_a_terminal_gets_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("NO_COLOR", raising=False)
    written = log.Log(tmp_path / "log.jsonl", step=0, steps=10)
    written.write(LINE)
    written.say("a word between")
    written.close()
    out, err = capsys.readouterr()
    assert out == ""
    assert "7/10" in err
    assert "a word between" in err


def test_the_peak_of_memory_is_that_of_this_process() -> None:
    before = log.peak_memory_mb(torch.device("cpu"))
    held = torch.ones(50 * 2**20 // 4)
    assert held.sum() > 0
    assert before > 10
    assert log.peak_memory_mb(torch.device("cpu")) >= before
