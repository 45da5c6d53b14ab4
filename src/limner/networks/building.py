"""Any network from its settings: ready to be trained, or hollow, to be filled from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from limner.config import (
    BartDecoderSettings,
    BartEncoderSettings,
    CaptionerSettings,
    ClassifierSettings,
    ClipSettings,
    DiscreteDecoderSettings,
    DiscreteEncoderSettings,
    LatentVAESettings,
    NetworkSettings,
    NoisedClipSettings,
    PriorSettings,
    StatisticsSettings,
    T5Settings,
    TextProjectionSettings,
    TokenModelSettings,
    UNetSettings,
    VqganSettings,
)
from limner.networks.bart import BartDecoder, BartEncoder
from limner.networks.captioner import Captioner
from limner.networks.classifier import Classifier
from limner.networks.clip import Clip
from limner.networks.diffusion_prior import DiffusionPrior
from limner.networks.discrete_vae import DiscreteDecoder, DiscreteEncoder
from limner.networks.embedding_statistics import EmbeddingStatistics
from limner.networks.latent_vae import LatentVAE
from limner.networks.noised_clip import NoisedClip
from limner.networks.t5 import T5Encoder
from limner.networks.text_projection import TextProjection
from limner.networks.token_model import TokenModel
from limner.networks.unet import UNet
from limner.networks.vqgan import VqganDecoder

S = TypeVar("S", bound=NetworkSettings)
M = TypeVar("M", bound=nn.Module)


def build(settings: NetworkSettings) -> nn.Module:
    """The network of these settings, its weights drawn from torch's global stream."""
    match settings:
        case UNetSettings():
            return UNet(settings)
        case ClassifierSettings():
            return Classifier(settings)
        case ClipSettings():
            return Clip(settings)
        case NoisedClipSettings():
            return NoisedClip(settings)
        case CaptionerSettings():
            return Captioner(settings)
        case DiscreteEncoderSettings():
            return DiscreteEncoder(settings)
        case DiscreteDecoderSettings():
            return DiscreteDecoder(settings)
        case LatentVAESettings():
            return LatentVAE(settings)
        case VqganSettings():
            return VqganDecoder(settings)
        case BartEncoderSettings():
            return BartEncoder(settings)
        case BartDecoderSettings():
            return BartDecoder(settings)
        case T5Settings():
            return T5Encoder(settings)
        case TokenModelSettings():
            return TokenModel(settings)
        case PriorSettings():
            return DiffusionPrior(settings)
        case StatisticsSettings():
            return EmbeddingStatistics(settings)
        case TextProjectionSettings():
            return TextProjection(settings)


def hollow(make: Callable[[S], M], settings: S) -> M:
    """A network (`make` is its class, or `build`) on the meta device: shapes and names without weights, whatever its size."""
    with torch.device("meta"), _Uninitialised():
        return make(settings)


class _Uninitialised(TorchFunctionMode):
    """Leaves meta tensors alone: torch would import its compiler, a whole second, to fill nothing with random numbers."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = kwargs or {}
        if func is nn.init.normal_:
            return named["tensor"]
        if func is Tensor.mul:
            return args[0]
        return torch.empty(*args, **named) if func is torch.randn else func(*args, **named)
