"""What networks that tie pictures to words are made of: CLIP, GLIDE's noised CLIP, CoCa."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from limner.config.settings import Frozen

Channels = tuple[float, float, float]


def whole_heads(width: int, heads: int) -> None:
    """Raises: ValueError, which the settings turn into a ConfigError, when heads do not divide the width."""
    if width % heads:
        raise ValueError(f"width {width} is not a multiple of heads {heads}")


class VitSettings(Frozen):
    """A transformer over the patches of a square picture (CLIP section 2.4)."""

    tower: Literal["vit"] = "vit"
    side: int = Field(224, ge=1)  # pixels
    patch: int = Field(32, ge=1)  # pixels
    width: int = Field(768, ge=1)
    depth: int = Field(12, ge=0)
    heads: int = Field(12, ge=1)
    mlp: float = Field(4.0, gt=0)  # hidden width of the perceptrons, in widths
    first_norm: bool = True  # a layer norm before the blocks

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.side < self.patch:
            raise ValueError(f"side {self.side} is smaller than patch {self.patch}")
        whole_heads(self.width, self.heads)
        return self


class ResnetSettings(Frozen):
    """CLIP's changed ResNet: three convolutions first, pooling before strides, an attention pool last (CLIP section 2.4)."""

    tower: Literal["resnet"] = "resnet"
    side: int = Field(224, ge=32)  # pixels; the attention pool sees a 32nd of it
    width: int = Field(64, ge=2)  # of the first level; the last is 32 times as wide
    depths: tuple[int, int, int, int] = (3, 4, 6, 3)  # blocks a level
    heads: int = Field(32, ge=1)  # of the attention pool

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if 32 * self.width % self.heads:
            raise ValueError(f"the last level's width {32 * self.width} is not a multiple of heads {self.heads}")
        if min(self.depths) < 1:
            raise ValueError("every level needs at least one block")
        return self


class TextTowerSettings(Frozen):
    """A causal text transformer (CLIP section 2.4)."""

    vocabulary: str = "clip"  # as in TextSettings
    rows: int = Field(49408, ge=2)  # how many token ids the embedding holds
    context: int = Field(77, ge=1)  # tokens
    width: int = Field(512, ge=1)
    depth: int = Field(12, ge=0)
    heads: int = Field(8, ge=1)
    mlp: float = Field(4.0, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        whole_heads(self.width, self.heads)
        return self


class ClipSettings(Frozen):
    """CLIP: a picture tower and a text tower that meet in one space; one of them may be left out."""

    kind: Literal["clip"] = "clip"
    embed: int = Field(512, ge=1)  # width of the common space
    image: Annotated[VitSettings | ResnetSettings, Field(discriminator="tower")] | None = VitSettings()
    text: TextTowerSettings | None = TextTowerSettings()
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"  # OpenAI's own; most later trainings use the exact one
    mean: Channels = (0.48145466, 0.4578275, 0.40821073)  # of the channels in [0, 1], taken off before the picture tower
    std: Channels = (0.26862954, 0.26130258, 0.27577711)

    @model_validator(mode="after")
    def _has_a_tower(self) -> Self:
        if self.image is None and self.text is None:
            raise ValueError("CLIP needs a picture tower or a text tower")
        return self


class NoisedClipSettings(Frozen):
    """A CLIP whose picture tower was trained on noisy pictures and knows the step (GLIDE section 2.4)."""

    kind: Literal["noised-clip"] = "noised-clip"
    embed: int = Field(512, ge=1)
    image: VitSettings | None = VitSettings(side=64, patch=4)
    text: TextTowerSettings | None = TextTowerSettings(rows=65536)  # of which CLIP's vocabulary uses 49408
    steps: int | None = 1000  # of the noising process; None = the picture tower knows none
    scale: float = Field(100.0, gt=0)  # of the cosine; fixed, not learned
    mean: Channels = (122.77093945, 116.74601272, 104.09373519)  # of the channels in [0, 255]
    std: Channels = (68.50053285, 66.63215831, 70.32316309)

    @model_validator(mode="after")
    def _has_a_tower(self) -> Self:
        if self.image is None and self.text is None:
            raise ValueError("CLIP needs a picture tower or a text tower")
        return self


class CaptionerSettings(Frozen):
    """CoCa as open_clip trains it: CLIP's two towers, and a decoder that reads the picture and writes its caption."""

    kind: Literal["captioner"] = "captioner"
    embed: int = Field(512, ge=1)  # width of the common space, of the pooled picture and of the text
    image: VitSettings = VitSettings()
    queries: int = Field(256, ge=2)  # of the attention pool
    pool_heads: int = Field(8, ge=1)
    pooled: Literal["first", "average"] = "first"  # which of the pool's answers stand for the whole picture
    text: TextTowerSettings = TextTowerSettings(context=76)
    text_token: bool = True  # a learned token behind the text stands for all of it; without it, the text's end token
    depth: int = Field(12, ge=0)  # of the decoder
    heads: int = Field(8, ge=1)
    activation: Literal["quick_gelu", "gelu"] = "gelu"
    pad: int = 0  # the token that fills unused places
    shifted_pads: bool = True  # the released weights were trained with the mask of the pads one place too far right
    mean: Channels = (0.48145466, 0.4578275, 0.40821073)
    std: Channels = (0.26862954, 0.26130258, 0.27577711)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.text.width != self.embed:
            raise ValueError(
                f"the decoder reads text and picture alike: text.width {self.text.width} must be embed {self.embed}"
            )
        whole_heads(self.embed, self.heads)
        whole_heads(self.embed, self.pool_heads)
        return self
