"""Released networks at their full size: does float32 say what float64 says, and how much memory does loading take?

    python benchmarks/full_size.py --out benchmarks            # all of them, one after the other
    python benchmarks/full_size.py adm-256 --out benchmarks    # one

The numbers of a network are drawn from the names of its released keys (a normal over the root of the fan-in), so every layer
does something, and nothing has to be downloaded. Each part runs in a process of its own: one writes the weights, one loads
them, one computes. Needs 10 GB of memory and 3 GB of disk for the largest.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limner import weights
from limner.evaluation import machine
from limner.networks.building import build, hollow
from limner.official import families, layout
from limner.official.piece import Piece

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "tests" / "golden" / "manifests"
MODELS = {
    "glide-base": "glide_base",
    "glide-upsampler": "glide_upsample",
    "adm-256": "adm_256x256_diffusion",
    "clip-vit-b-32": "clip_ViT-B-32",
    "dalle-dvae-encoder": "dalle_dvae_encoder",
    "dalle-dvae-decoder": "dalle_dvae_decoder",
}
RTOL, ATOL = 1e-4, 1e-5  # of float32 against the originals, as the golden cases state them
MOST = 1.3  # memory while loading, in sizes of the weights
CPU = torch.device("cpu")
COLUMNS = (
    *("network", "parameters", "weights", "loading", "input"),
    *("largest output", "largest gap", "relative gap", "of tolerance", "seconds"),
)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("models", nargs="*", choices=[[], *MODELS], help="which; all when none is named")
    asked.add_argument("--out", type=Path, default=Path("benchmarks"), help="folder of the results")
    asked.add_argument("--side", type=int, help="pixels of the U-Nets' picture; the network's own when left out")
    asked.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)  # what a child does
    asked.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.part is not None:
        print(json.dumps(PARTS[given.part](piece_of(given.models[0]), given.file, given.side)))
        return
    for name in given.models or MODELS:
        write([measured(name, given.side)], given.out)


def measured(name: str, side: int | None) -> dict[str, Any]:
    """All three parts of one network, each in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        facts: dict[str, Any] = {"name": name, "manifest": MODELS[name]}
        for part in PARTS:
            started = time.monotonic()
            command = [sys.executable, __file__, name, "--part", part, "--file", str(file)]
            command += [] if side is None else ["--side", str(side)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
            facts |= json.loads(done.stdout.splitlines()[-1])
            print(f"{name}: {part} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return facts


def piece_of(name: str) -> Piece:
    """The network of a released file, told from its keys and shapes."""
    told = json.loads((MANIFESTS / f"{MODELS[name]}.json").read_text(encoding="utf-8"))["state_dict"]
    shapes = {key: tuple(each["shape"] if isinstance(each, dict) else each) for key, each in told.items()}
    _, (piece,) = families.recognise(shapes, where=name)
    return piece


def write_weights(piece: Piece, file: Path, _: int | None) -> dict[str, Any]:
    """Draw the released keys and store them in limner's layout."""
    state = layout.to_limner(
        {key: drawn(key, shape) for key, shape in families.expected([piece]).items()}, piece.keys, where="x"
    )
    weights.write_tensors(file, state, dtype=torch.float32)
    return {"parameters": sum(value.numel() for value in state.values()), "weights_mb": round(file.stat().st_size / 2**20, 1)}


def load_weights(piece: Piece, file: Path, _: int | None) -> dict[str, Any]:
    """Load them as a system does, read every number once, and see how far memory rose above what Python and torch take."""
    net = hollow(build, piece.settings.network)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights.load_state(net, file)
    seen = sum(float(value.sum()) for value in net.state_dict().values())  # makes no copies
    rose = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    ratio = rose / (file.stat().st_size / 2**20)
    return {"loading_mb": round(rose, 1), "loading_ratio": round(ratio, 3), "finite": bool(np.isfinite(seen))}


def compare(piece: Piece, file: Path, side: int | None) -> dict[str, Any]:
    """One forward in float32, and the same in float64."""
    net = hollow(build, piece.settings.network)
    weights.load_state(net, file)
    net.eval().requires_grad_(False)
    started = time.monotonic()
    single = forward(net, torch.float32, side)
    seconds = time.monotonic() - started
    double = forward(net.double(), torch.float64, side)
    gap = (single.double() - double).abs()
    worst = float((gap / (ATOL + RTOL * double.abs())).max())
    return {
        "input": described(net, side),
        "seconds": round(seconds, 2),
        "largest_output": float(double.abs().max()),
        "largest_gap": float(gap.max()),
        "relative_gap": float(gap.norm() / double.norm()),
        "worst_of_tolerance": round(worst, 4),  # 1 is the tolerance itself
        "machine": machine.here(CPU).model_dump(),
    }


PARTS = {"write": write_weights, "load": load_weights, "compare": compare}


def drawn(key: str, shape: tuple[int, ...]) -> Tensor:
    """A released tensor that does something, from its name alone."""
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, dtype=np.float32)
    if key.rsplit(".", 1)[-1] == "logit_scale":
        return torch.tensor(float(np.log(1 / 0.07)))
    if len(shape) >= 2:
        return torch.from_numpy(n * np.float32(1 / np.sqrt(np.prod(shape[1:]))))
    return torch.from_numpy(np.asarray(np.float32(0.1) * n + np.float32(key.endswith((".weight", ".g")))))


@torch.no_grad()
def forward(net: nn.Module, dtype: torch.dtype, side: int | None) -> Tensor:
    """The network's answer to inputs drawn from a seed: a noisy picture and a step, a picture and words, or codes."""
    stream = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(shape, generator=stream).to(dtype)

    settings: Any = getattr(net, "settings", None)
    match settings.kind:
        case "unet":
            cond: dict[str, Tensor] = {}
            if settings.text is not None:
                ids = torch.randint(settings.text.rows, (1, settings.text.context), generator=stream)
                cond |= net.encode(ids, torch.arange(settings.text.context)[None] < 9)
            side = side or settings.side
            if settings.low_res:
                cond["low_res"] = noise(1, 3, side // 4, side // 4).clamp(-1, 1)
            if settings.classes is not None:
                cond["label"] = torch.tensor([207])
            return net(noise(1, 3, side, side), torch.tensor([500]), cond)
        case "clip":
            ids = torch.randint(1, 49407, (1, settings.text.context), generator=stream)
            ids[:, 12] = 49407
            picture = net.embed_image(noise(1, 3, settings.image.side, settings.image.side))
            return torch.cat([picture, net.embed_text(ids)])
        case "dvae-encoder":
            return net(noise(1, 3, 256, 256).clamp(-1, 1) * 0.4 + 0.5)
        case "dvae-decoder":
            codes = torch.randint(8192, (1, 32, 32), generator=stream)
            return net(nn.functional.one_hot(codes, 8192).permute(0, 3, 1, 2).to(dtype))
        case other:
            raise SystemExit(f"full_size: no input is known for a network of kind {other}")


def described(net: nn.Module, side: int | None) -> str:
    """The input in words."""
    settings: Any = getattr(net, "settings", None)
    match settings.kind:
        case "unet":
            return f"one picture of {side or settings.side} px at step 500"
        case "clip":
            return f"one picture of {settings.image.side} px, one text"
        case "dvae-encoder":
            return "one picture of 256 px"
        case _:
            return "32 x 32 codes"


def write(found: list[dict[str, Any]], out: Path) -> None:
    """The results as JSON and as a page; networks that were not measured now stay as they were."""
    about = found[0]["machine"]
    words = re.sub(r"[^a-z0-9]+", "-", f"{about['processor']} {about['cores']} cores".lower()).strip("-")
    path = out / f"full-size_{words}_{datetime.date.today():%Y-%m}.json"
    old = json.loads(path.read_text(encoding="utf-8"))["networks"] if path.is_file() else []
    rows = {each["name"]: each for each in (*old, *found)}
    whole = {
        "date": datetime.date.today().isoformat(),
        "command": "python benchmarks/full_size.py --out benchmarks",
        "tolerance": {"rtol": RTOL, "atol": ATOL},
        "networks": [rows[name] for name in MODELS if name in rows],
    }
    path.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(page(whole), encoding="utf-8")
    print(path)


def page(whole: dict[str, Any]) -> str:
    """The results for people."""
    about = whole["networks"][0]["machine"]
    lines = [
        "# Released networks at full size",
        "",
        f"{about['processor']}, {about['cores']} cores, {about['memory_gb']} GB, torch {about['torch']}; {whole['date']}; "
        f"`{whole['command']}`. Other work ran on the machine, so the seconds say little.",
        "",
        "Weights drawn from the names of the released keys. *Gap*: float32 against the same network in float64.",
        f"*Of tolerance*: the worst element's gap over {RTOL:g} |x| + {ATOL:g}, that of the golden cases; 1 is the most.",
        "*Loading*: how far memory rose while the file was loaded and read through, in sizes of the weights; at most",
        f"{MOST}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'---|' * len(COLUMNS)}",
    ]
    for each in whole["networks"]:
        cells = (
            each["name"],
            f"{each['parameters']:,}",
            f"{each['weights_mb']:,.0f} MB",
            f"{each['loading_ratio']:.2f}",
            each["input"],
            f"{each['largest_output']:.3g}",
            f"{each['largest_gap']:.1e}",
            f"{each['relative_gap']:.1e}",
            f"{each['worst_of_tolerance']:.2f}",
            f"{each['seconds']:g}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
