"""What the networks between pictures and codes or latents are made of: dVAE, KL autoencoder, VQGAN's detokeniser."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from limner.config.settings import Frozen


class DiscreteEncoderSettings(Frozen):
    """DALL-E's dVAE, pictures -> logits of codes, an eighth as wide and high (DALL-E section 2.1)."""

    kind: Literal["dvae-encoder"] = "dvae-encoder"
    channels: int = Field(3, ge=1)
    width: int = Field(256, ge=4, multiple_of=4)  # of the first group; the other three have 2, 4 and 8 times as much
    blocks: int = Field(2, ge=1)  # a group
    codes: int = Field(8192, ge=2)


class DiscreteDecoderSettings(Frozen):
    """DALL-E's dVAE, codes -> location and log scale of every pixel (DALL-E section 2.1, appendix A)."""

    kind: Literal["dvae-decoder"] = "dvae-decoder"
    channels: int = Field(3, ge=1)
    stem: int = Field(128, ge=1)  # channels a code becomes
    width: int = Field(256, ge=4, multiple_of=4)  # of the last group; the others have 8, 4 and 2 times as much
    blocks: int = Field(2, ge=1)  # a group
    codes: int = Field(8192, ge=2)


class PyramidSettings(Frozen):
    """What the convolutional encoders and decoders of latent diffusion share (LDM appendix G)."""

    channels: int = Field(3, ge=1)  # of the picture
    widths: tuple[int, ...] = Field((128, 256, 512, 512), min_length=1)  # channels of the levels, the finest first
    blocks: int = Field(2, ge=1)  # residual blocks a level of the encoder; the decoder has one more
    attention: tuple[int, ...] = ()  # downsampling factors at which attention follows every block
    middle_attention: bool = True
    groups: int = Field(32, ge=1)  # of every group norm
    norm_eps: float = Field(1e-6, gt=0)
    conv_resample: bool = True  # learned convolutions, or plain pooling / nearest

    @model_validator(mode="after")
    def _groups_divide_widths(self) -> Self:
        if any(width < 1 or width % self.groups for width in self.widths):
            raise ValueError(f"widths {self.widths} must be multiples of groups {self.groups}")
        return self


class LatentVAESettings(PyramidSettings):
    """The KL autoencoder of latent diffusion; kl-f8 is the default (LDM section 3.1)."""

    kind: Literal["latent-vae"] = "latent-vae"
    channels_out: int | None = None  # of the decoded picture; None = channels
    stem: int | None = None  # channels after the encoder's first convolution; None = those of the finest level
    latent: int = Field(4, ge=1)  # channels of a latent
    inner: int | None = None  # channels on the networks' side of the 1x1 convolutions around the latent; None = latent
    moments_conv: bool = True  # a 1x1 convolution between encoder and moments
    latent_conv: bool = True  # a 1x1 convolution between latent and decoder
    decoder: bool = True  # False: the encoder alone, as in the files of the consistency decoder
    scale: float = Field(0.18215, gt=0)  # a diffusion model sees latents times this, which gives them unit variance


class VqganSettings(PyramidSettings):
    """VQGAN's decoder with its codebook; min-dalle's f16 detokeniser is the default (Taming transformers section 3.1)."""

    kind: Literal["vqgan-decoder"] = "vqgan-decoder"
    widths: tuple[int, ...] = Field((128, 128, 256, 256, 512), min_length=1)
    attention: tuple[int, ...] = (16,)
    norm_eps: float = Field(1e-5, gt=0)
    codes: int = Field(16384, ge=2)
    latent: int = Field(256, ge=1)  # channels of an entry of the codebook
    inner: int | None = None  # channels after the 1x1 convolution; None = latent
