"""What each network is made of: one class of settings for every network, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from limner.config.autoencoders import DiscreteDecoderSettings, DiscreteEncoderSettings, LatentVAESettings, VqganSettings
from limner.config.clip import CaptionerSettings, ClipSettings, NoisedClipSettings
from limner.config.settings import Frozen
from limner.config.token_models import BartDecoderSettings, BartEncoderSettings, T5Settings, TokenModelSettings
from limner.config.unclip import PriorSettings, StatisticsSettings, TextProjectionSettings

# TOML has no word for None, so 0 stands for it there.
HeadWidth = Annotated[int | None, Field(ge=1), BeforeValidator(lambda width: None if width == 0 else width)]


class TextSettings(Frozen):
    """A GLIDE text transformer (GLIDE section 2.1): bidirectional, pre-LN, its padding learned."""

    vocabulary: str = "gpt2"  # "gpt2", "clip", or the name of a tokenizer file in the checkpoint folder
    rows: int = Field(50257, ge=2)  # how many token ids the embedding holds
    context: int = Field(128, ge=1)  # tokens; longer prompts are cut, and the user is told
    width: int = Field(512, ge=1)
    depth: int = Field(16, ge=0)
    heads: int = Field(8, ge=1)
    learned_padding: bool = True  # pads get their own vector instead of the pad token's embedding
    final_norm: bool = True

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class UNetSettings(Frozen):
    """The one ADM U-Net of IDDPM, ADM, GLIDE and unCLIP (ADM appendix A; GLIDE section 2)."""

    kind: Literal["unet"] = "unet"
    side: int = Field(64, ge=1)  # pixels of the square picture it is built for
    channels: int = Field(3, ge=1)  # of the picture itself; conditions add their own
    width: int = Field(192, ge=1)
    embed: int | None = None  # channels of the vector that tells step and conditions; None = 4 * width
    multipliers: tuple[float, ...] = (1, 2, 3, 4)  # of width, one a level; the first may be a fraction
    blocks: int = Field(3, ge=1)  # residual blocks a level
    attention: tuple[int, ...] = (2, 4, 8)  # downsampling factors (after `patch`) at which attention is used
    middle_attention: bool = True  # unCLIP's upsamplers have none, so that crops and whole pictures are alike to them
    heads: int = Field(1, ge=1)  # used when head_width is None
    heads_up: int | None = None  # in the decoder; None = heads
    head_width: HeadWidth = 64  # channels a head; overrides heads
    dropout: float = Field(0.0, ge=0, lt=1)
    scale_shift: bool = True  # the embedding scales and shifts (AdaGN) instead of adding
    residual_resample: bool = True  # BigGAN up / down blocks instead of convolutions or pooling
    conv_resample: bool = True  # without residual_resample: learned convolution, or plain pooling / nearest
    groups: int = Field(32, ge=1)  # of every group norm
    ranged: bool = True  # also predicts the variance: twice the output channels
    classes: int | None = None  # class-conditional when set
    text: TextSettings | None = None  # text-conditional when set
    words: int | None = None  # features of a token of a text that is encoded outside, by CLIP (unCLIP); excludes `text`
    low_res: bool = False  # takes a smaller picture, which it enlarges (upsamplers)
    enlarge: Literal["bilinear", "bicubic"] = "bilinear"  # how; Karlo's is bicubic, without aliasing
    inpaint: bool = False  # takes a masked picture and its mask
    latent: int = Field(0, ge=0)  # channels of a smaller map that is enlarged to the picture (consistency decoder)
    time_rows: int | None = None  # steps are rows of a learned table of this length, not sinusoids (consistency decoder)
    patch: int = Field(1, ge=1)  # pixel-unshuffle factor in front of the stem; 1 = as published

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.side % (self.patch * 2 ** (len(self.multipliers) - 1)):
            raise ValueError(f"side {self.side} cannot be halved {len(self.multipliers) - 1} times after patch {self.patch}")
        if self.text is not None and self.words is not None:
            raise ValueError("text is encoded in the network, words outside it; set one of them")
        return self


class ClassifierSettings(Frozen):
    """A classifier of noisy pictures: the encoder half of the U-Net, its middle, and a pool (ADM section 4)."""

    kind: Literal["classifier"] = "classifier"
    side: int = Field(64, ge=1)  # pixels of the square picture it is built for
    channels: int = Field(3, ge=1)
    width: int = Field(128, ge=1)
    multipliers: tuple[float, ...] = (1, 2, 3, 4)
    blocks: int = Field(2, ge=1)  # residual blocks a level
    attention: tuple[int, ...] = (2, 4, 8)  # downsampling factors at which attention is used
    heads: int = Field(1, ge=1)  # used when head_width is None
    head_width: HeadWidth = 64  # channels a head; overrides heads; the attention pool needs it
    dropout: float = Field(0.0, ge=0, lt=1)
    scale_shift: bool = True
    residual_resample: bool = True
    conv_resample: bool = True
    groups: int = Field(32, ge=1)
    classes: int = Field(1000, ge=1)
    pool: Literal["attention", "adaptive", "spatial", "spatial_v2"] = "attention"
    hidden: int = Field(2048, ge=1)  # of the spatial pools' perceptron

    @model_validator(mode="after")
    def _pool_has_heads(self) -> Self:
        if self.pool == "attention" and self.head_width is None:
            raise ValueError("the attention pool needs head_width, the channels of a head")
        return self

    @property
    def trunk(self) -> UNetSettings:
        """The U-Net whose encoder and middle it is."""
        own = self.model_dump(exclude={"kind", "classes", "pool", "hidden"})
        return UNetSettings.model_validate(own)


NetworkSettings = Annotated[
    UNetSettings
    | ClassifierSettings
    | DiscreteEncoderSettings
    | DiscreteDecoderSettings
    | LatentVAESettings
    | VqganSettings
    | BartEncoderSettings
    | BartDecoderSettings
    | T5Settings
    | TokenModelSettings
    | PriorSettings
    | StatisticsSettings
    | TextProjectionSettings
    | ClipSettings
    | NoisedClipSettings
    | CaptionerSettings,
    Field(discriminator="kind"),
]
