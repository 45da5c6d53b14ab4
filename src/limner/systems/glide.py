"""GLIDE: words -> a small picture -> larger ones, with classifier-free guidance (GLIDE sections 2.3 and 3).

Every stage's text is encoded once a prompt and its keys and values are projected once, outside the loop over steps.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from limner import tokens, weights
from limner.config import SystemSettings
from limner.networks.building import hollow
from limner.networks.unet import UNet
from limner.systems import base
from limner.systems.base import Dtype, Hint, Progress, Request, Stage


class Drawn(NamedTuple):
    """A finished picture of a request."""

    number: int  # under the seed, from 0
    picture: Tensor  # [3 H W] in [-1, 1]
    earlier: tuple[Tensor, ...]  # the same picture after each stage before the last


class PromptCutWarning(UserWarning):
    """A prompt is longer than the network can read; the message holds the words it will not see."""


class Glide:
    """A cascade of text-conditional stages, ready to draw."""

    def __init__(self, settings: SystemSettings, stages: tuple[Stage, ...], hashes: dict[str, str]) -> None:
        self.settings = settings
        self.stages = stages
        self.hashes = hashes  # stage -> sha256 of its weights

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return self.stages[0].device

    def draw(self, request: Request, hints: Mapping[int, Hint] | None = None) -> Iterator[Progress | Drawn]:
        """Draw a request: Progress after every step, Drawn for every picture when it is finished.

        `hints` give stages, by number, a picture to start from or to keep in part.

        A prompt that is too long is drawn without its end, with a PromptCutWarning that holds the words left out.
        Raises: InputError for a prompt that cannot be used; ConfigError for steps that cannot be made.
        """
        base.check_prompt(request.prompt)
        base.check_prompt(request.negative, what="negative prompt")
        self._warn_of_cuts(request)
        with torch.no_grad():
            words = [stage.words([request.prompt, request.negative]) for stage in self.stages]
        for start in range(0, request.n, request.batch):
            indices = tuple(range(request.first + start, request.first + min(start + request.batch, request.n)))
            yield from self._draw_batch(request, words, indices, hints or {})

    def _draw_batch(
        self, request: Request, words: list[dict[str, Tensor]], indices: tuple[int, ...], hints: Mapping[int, Hint]
    ) -> Iterator[Progress | Drawn]:
        done: list[Tensor] = []
        for stage in self.stages:
            hint = hints.get(stage.number)
            low_res = base.round_8bit(done[-1]) if done else None
            sampling = stage.sampling(request)
            steps = base.run(
                stage, sampling, words[stage.number], seed=request.seed, indices=indices, low_res=low_res, hint=hint
            )
            of = base.count_steps(stage, sampling, hint)
            # no_grad is entered for every step: a generator must not leave it on in its caller.
            for number, step in enumerate(base.without_grad(steps), start=1):
                yield Progress(stage.settings.name, number, of, indices, step.x0)
            done.append(step.x)
        for at, index in enumerate(indices):
            yield Drawn(index, done[-1][at], tuple(earlier[at] for earlier in done[:-1]))

    def _warn_of_cuts(self, request: Request) -> None:
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
    return Glide(folder.settings, tuple(stages), folder.hashes)


def untrained(settings: SystemSettings, *, folder: Path | None = None) -> Glide:
    """The system with fresh weights, in float32 on the CPU: it draws noise until it is trained."""
    stages = []
    for number, each in enumerate(settings.stages):
        text = each.network.text
        tokenizer = None if text is None else tokens.load(text.vocabulary, folder)
        stages.append(base.stage(number, each, UNet(each.network), tokenizer, device=torch.device("cpu"), dtype=torch.float32))
    return Glide(settings, tuple(stages), {})
