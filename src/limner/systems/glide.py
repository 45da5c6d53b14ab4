"""GLIDE: words -> a small picture -> larger ones, with classifier-free guidance (GLIDE sections 2.3 and 3).

Every stage's text is encoded once a prompt and its keys and values are projected once, outside the loop over steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import PIL.Image
import torch
from torch import Tensor

from limner import images, tokens, weights
from limner.config import NoisedClipSettings, SystemSettings
from limner.diffusion.guidance import Gradient
from limner.errors import CheckpointError, InputError, UnsupportedError
from limner.networks.building import hollow
from limner.networks.unet import UNet
from limner.systems import base, guiding
from limner.systems.base import Drawn as Drawn
from limner.systems.base import Dtype, Hint, Progress, Request, Stage
from limner.systems.guiding import Guide


class PromptCutWarning(UserWarning):
    """A prompt is longer than the network can read; the message holds the words it will not see."""


class Glide:
    """A cascade of text-conditional stages, ready to draw."""

    def __init__(
        self, settings: SystemSettings, stages: tuple[Stage, ...], hashes: dict[str, str], guide: Guide | None = None
    ) -> None:
        self.settings = settings
        self.stages = stages
        self.hashes = hashes  # network -> sha256 of its weights
        self.guide = guide  # a noised CLIP, for the first stage

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return self.stages[0].device

    def of(self, stages: tuple[Stage, ...]) -> Self:
        """The same system with other stages."""
        settings = self.settings.model_copy(update={"stages": tuple(stage.settings for stage in stages)})
        return type(self)(settings, stages, self.hashes, self.guide)

    def guided(self, folder: weights.Folder) -> Self:
        """The same system, with the noised CLIP of another model for its first stage.

        Raises: CheckpointError when that has none, or one for other pictures.
        """
        guide = guiding.open_guide(folder, self.stages[0].settings, self.device)
        if guide is None:
            raise CheckpointError(f"{folder.path.resolve().name}: has no noised CLIP; use a model that has, such as glide-clip")
        own = tuple(part for part in self.settings.parts if not isinstance(part.network, NoisedClipSettings))
        towers = tuple(part for part in folder.settings.parts if isinstance(part.network, NoisedClipSettings))
        settings = self.settings.model_copy(update={"parts": own + towers})
        hashes = self.hashes | {part.name: folder.hashes[part.name] for part in towers}
        return type(self)(settings, self.stages, hashes, guide)

    def pictures(self, x: Tensor) -> list[PIL.Image.Image]:
        """Finished pictures in 8 bits, rounded. Shapes: [B 3 H W]. Units: [-1, 1]."""
        return images.rounded(x)

    def check(self, request: Request) -> None:
        """Refuse what can be refused before the first step.

        Raises: InputError for a prompt that cannot be used, or a label; UnsupportedError for guidance by a CLIP without one.
        """
        base.check_prompt(request.prompt)
        base.check_prompt(request.negative, what="negative prompt")
        if request.label is not None:
            raise InputError(f"label: {self.settings.name} draws words, not classes; give a prompt")
        if request.clip_scale is not None and self.guide is None:
            raise UnsupportedError(
                f"clip scale: {self.settings.name} has no noised CLIP; name a model that has one, such as glide-clip"
            )
        if request.negative and all(stage.sampling(request).guidance == 1 for stage in self.stages):
            raise InputError("negative prompt: has no effect at guidance 1; use a guidance above 1, or leave it out")

    def draw(self, request: Request, hints: Mapping[int, Hint] | None = None) -> Iterator[Progress | Drawn]:
        """Draw a request: Progress after every step, Drawn for every picture when it is finished.

        `hints` give stages, by number, a picture to start from or to keep in part.

        A prompt that is too long is drawn without its end, with a PromptCutWarning that holds the words left out.
        Raises: InputError for a prompt that cannot be used; ConfigError for steps that cannot be made.
        """
        self.check(request)
        self._warn_of_cuts(request)
        words = self._words([request.prompt], [request.negative])
        push = None
        if request.clip_scale is not None and self.guide is not None:
            push = self.guide.gradient(request.prompt, request.clip_scale)
        for start in range(0, request.n, request.batch):
            indices = tuple(range(request.first + start, request.first + min(start + request.batch, request.n)))
            yield from self._draw_batch(request, words, request.seed, indices, hints or {}, push)

    def draw_together(self, requests: Sequence[Request]) -> Iterator[Progress | Drawn]:
        """One picture of each request, all in one batch, in their order; only words, seeds and numbers may differ.

        Raises: InputError for requests that cannot share a batch; UnsupportedError for guidance by a CLIP, which reads one
            prompt; and as `draw`.
        """
        base.check_together(requests)
        if requests[0].clip_scale is not None:
            raise UnsupportedError("clip scale: a noised CLIP reads one prompt at a time; draw such requests one after another")
        for request in requests:
            self.check(request)
            self._warn_of_cuts(request)
        words = self._words([request.prompt for request in requests], [request.negative for request in requests])
        indices = tuple(request.first for request in requests)
        yield from self._draw_batch(requests[0], words, [request.seed for request in requests], indices, {}, None)

    def _words(self, prompts: Sequence[str], negatives: Sequence[str]) -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
        """For each stage the conditions of some prompts, and of what is drawn away from; equal texts are read once.

        Shapes: each {name: [len(prompts) ...]}, or [1 ...] where all are equal.
        """
        texts = list(dict.fromkeys([*prompts, *negatives]))
        found = []
        for stage in self.stages:
            with torch.no_grad():
                words = stage.words(texts)
            found.append((_chosen(words, texts, prompts), _chosen(words, texts, negatives)))
        return found

    def _draw_batch(
        self,
        request: Request,
        words: Sequence[tuple[dict[str, Tensor], dict[str, Tensor]]],
        seed: int | Sequence[int],
        indices: tuple[int, ...],
        hints: Mapping[int, Hint],
        push: Gradient | None,
    ) -> Iterator[Progress | Drawn]:
        done: list[Tensor] = []
        for stage in self.stages:
            hint = hints.get(stage.number)
            sampling = stage.sampling(request)
            texts, null = words[stage.number]
            cond = {name: value.expand(len(indices), *value.shape[1:]) for name, value in texts.items()}
            if done:
                cond["low_res"] = base.round_8bit(done[-1])
            steps = base.run_each(
                stage, sampling, cond, null, seed=seed, indices=indices, hint=hint, push=None if stage.number else push
            )
            of = base.count_steps(stage, sampling, hint)
            # no_grad is entered for every step: a generator must not leave it on in its caller.
            for number, step in enumerate(base.without_grad(steps), start=1):
                yield Progress(stage.settings.name, number, of, indices, step.x0)
            done.append(step.x)
        for at, index in enumerate(indices):
            yield Drawn(index, done[-1][at], tuple(earlier[at] for earlier in done[:-1]))

    def _warn_of_cuts(self, request: Request) -> None:
        if request.clip_scale is not None and self.guide is not None and (lost := self.guide.cut(request.prompt)):
            warnings.warn(f"prompt: the noised CLIP will not see: {lost!r}", PromptCutWarning, stacklevel=4)
        for name, text in (("prompt", request.prompt), ("negative prompt", request.negative)):
            for stage in self.stages:
                lost = stage.cut(text)
                if lost:
                    context = stage.settings.network.text.context if stage.settings.network.text else 0
                    warnings.warn(
                        f"{name}: the {stage.settings.name} stage reads {context} tokens; it will not see: {lost!r}",
                        PromptCutWarning,
                        stacklevel=4,
                    )


def _chosen(words: Mapping[str, Tensor], texts: Sequence[str], wanted: Sequence[str]) -> dict[str, Tensor]:
    """The rows of some texts; one row when all are the same."""
    rows = [texts.index(text) for text in (wanted[:1] if len(set(wanted)) == 1 else wanted)]
    return {name: value[rows] for name, value in words.items()}


def open_folder(folder: weights.Folder, *, device: str = "auto", dtype: Dtype = "auto") -> Glide:
    """Load a checkpoint folder.

    Raises: CheckpointError for weights that do not fit; ConfigError for a device that is not here.
    """
    place = base.pick_device(device)
    stages = []
    for number, settings in enumerate(folder.settings.stages):
        net = hollow(UNet, settings.network)
        weights.load_state(net, folder.weights(settings.name), device=place)
        text = settings.network.text
        tokenizer = None if text is None else tokens.load(text.vocabulary, folder.path)
        stages.append(base.stage(number, settings, net, tokenizer, device=place, dtype=base.pick_dtype(dtype, place)))
    return Glide(folder.settings, tuple(stages), folder.hashes, guiding.open_guide(folder, folder.settings.stages[0], place))


def untrained(settings: SystemSettings, *, folder: Path | None = None) -> Glide:
    """The system with fresh weights, in float32 on the CPU: it draws noise until it is trained."""
    stages = []
    for number, each in enumerate(settings.stages):
        text = each.network.text
        tokenizer = None if text is None else tokens.load(text.vocabulary, folder)
        stages.append(base.stage(number, each, UNet(each.network), tokenizer, device=torch.device("cpu"), dtype=torch.float32))
    return Glide(settings, tuple(stages), {})
