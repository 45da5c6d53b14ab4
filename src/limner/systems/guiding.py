"""Guidance by a noised CLIP (GLIDE section 2.4): every step goes up the gradient of how well the picture fits the words."""

from __future__ import annotations

import torch

from limner import tokens, weights
from limner.config import NoisedClipSettings, StageSettings
from limner.diffusion import guidance
from limner.errors import CheckpointError
from limner.networks.building import hollow
from limner.networks.noised_clip import NoisedClip
from limner.tokens import Tokenizer


class Guide:
    """Both towers of a noised CLIP, ready to guide the stage whose noise they know."""

    def __init__(self, image: NoisedClip, text: NoisedClip, tokenizer: Tokenizer, *, device: torch.device, model: str) -> None:
        self.model = model  # whose parts the towers are
        self.image = image
        self.text = text
        self.tokenizer = tokenizer
        self.device = device
        self.context = 0 if text.settings.text is None else text.settings.text.context  # tokens

    def cut(self, prompt: str) -> str:
        """The words at the end of a prompt that it will not see; "" when it sees all."""
        return self.tokenizer.cut(prompt, self.context)

    def gradient(self, prompt: str, scale: float) -> guidance.Gradient:
        """scale * the gradient of the score, for `base.run`; the prompt is encoded here, once."""
        found = self.tokenizer.encode([prompt], self.context)
        with torch.no_grad():
            texts = self.text.embed_text(found.ids.to(self.device), found.mask.sum(1).to(self.device))  # [1 E]
        return guidance.gradient_of(lambda x_t, t: self.image.score(x_t, t, texts), scale)


def open_guide(folder: weights.Folder, stage: StageSettings, device: torch.device) -> Guide | None:
    """The guide among the parts of a checkpoint folder, in float32, for a stage of any; None when there is none.

    Raises: CheckpointError for weights that do not fit, a tower without the other, or one for other pictures than the stage's.
    """
    image = text = None
    for part in folder.settings.parts:
        if isinstance(part.network, NoisedClipSettings):
            net = hollow(NoisedClip, part.network)
            weights.load_state(net, folder.weights(part.name), device=device)
            net.eval().requires_grad_(False)
            image = net if part.network.image is not None else image
            text = net if part.network.text is not None else text
    if image is None and text is None:
        return None
    where = folder.path.resolve().name
    if image is None or text is None or text.settings.text is None:
        missing = "picture" if image is None else "text"
        raise CheckpointError(f"{where}: its noised CLIP has no {missing} tower; convert both of its files together")
    _check_fit(image.settings, stage, where)
    return Guide(image, text, tokens.load(text.settings.text.vocabulary, folder.path), device=device, model=where)


def _check_fit(settings: NoisedClipSettings, stage: StageSettings, where: str) -> None:
    own = settings.image
    found = (None if own is None else own.side, settings.steps)
    fits = (stage.network.side, stage.diffusion.levels)
    if found != fits:
        raise CheckpointError(
            f"{where}: its noised CLIP is for pictures of {found[0]} px and {found[1]} steps, "
            f"but the stage {stage.name} draws {fits[0]} px in {fits[1]}; it cannot guide it"
        )
