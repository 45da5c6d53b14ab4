from __future__ import annotations

from pathlib import Path

import pytest
import torch

from limner.config import SamplingSettings
from limner.diffusion import samplers
from limner.errors import LimnerError, UnsupportedError
from limner.evaluation import bench, bench_report, machine, reference
from limner.evaluation.bench import BenchResult
from limner.networks import int8
from limner.systems import base
from tests.evaluation import tiny

CPU = torch.device("cpu")
WITHIN = {"float32": 1e-4, "bfloat16": 0.05, "int8": 0.15}  # |output - reference| / |reference| of the fast path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The profiler takes seconds to start; one test uses the real one."""
    monkeypatch.setattr(bench, "parts", lambda work: {"convolution": 1.0})


def result(*cases: bench.Case) -> BenchResult:
    return BenchResult(machine=machine.here(CPU), date="2020-02-03", command="limner bench", cases=cases)


def test_our_loop_gives_the_pictures_of_the_reference_way() -> None:
    glide = tiny.system(2)
    sampling = SamplingSettings(sampler="ddpm", steps="3", guidance=2.0)
    stage = glide.stages[0]
    with torch.no_grad():
        theirs = samplers.last(reference.run(stage, sampling, ["a dog", "a cat"], seed=4, indices=[0, 1]))
        ours = samplers.last(base.run(stage, sampling, stage.words(["a dog", "a cat"]), seed=4, indices=[0, 1]))
        up = glide.stages[1]
        large = samplers.last(reference.run(up, up.settings.sampling, ["", ""], seed=4, indices=[0, 1], low_res=theirs))
        enlarged = samplers.last(base.run(up, up.settings.sampling, {}, seed=4, indices=[0, 1], low_res=ours))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(enlarged, large, rtol=1e-3, atol=1e-4)


def test_the_reference_way_reads_the_words_in_every_step_for_both_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = tiny.system().stages[0]
    read: list[int] = []
    encode = stage.net.encode
    monkeypatch.setattr(stage.net, "encode", lambda ids, mask: read.append(len(ids)) or encode(ids, mask))
    with torch.no_grad():
        steps = SamplingSettings(sampler="ddim", steps="3", guidance=2.0)
        samplers.last(reference.run(stage, steps, ["a", ""], seed=0, indices=[0]))
    assert read == [2, 2, 2]


@pytest.mark.usefixtures("quick")
def test_a_single_step_is_timed_and_agrees_with_the_reference() -> None:
    settings = tiny.system().settings.stages[0]
    case = bench.one_step(settings, "tiny", ["float32", "bfloat16"], CPU, rounds=2)
    assert [timing.variant for timing in case.timings] == ["reference", "float32", "bfloat16"]
    first = case.timings[0]
    assert (first.ratio, first.error, first.rounds) == (1.0, 0.0, 2)
    for timing in case.timings[1:]:
        assert timing.error < WITHIN[timing.variant]
        assert timing.fastest <= timing.seconds <= timing.slowest
        assert timing.levels is None
    assert case.timings[2].error > 1e-5, "bfloat16 must have been used"


@pytest.mark.usefixtures("quick")
def test_a_machine_that_slows_down_slows_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    now, ran = [0.0], list[str]()
    monkeypatch.setattr("limner.evaluation.bench.time.perf_counter", lambda: now[0])

    def made(variant: bench.Variant) -> bench.Job:
        def work() -> torch.Tensor:
            ran.append(variant)
            now[0] += len(ran) * {"reference": 3.0}.get(variant, 1.0)  # longer with every call
            return torch.ones(1)

        return bench.Job(work, 0.0, False)

    case = bench._case(("name", "what", 1), made, ["float32"], CPU, 3, lambda text: None)
    assert ran[-6:] == ["reference", "float32"] * 3
    assert case.timings[1].ratio == pytest.approx(3 * 10 / 11)  # alone, one after the other, they would seem 1.3 apart


@pytest.mark.usefixtures("quick")
@pytest.mark.skipif(not int8.available(), reason="this processor has no 8-bit units")
def test_whole_pictures_are_timed_and_agree_with_the_reference() -> None:
    case = bench.pictures(tiny.system(2), ["int8"], prompt="a blue square", rounds=1)
    _, quick = case.timings
    assert 0 < quick.error < WITHIN["int8"]
    assert quick.levels is not None
    assert quick.levels < 10
    assert case.what == "1 whole 64 px picture, 2 dpmpp2m + 2 ddim steps, 'a blue square'"


def test_where_the_time_goes_is_told_by_kind_of_operator() -> None:
    a = torch.ones(300, 300)
    found = bench.parts(lambda: (a @ a).softmax(-1))
    assert sum(found.values()) == pytest.approx(1)
    assert {"linear layers", "attention"} <= set(found)
    assert list(found.values()) == sorted(found.values(), reverse=True)


@pytest.mark.usefixtures("quick")
def test_a_variant_that_this_machine_cannot_do_is_left_out_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(net: object) -> None:
        raise UnsupportedError("no such units")

    monkeypatch.setattr(int8, "quantise", refuse)
    said: list[str] = []
    case = bench.pictures(tiny.system(), ["int8", "float32"], rounds=1, progress=said.append)
    assert [timing.variant for timing in case.timings] == ["reference", "float32"]
    assert any("left out: no such units" in line for line in said)


def test_the_released_sizes_are_what_is_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, str]] = []
    monkeypatch.setattr(bench, "one_step", lambda settings, name, *rest, **more: asked.append((settings.network.side, name)))
    bench.official("base", [], CPU)
    bench.official("upsampler", [], CPU)
    assert asked == [(64, "GLIDE base, released size"), (256, "GLIDE upsampler, released size")]


def test_made_up_weights_leave_no_layer_silent_and_are_the_same_each_time() -> None:
    settings = tiny.system().settings.stages[0]
    one, other = bench.made_up(settings), bench.made_up(settings)
    for parameter, again in zip(one.parameters(), other.parameters(), strict=True):
        assert parameter.any()
        assert torch.equal(parameter, again)


@pytest.mark.usefixtures("quick")
def test_the_page_and_the_json_are_named_after_subject_hardware_and_month(tmp_path: Path) -> None:
    case = bench.pictures(tiny.system(), ["bfloat16"], rounds=1)
    files = bench_report.write(result(case), tmp_path / "new", "glide")
    name = bench_report.hardware(machine.here(CPU))
    assert [file.name for file in files] == [f"glide_{name}_2020-02.md", f"glide_{name}_2020-02.json"]
    page = files[0].read_text()
    for word in (
        "ours, bfloat16",
        "peak MB",
        "of 255 a pixel",
        "Where the time goes",
        "above what the process held",
        "limner bench",
        machine.processor(),
    ):
        assert word in page
    assert BenchResult.model_validate_json(files[1].read_text()) == result(case)


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LimnerError, match="cannot be written"):
        bench_report.write(result(), tmp_path / "file" / "folder", "glide")
