"""The harness itself: what it draws, what it lets pass and what not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.golden.case import Case, differences
from tests.golden.runners.networks import settings
from tests.golden.test_golden import test_outputs_equal_the_official_ones as run_case

EXPECTED = {"y": torch.tensor([1.0, 2.0]), "y.f64": torch.tensor([1.0, 2.0], dtype=torch.float64), "n": torch.tensor([3, 4])}
ARGS = {
    "in_channels": 3,
    "out_channels": 6,
    "model_channels": 32,
    "channel_mult": [1, 2],
    "num_res_blocks": 1,
    "attention_downsample": [2],
    "num_heads": 4,
    "dropout": 0.0,
    "use_scale_shift_norm": True,
}
TOLERANCE = {"float32": {"rtol": 0, "atol": 1e-3, "atol_per_output": {}}, "float64": {"rtol": 0, "atol": 1e-9}}


def case(folder: Path, expected: dict[str, Tensor] = EXPECTED, **changed: object) -> Case:
    spec = {"component": "teapot", "config": {}, "inputs": {}, "tolerance": TOLERANCE, **changed}
    (folder / "case.json").write_text(json.dumps(spec))
    save_file(expected, folder / "expected.safetensors")
    return Case(folder)


def same() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {"y": EXPECTED["y"].clone(), "n": EXPECTED["n"].clone()}, {"y": EXPECTED["y.f64"].clone()}


def test_equal_outputs_pass(tmp_path: Path) -> None:
    assert differences(case(tmp_path), *same()) == []


@pytest.mark.parametrize(
    ("which", "name", "value", "says"),
    [
        (0, "y", torch.tensor([1.0, 2.01]), "1 of 2 values too far"),
        (0, "y", torch.tensor([1.0, float("nan")]), "1 of 2 values too far"),
        (0, "y", torch.tensor([[1.0, 2.0]]), "shape"),
        (0, "n", torch.tensor([3, 5]), "1 of 2 entries"),
        (0, "n", torch.tensor([3.0, 4.0]), "float32"),
        (1, "y", torch.tensor([1.0, 2.0 + 1e-6], dtype=torch.float64), "y.f64: 1 of 2"),
    ],
)
def test_an_output_that_is_off_is_named(tmp_path: Path, which: int, name: str, value: Tensor, says: str) -> None:
    runs = same()
    runs[which][name] = value
    (line,) = differences(case(tmp_path), *runs)
    assert says in line


def test_a_missing_output_is_a_difference(tmp_path: Path) -> None:
    single, _ = same()
    assert differences(case(tmp_path), single, {}) == ["y.f64: not computed"]


def test_an_output_may_have_its_own_tolerance(tmp_path: Path) -> None:
    loose = {**TOLERANCE, "float32": {**TOLERANCE["float32"], "atol_per_output": {"y": 0.1}}}
    single, double = same()
    single["y"] += 0.05
    assert differences(case(tmp_path, tolerance=loose), single, double) == []


def test_only_pictures_rounded_from_samples_may_differ_by_one(tmp_path: Path) -> None:
    pixels = {"up_uint8": torch.tensor([7], dtype=torch.uint8)}
    other = {"up_uint8": torch.tensor([8], dtype=torch.uint8)}
    assert differences(case(tmp_path, pixels, weights={"state_dict": {}}), other, {}) == []
    assert len(differences(case(tmp_path, pixels), other, {})) == 1


def test_plain_data_is_compared_to_the_place_of_the_difference(tmp_path: Path) -> None:
    (tmp_path / "expected.json").write_text(json.dumps({"ids": [[1, 2], [3]]}))
    made = case(tmp_path, {})
    assert differences(made, {"expected.json": {"ids": [[1, 2], [3]]}}, {}) == []
    (line,) = differences(made, {"expected.json": {"ids": [[1, 2], [4]]}}, {})
    assert "ids[1][0]" in line


def test_a_component_limner_does_not_have_is_skipped_by_name(tmp_path: Path) -> None:
    case(tmp_path)
    with pytest.raises(pytest.skip.Exception, match="limner has no teapot yet"):
        run_case(tmp_path)


def test_a_module_that_only_helps_other_runners_is_no_component(tmp_path: Path) -> None:
    case(tmp_path, component="networks")
    with pytest.raises(pytest.skip.Exception, match="limner has no networks yet"):
        run_case(tmp_path)


@pytest.mark.parametrize(
    ("changed", "expected", "says"),
    [
        ({}, {}, "neither tensors"),
        ({"outputs": {"z": {"shape": [1]}}}, EXPECTED, "z: listed in case.json, but not stored"),
        ({"component": ""}, EXPECTED, "names neither a component"),
        ({"config": []}, EXPECTED, "not an object with a config"),
        ({"tolerance": "per output", "outputs": {}}, EXPECTED, "y: no tolerance"),
        ({"tolerance": {}}, EXPECTED, "y: no tolerance"),
    ],
)
def test_a_case_that_cannot_be_judged_fails_with_the_reason(
    tmp_path: Path, changed: dict[str, object], expected: dict[str, Tensor], says: str
) -> None:
    case(tmp_path, expected, **changed)
    with pytest.raises(AssertionError, match="no case that can be judged") as raised:
        run_case(tmp_path)
    assert says in str(raised.value)


@pytest.mark.parametrize(("name", "content"), [("case.json", b'{"component": '), ("expected.safetensors", b"\x10\x00")])
def test_a_damaged_file_of_a_case_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    case(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AssertionError, match=r"case\.json|expected outputs"):
        run_case(tmp_path)


def test_a_case_that_its_runner_cannot_follow_fails_with_the_reason(tmp_path: Path) -> None:
    case(tmp_path, config={"runner": "respace", "specs": [{"steps": 1000}]})
    with pytest.raises(AssertionError, match="cannot be run as the case describes it: KeyError"):
        run_case(tmp_path)


@pytest.mark.parametrize(
    ("changed", "says"), [({"class": "SpaceUNet"}, "SpaceUNet"), ({"args": {"use_warp": True}}, "use_warp")]
)
def test_a_network_that_the_runner_does_not_know_is_not_taken_for_another(changed: dict[str, object], says: str) -> None:
    config = {"class": "UNetModel", "args": {}, **changed}
    with pytest.raises(ValueError, match=says):
        settings(str(config["class"]), {**ARGS, **config["args"]}, side=16)


def test_a_network_has_the_channels_of_the_case() -> None:
    assert settings("UNetModel", {**ARGS, "in_channels": 1, "out_channels": 2}, side=16).channels == 1


def test_weights_that_come_out_differently_are_told_apart_from_a_wrong_network(tmp_path: Path) -> None:
    weights = {"prefix": "", "sha256": "0" * 64, "state_dict": {"model": {"conv.weight": [2, 3]}}}
    case(tmp_path, config={"runner": "schedule"}, weights=weights)
    with pytest.raises(AssertionError, match="NumPy's stream changed"):
        run_case(tmp_path)


def test_inputs_come_in_the_dtype_of_the_run(tmp_path: Path) -> None:
    inputs = {
        "x": {"kind": "normal", "shape": [2], "key": "k"},
        "t": {"kind": "values", "values": [1], "dtype": "int64", "shape": [1]},
    }
    case(tmp_path, inputs=inputs)
    double = Case(tmp_path, torch.float64).inputs()
    assert double["x"].dtype == torch.float64
    assert double["t"].dtype == torch.int64
    assert torch.equal(double["x"], Case(tmp_path).input("x").double())
