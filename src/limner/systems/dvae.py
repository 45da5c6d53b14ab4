"""DALL-E's dVAE: pictures -> codes -> pictures. The transformer that draws codes from words was never released.

Pictures are prepared as in the released notebook: shorter side resized, centre cropped, mapped; and rounded as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import torch
from PIL import Image
from torch import Tensor

from limner import catalog, images, weights
from limner.config import SystemSettings
from limner.errors import InputError, ShapeError, UnsupportedError
from limner.networks.building import build, hollow
from limner.networks.discrete_vae import DiscreteDecoder, DiscreteEncoder, map_pixels
from limner.systems import base
from limner.systems.base import Dtype

M = TypeVar("M", DiscreteEncoder, DiscreteDecoder)

SIDE = 256  # pixels of the pictures it was trained on
CELL = 8  # pixels a code stands for, each way


class Dvae:
    """Encoder and decoder, ready to use; a model may have only one of them."""

    def __init__(
        self,
        settings: SystemSettings,
        encoder: DiscreteEncoder | None,
        decoder: DiscreteDecoder | None,
        *,
        device: torch.device,
        hashes: dict[str, str],
    ) -> None:
        self.settings = settings
        self.encoder = encoder
        self.decoder = decoder
        self.device = device
        self.hashes = hashes  # part -> sha256 of its weights

    def encode(self, pictures: Sequence[Image.Image], *, side: int = SIDE) -> Tensor:
        """The codes of pictures, whose centre squares are taken.

        Shapes: B pictures -> [B side/8 side/8] int64, on the CPU.
        Raises: InputError for no pictures, a side that is no multiple of 8, or a picture smaller than it; UnsupportedError
            without an encoder.
        """
        if self.encoder is None:
            raise UnsupportedError(f"{self.settings.name}: has no encoder; convert encoder.pkl and decoder.pkl together")
        if side < CELL or side % CELL:
            raise InputError(
                f"side: a code stands for {CELL}x{CELL} pixels, so the side must be a multiple of {CELL}; got {side}"
            )
        if not pictures:
            raise InputError("encode: needs at least one picture; got none")
        squares = [images.dalle_square(picture, side) for picture in pictures]
        with torch.no_grad():  # one at a time, which bounds the memory
            codes = [self.encoder.codes(map_pixels(square[None]).to(self.device)).cpu() for square in squares]
        return torch.cat(codes)

    def decode(self, codes: Tensor) -> list[Image.Image]:
        """The pictures of codes. Shapes: [B h w] int64 -> B pictures of 8w x 8h.

        Raises: ShapeError for another shape; InputError for a code that does not exist; UnsupportedError without a decoder.
        """
        if self.decoder is None:
            raise UnsupportedError(f"{self.settings.name}: has no decoder; convert encoder.pkl and decoder.pkl together")
        if codes.ndim != 3:
            raise ShapeError(f"codes: expected [B, h, w] of integers; got {list(codes.shape)} {codes.dtype}")
        with torch.no_grad():
            pixels = [self.decoder.pixels(each[None].to(self.device)).float().cpu() for each in codes]
        return [picture for each in pixels for picture in images.truncated(2 * each - 1)]

    def reconstruct(self, pictures: Sequence[Image.Image], *, side: int = SIDE) -> list[Image.Image]:
        """Pictures as they come back from their codes. Raises: as `encode` and `decode` do."""
        return self.decode(self.encode(pictures, side=side))


def load(name: str | Path, *, device: str = "auto", dtype: Dtype = "auto") -> Dvae:
    """A dVAE by name or checkpoint folder.

    Raises: CheckpointError when there is no such model or its weights do not fit; UnsupportedError for a model of another
        kind; ConfigError for a device or type that is not here.
    """
    folder = weights.read_folder(catalog.find(name))
    if folder.settings.system != "dvae":
        raise UnsupportedError(f"{name}: is a {folder.settings.system} model, which has no codes; use one such as dalle-dvae")
    return open_folder(folder, device=device, dtype=dtype)


def open_folder(folder: weights.Folder, *, device: str = "auto", dtype: Dtype = "auto") -> Dvae:
    """Load a checkpoint folder. "auto" computes as the original: in float16 on CUDA, else in float32.

    Raises: CheckpointError for weights that do not fit; ConfigError for a device that is not here.
    """
    place = base.pick_device(device)
    kind = _original(place) if dtype == "auto" else base.pick_dtype(dtype, place)
    encoder = decoder = None
    for part in folder.settings.parts:
        net = hollow(build, part.network)
        weights.load_state(net, folder.weights(part.name), device=place)
        if isinstance(net, DiscreteEncoder):
            encoder = _ready(net, kind)
        elif isinstance(net, DiscreteDecoder):
            decoder = _ready(net, kind)
    return Dvae(folder.settings, encoder, decoder, device=place, hashes=folder.hashes)


def _original(device: torch.device) -> torch.dtype:
    return torch.float16 if device.type == "cuda" else torch.float32


def _ready(net: M, dtype: torch.dtype) -> M:
    net.eval().requires_grad_(False)
    if dtype != torch.float32:
        net.cast(dtype)
    return net
