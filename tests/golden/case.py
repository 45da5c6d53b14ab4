"""One conformance case: a folder with case.json, expected.safetensors and sometimes expected.json.

Weights and inputs are not stored; they are drawn again from their names, as the recipes beside the cases say. Two
forms of case.json are read: one names a `config.runner` and has float64 twins, the other names a `component` and
has tolerances at each output.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

TWIN = ".f64"  # outputs computed in float64 carry this suffix
TEXT = "expected.json"  # the key under which a runner returns what is no tensor


@dataclass(frozen=True)
class Tolerance:
    rtol: float
    atol: float


@dataclass(frozen=True)
class Case:
    """A case as a runner sees it: every floating-point input and weight comes in `dtype`."""

    folder: Path
    dtype: torch.dtype = torch.float32

    @cached_property
    def spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = json.loads((self.folder / "case.json").read_text(encoding="utf-8"))
        return spec

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = self.spec.get("config", {})
        return config

    @property
    def component(self) -> str:
        """The name of the runner."""
        return str(self.config.get("runner") or self.spec["component"])

    @cached_property
    def expected(self) -> dict[str, Tensor]:
        file = self.folder / "expected.safetensors"
        return load_file(file) if file.is_file() else {}

    @cached_property
    def text(self) -> Any:
        """What expected.json holds, None when there is none."""
        file = self.folder / TEXT
        return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None

    @property
    def has_twins(self) -> bool:
        return any(name.endswith(TWIN) for name in self.expected)

    def inputs(self) -> dict[str, Tensor]:
        """Every listed input by name."""
        listed = self.spec.get("inputs", {})
        names = listed if isinstance(listed, Mapping) else [entry["name"] for entry in listed]
        return {name: self.input(name) for name in names}

    def has(self, name: str) -> bool:
        listed = self.spec.get("inputs", {})
        return name in (listed if isinstance(listed, Mapping) else {entry["name"] for entry in listed})

    def input(self, name: str) -> Tensor:
        """One listed input."""
        listed = self.spec["inputs"]
        if isinstance(listed, Mapping):
            return self._cast(torch.from_numpy(np.ascontiguousarray(_keyed_input(listed[name]))))
        entry = next(entry for entry in listed if entry["name"] == name)
        return self._cast(_named_input(entry, self.spec["seed"]))

    def drawn(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """An input that a procedure names but the case does not list, such as `noise.step.3`."""
        return self._cast(_named_input({"name": name, "shape": list(shape)}, self.spec["seed"]))

    def weights(self, model: str | None = None) -> dict[str, Tensor]:
        """Official key -> tensor, of one model where the case has several."""
        described = self.spec["weights"]
        if "keys" in described:
            return {key: self._cast(self._named_weight(key, shape)) for key, shape in described["keys"].items()}
        models = described["state_dict"]
        name = next(iter(models)) if model is None else model
        return {key: self._cast(self._keyed_weight(key, shape)) for key, shape in models[name].items()}

    def weights_hash(self) -> str | None:
        """SHA-256 of the float32 weights as the case states it; None when it states none."""
        described = self.spec.get("weights", {})
        if "sha256" not in described:
            return None
        digest = hashlib.sha256()
        for model in sorted(described["state_dict"]):
            for key in sorted(described["state_dict"][model]):
                digest.update(key.encode())
                digest.update(self._keyed_weight(key, described["state_dict"][model][key]).numpy().tobytes())
        return digest.hexdigest()

    def tolerance(self, name: str) -> Tolerance:
        """How far an output may lie from the expected one."""
        stated = self.spec["tolerance"]
        if not isinstance(stated, Mapping):
            return Tolerance(self.spec["outputs"][name]["rtol"], self.spec["outputs"][name]["atol"])
        if self.expected[name].dtype == torch.float64:
            return Tolerance(stated["float64"]["rtol"], stated["float64"]["atol"])
        single = stated["float32"]
        return Tolerance(single["rtol"], single.get("atol_per_output", {}).get(name, single["atol"]))

    def slack(self, name: str) -> int:
        """By how much an integer output may differ: pictures rounded from a network's sample by one."""
        return int(name.endswith("uint8") and "weights" in self.spec)

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(self.dtype) if x.is_floating_point() else x

    def _keyed_weight(self, key: str, shape: list[int]) -> Tensor:
        last = key.rsplit(".", 1)[-1]
        if last == "num_batches_tracked":
            return torch.zeros(shape, dtype=torch.int64)
        if last == "logit_scale":
            return torch.from_numpy(np.full(shape, np.log(1 / 0.07), np.float32))
        drawn = _generator(self.spec["weights"]["prefix"] + key).standard_normal(tuple(shape), dtype=np.float32)
        if len(shape) >= 2:
            return torch.from_numpy(drawn * np.float32(1 / np.sqrt(np.prod(shape[1:]))))
        if last == "running_var":
            return torch.from_numpy(np.float32(1) + np.float32(0.1) * np.abs(drawn))
        return torch.from_numpy(np.asarray(np.float32(0.1) * drawn + np.float32(last in ("weight", "g"))))

    def _named_weight(self, key: str, shape: list[int]) -> Tensor:
        if key in self.spec["weight_overrides"]:
            return torch.full(tuple(shape), float(self.spec["weight_overrides"][key]))
        drawn = _generator(key).standard_normal(tuple(shape) or (1,), dtype=np.float32)
        gain = key.endswith("weight") or (self.spec["component"] == "consistency_decoder_native" and key.endswith(".g"))
        if len(shape) >= 2:
            drawn = drawn * np.float32(1 / math.sqrt(math.prod(shape[1:])))
        else:
            drawn = np.float32(0.1) * drawn + np.float32(len(shape) == 1 and gain)
        return torch.from_numpy(drawn).reshape(tuple(shape)) * self.spec["weight_multipliers"].get(key, 1.0)


