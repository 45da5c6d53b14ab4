"""What the networks that read and write tokens are made of: DALL-E's transformer, DALL-E mini, T5."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from limner.config.settings import Frozen


class BartLayers(Frozen):
    """What DALL-E mini's encoder and decoder have in common; mini is the default, mega twice as wide and deep."""

    width: int = Field(1024, ge=1)
    depth: int = Field(12, ge=1)
    heads: int = Field(16, ge=1)
    hidden: int = Field(2730, ge=1)  # of the gated perceptron
    gains: bool = True  # of the norms in front of products; the weights as they were trained have biases alone there

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self


class BartEncoderSettings(BartLayers):
    """DALL-E mini's text encoder (released by min-dalle as `encoder_mini.pt` and `encoder.pt`)."""

    kind: Literal["bart-encoder"] = "bart-encoder"
    rows: int = Field(50264, ge=2)  # token ids of the text
    context: int = Field(64, ge=1)  # tokens
    padding: int = Field(1, ge=0)  # the id that is not looked at


class BartDecoderSettings(BartLayers):
    """DALL-E mini's decoder of image tokens (released by min-dalle as `decoder_mini.pt` and `decoder.pt`)."""

    kind: Literal["bart-decoder"] = "bart-decoder"
    rows: int = Field(16385, ge=2)  # codes of the image, the token that stands first, and unused ones
    context: int = Field(256, ge=1)  # tokens of an image
    codes: int = Field(16384, ge=1)  # ids below this are drawn; the first token is the last of them


class T5Settings(Frozen):
    """T5's text encoder; v1.1 XXL, which DALL-E 3 reads with, is the default (T5 section 2.1)."""

    kind: Literal["t5-encoder"] = "t5-encoder"
    rows: int = Field(32128, ge=2)  # token ids
    width: int = Field(4096, ge=1)
    depth: int = Field(24, ge=1)
    heads: int = Field(64, ge=1)
    head_width: int = Field(64, ge=1)  # channels a head, not tied to the width
    hidden: int = Field(10240, ge=1)  # of the perceptron
    gated: bool = True  # v1.1: GELU-gated perceptron; False: the ReLU of the first release
    buckets: int = Field(32, ge=2)  # of distances between tokens, of which the first layer holds a bias a head
    reach: int = Field(128, ge=2)  # distances from here on share a bucket


class TokenModelSettings(Frozen):
    """DALL-E's transformer over text and image tokens; the 12 billion parameters of the paper are the default.

    Ids are numbered words first, then one padding id for every text position, then the image's codes.
    """

    kind: Literal["token-model"] = "token-model"
    words: int = Field(16384, ge=1)  # ids of the text
    text: int = Field(256, ge=1)  # positions of the text
    codes: int = Field(8192, ge=1)  # ids of the image
    rows: int = Field(32, ge=1)  # of the grid of image tokens
    cols: int = Field(32, ge=1)
    width: int = Field(3968, ge=1)
    depth: int = Field(64, ge=1)
    heads: int = Field(62, ge=1)
    kernel: int = Field(11, ge=1)  # of the last layer's convolutional attention

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        return self

    @property
    def size(self) -> int:
        """How many ids there are."""
        return self.words + self.text + self.codes

    @property
    def length(self) -> int:
        """How many tokens a whole sequence has."""
        return self.text + self.rows * self.cols
