"""What Karlo's published configuration says and its files do not show: names, heads, sides, processes, sampling.

Its keys are in `karlo.py` (the original files) and `diffusers_unclip.py` (the folder of diffusers, whose names the networks
have in limner too).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from limner.config import DiffusionSettings, NetworkSettings, PartSettings, SamplingSettings, StageSettings, UNetSettings
from limner.errors import CheckpointError, UnsupportedError
from limner.official.layout import Entry, KeyMap
from limner.official.piece import Shapes, Together

PRIOR, STATISTICS, TEXT_PROJECTION = "prior", "statistics", "text_proj"
DECODER, FIRST, LAST = "decoder", "super_res_first", "super_res_last"
SMALL, LARGE = 64, 256  # pixels of the decoder's pictures and of the upsamplers'
_HEAD_WIDTH = 64


def decoder(network: UNetSettings) -> StageSettings:
    """The stage from an embedding to a small picture, sampled as Karlo's "fast" does."""
    return StageSettings(
        name=DECODER,
        network=network.model_copy(update={"side": SMALL, "heads": 1, "head_width": _HEAD_WIDTH}),
        diffusion=DiffusionSettings(schedule="cosine", target="eps", variance="learned_range"),
        sampling=SamplingSettings(sampler="ddpm", steps="25", guidance=8.0),
    )


def upsampler(network: UNetSettings) -> StageSettings:
    """The stage that enlarges, all steps but its last, for which there is a network of its own (`last_step`)."""
    return StageSettings(
        name=FIRST,
        network=_enlarging(network),
        diffusion=DiffusionSettings(schedule="cosine", target="eps", variance="fixed_small"),
        sampling=SamplingSettings(sampler="ddpm", steps="7", guidance=1.0),
        low_side=SMALL,
    )


def last_step(network: UNetSettings) -> PartSettings:
    """The network of the enlarging stage's last step."""
    return PartSettings(name=LAST, network=_enlarging(network))


def is_own(network: UNetSettings) -> bool:
    """Whether a U-Net is a decoder or an upsampler of unCLIP that the original code can build."""
    foreign = network.text, network.classes, network.time_rows, network.inpaint, network.latent, network.patch > 1
    width = network.embed in (None, 4 * network.width)
    return (network.words is not None or network.enlarge == "bicubic") and width and not any(foreign)


def heads(width: int, *, what: str) -> int:
    """Heads of a transformer of some width, 64 channels each as published.

    Raises: CheckpointError when the width cannot be cut so.
    """
    if width % _HEAD_WIDTH:
        raise CheckpointError(f"{what}: a width of {width} cannot be cut into heads of {_HEAD_WIDTH}, as Karlo has them")
    return width // _HEAD_WIDTH


def leaves(prefix: str, names: Mapping[str, str], limner: str = "") -> dict[str, Entry]:
    """Weight and bias of some layers, told limner's name -> official name; `limner` stands in front of limner's."""
    return {
        f"{prefix}{theirs}.{kind}": Entry(f"{limner}{ours}.{kind}")
        for ours, theirs in names.items()
        for kind in ("weight", "bias")
    }


def count(shapes: Shapes, pattern: str) -> int:
    """How many different numbers stand in the group of a pattern at the beginning of keys."""
    return len({int(found[1]) for key in shapes if (found := re.match(pattern, key))})


def together(
    networks: Mapping[str, NetworkSettings],
    files: Mapping[str, Sequence[str]],
    keys: Callable[[str, NetworkSettings], KeyMap],
    wrapper: str = "",
) -> tuple[Together, ...]:
    """The files (name -> networks in it) that some networks make; those of which no network is there are left out.

    Raises: UnsupportedError when a file lacks one of its networks.
    """
    out = []
    for file, names in files.items():
        missing = [name for name in names if name not in networks]
        if len(missing) == len(names):
            continue
        if missing:
            raise UnsupportedError(
                f"export: {file} holds {' and '.join(names)} together, and {missing[0]} is not in this folder; "
                "convert its file along"
            )
        out.append(Together(file, tuple((name, keys(name, networks[name])) for name in names), wrapper))
    return tuple(out)


def _enlarging(network: UNetSettings) -> UNetSettings:
    return network.model_copy(update={"side": LARGE, "enlarge": "bicubic"})