def flaws_of(folder: Path) -> list[str]:
    """Why a folder cannot be judged, one line each: a case that promises or stores nothing must not pass for one that fits."""
    case = Case(folder)
    try:
        spec = case.spec
    except (OSError, ValueError) as error:
        return [f"case.json: {error}"]
    if not isinstance(spec, Mapping) or not isinstance(spec.get("config", {}), Mapping):
        return ["case.json: not an object with a config"]
    if not (case.config.get("runner") or spec.get("component")):
        return ["case.json: names neither a component nor a config.runner"]
    try:
        stored, text = set(case.expected), case.text
    except (OSError, ValueError, SafetensorError) as error:
        return [f"expected outputs: {error}"]
    lines = [f"{name}: listed in case.json, but not stored" for name in sorted(set(spec.get("outputs", {})) - stored)]
    if not stored and text is None:
        lines.append(f"expected outputs: neither tensors in expected.safetensors nor {TEXT}")
    for name in sorted(stored):
        try:
            case.tolerance(name)
        except (KeyError, TypeError) as error:
            lines.append(f"{name}: no tolerance in case.json ({error!r})")
    return lines


def differences(case: Case, single: Mapping[str, Any], double: Mapping[str, Any]) -> list[str]:
    """What is wrong with the outputs of the float32 and the float64 run, one line each."""
    lines = []
    if case.text is not None:
        lines += _unequal(TEXT, single.get(TEXT), case.text)
    for name, expected in sorted(case.expected.items()):
        outputs = double if name.endswith(TWIN) else single
        got = outputs.get(name.removesuffix(TWIN))
        if got is None:
            lines.append(f"{name}: not computed")
        elif tuple(got.shape) != tuple(expected.shape):
            lines.append(f"{name}: shape {list(got.shape)}, expected {list(expected.shape)}")
        elif expected.is_floating_point():
            lines += _far(name, got, expected, case.tolerance(name))
        elif got.is_floating_point():
            lines.append(f"{name}: {got.dtype}, expected {expected.dtype}")
        elif got.numel() and int((got.long() - expected.long()).abs().max()) > case.slack(name):
            lines.append(f"{name}: {int((got.long() != expected.long()).sum())} of {got.numel()} entries differ")
    return lines


def _far(name: str, got: Tensor, expected: Tensor, tolerance: Tolerance) -> list[str]:
    gap = (got.double() - expected.double()).abs()
    allowed = tolerance.atol + tolerance.rtol * expected.double().abs()
    same = got.double() == expected.double()  # infinities of one sign have no finite gap
    wrong = ~(same | (gap <= allowed))  # true for NaN as well
    if not bool(wrong.any()):
        return []
    return [
        f"{name}: {int(wrong.sum())} of {got.numel()} values too far off; "
        f"largest gap {float(gap.max()):.3g}, atol {tolerance.atol:.3g}, rtol {tolerance.rtol:.3g}"
    ]


def _unequal(where: str, got: Any, expected: Any) -> list[str]:
    """Where two trees of plain data first differ, depth first, at most five places."""
    if isinstance(expected, dict) and isinstance(got, dict):
        pairs = [(f"{where}.{key}", got.get(key), value) for key, value in expected.items()]
    elif isinstance(expected, list) and isinstance(got, list) and len(got) == len(expected):
        pairs = [(f"{where}[{i}]", mine, value) for i, (mine, value) in enumerate(zip(got, expected))]
    else:
        return [] if got == expected else [f"{where}: {got!r:.80}, expected {expected!r:.80}"]
    return [line for place, mine, value in pairs for line in _unequal(place, mine, value)][:5]


def _generator(key: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(key.encode("utf-8")))


def _keyed_input(spec: Mapping[str, Any]) -> np.ndarray:
    if spec["kind"] == "values":
        return np.array(spec["values"], dtype=spec["dtype"]).reshape(spec["shape"])
    generator = _generator(spec["key"])
    shape = tuple(spec["shape"])
    if spec["kind"] == "integers":
        return generator.integers(spec["low"], spec["high"], size=shape).astype(spec["dtype"])
    x = generator.standard_normal(shape, dtype=np.float32) * np.float32(spec.get("scale", 1.0))
    if "clip" in spec:
        x = np.clip(x, np.float32(spec["clip"][0]), np.float32(spec["clip"][1]))
    if spec.get("quantize8"):
        x = np.round((x + np.float32(1)) * np.float32(127.5)) / np.float32(127.5) - np.float32(1)
    return np.asarray(x, dtype=np.float32)


def _named_input(spec: Mapping[str, Any], seed: str) -> Tensor:
    generator, shape = _generator(f"{seed}/{spec['name']}"), tuple(spec["shape"])
    match spec.get("dist", "normal"):
        case "normal":
            scale, shift = np.float32(spec.get("scale", 1)), np.float32(spec.get("shift", 0))
            return torch.from_numpy(np.asarray(generator.standard_normal(shape, dtype=np.float32) * scale + shift))
        case "integers":
            return torch.from_numpy(generator.integers(spec["low"], spec["high"], size=shape))
        case "values":
            return torch.tensor(spec["values"], dtype=getattr(torch, spec["dtype"]))
        case "lengths_mask":
            return torch.arange(shape[1])[None] < torch.tensor(spec["lengths"])[:, None]
        case other:
            raise ValueError(f"input {spec['name']}: unknown distribution {other!r}")
