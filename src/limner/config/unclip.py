"""What unCLIP's own networks are made of: the diffusion prior, the statistics of its embeddings, the text projection.

Its decoder and its upsamplers are U-Nets: `UNetSettings` in networks.py.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from limner.config.settings import Frozen


class PriorSettings(Frozen):
    """The diffusion prior: a causal transformer that predicts a clean CLIP image embedding (unCLIP section 2.2)."""

    kind: Literal["prior"] = "prior"
    clip: int = Field(768, ge=1)  # components of the noised embedding
    answer: int | None = None  # components of the predicted embedding; None = clip
    pooled: int | None = None  # components of the text's embedding; None = clip
    words: int | None = 768  # features of a token of the encoded text; None = no encoded text
    context: int = Field(77, ge=0)  # tokens of the encoded text
    width: int = Field(2048, ge=1)
    depth: int = Field(20, ge=0)
    heads: int = Field(32, ge=1)
    time_width: int | None = None  # between the two layers of the timestep embedding; None = width
    learned_padding: bool = False  # pads of the text get their own vector instead of their features
    answer_token: bool = True  # a learned last token, whose output is the answer; else the embedding's own token
    pooled_norm: bool = False  # layer norm in front of the text embedding's projection
    first_norm: bool = False  # layer norm in front of the blocks
    final_norm: bool = True  # layer norm behind them

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if (self.words is None) != (self.context == 0):
            raise ValueError(f"words {self.words} and context {self.context} do not go together; without text, None and 0")
        return self

    @property
    def length(self) -> int:
        """Tokens of the whole sequence: text, its embedding, the step, the noised embedding, and the learned last one."""
        return self.context + 3 + self.answer_token


class StatisticsSettings(Frozen):
    """Mean and spread of CLIP's image embeddings, by which the prior's are normalised (Karlo's `ViT-L-14_stats`)."""

    kind: Literal["statistics"] = "statistics"
    clip: int = Field(768, ge=1)  # components of an embedding


class TextProjectionSettings(Frozen):
    """From CLIP's embeddings and text features to what the decoder's U-Net reads (unCLIP section 2.1)."""

    kind: Literal["text-projection"] = "text-projection"
    clip: int = Field(768, ge=1)  # components of an embedding, and features of a token
    tokens: int = Field(4, ge=0)  # extra ones made of the image embedding, in front of the text
    width: int = Field(1536, ge=1)  # features of a token as the U-Net reads it
    embed: int = Field(1280, ge=1)  # of the U-Net's timestep embedding
    null: bool = True  # holds the image embedding that stands for none
