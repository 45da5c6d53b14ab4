"""DDPM, IDDPM and ADM: pictures from noise alone or of a class, pushed by a classifier, then enlarged (ADM section 4).

A system is a base stage, perhaps upsamplers after it, and perhaps a classifier among its parts. `guidance` of the first
stage is the classifier's scale; 0 means that it is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import PIL.Image
import torch
from torch import Tensor

from limner import images, weights
from limner.config import ClassifierSettings, SystemSettings
from limner.diffusion import guidance, targets
from limner.errors import InputError, UnsupportedError
from limner.networks.building import hollow
from limner.networks.classifier import Classifier, log_likelihood
from limner.networks.unet import UNet
from limner.systems import base
from limner.systems.base import Drawn, Dtype, Hint, Progress, Request, Stage


class Adm:
    """A cascade that draws without words, ready to draw."""

    def __init__(
        self, settings: SystemSettings, stages: tuple[Stage, ...], hashes: dict[str, str], classifier: Classifier | None = None
    ) -> None:
        self.settings = settings
        self.stages = stages
        self.hashes = hashes  # network -> sha256 of its weights
        self.classifier = classifier

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return self.stages[0].device

    @property
    def classes(self) -> int | None:
        """How many classes a label may choose from; None when labels mean nothing to it."""
        counts = [stage.settings.network.classes for stage in self.stages]
        counts += [] if self.classifier is None else [self.classifier.settings.classes]
        return min((count for count in counts if count is not None), default=None)

    def of(self, stages: tuple[Stage, ...]) -> Self:
        """The same system with other stages."""
        settings = self.settings.model_copy(update={"stages": tuple(stage.settings for stage in stages)})
        return type(self)(settings, stages, self.hashes, self.classifier)

    def pictures(self, x: Tensor) -> list[PIL.Image.Image]:
        """Finished pictures in 8 bits, truncated. Shapes: [B 3 H W]. Units: [-1, 1]."""
        return images.truncated(x)

    def check(self, request: Request) -> None:
        """Refuse what can be refused before the first step.

        Raises: InputError for words, a label that does not exist or is missing, a guidance without a classifier;
            UnsupportedError for an upsampler without a base.
        """
        name, first = self.settings.name, self.stages[0].settings
        if first.network.low_res:
            sides = f"{first.low_side}x{first.low_side}"
            raise UnsupportedError(f"{name}: enlarges pictures of {sides} and draws none; convert it with a base model")
        if request.prompt or request.negative:
            also = f"; choose one of its {self.classes} classes with label" if self.classes else ""
            raise InputError(f"prompt: {name} does not read words{also}")
        if request.clip_scale is not None:
            raise InputError(f"clip scale: {name} reads no words for a noised CLIP to compare with; leave it out")
        if request.guidance and self.classifier is None:
            raise InputError(f"guidance: {name} has no classifier to guide it; convert the base and its classifier together")
        self._check_label(request)

    def _check_label(self, request: Request) -> None:
        name, classes = self.settings.name, self.classes
        if request.label is None:
            if any(stage.settings.network.classes is not None for stage in self.stages):
                raise InputError(f"label: {name} draws one of {classes} classes; say which, 0 to {(classes or 1) - 1}")
            if request.guidance:
                raise InputError(f"guidance: the classifier of {name} pushes towards a class; say which with label")
        elif classes is None:
            raise InputError(f"label: {name} knows no classes; leave it out")
        elif request.label >= classes:
            raise InputError(f"label: {name} has classes 0 to {classes - 1}; got {request.label}")

    def draw(self, request: Request, hints: Mapping[int, Hint] | None = None) -> Iterator[Progress | Drawn]:
        """Draw a request: Progress after every step, Drawn for every picture when it is finished.

        `hints` give stages, by number, a picture to start from or to keep in part.
        Raises: as `check` does; ConfigError for steps that cannot be made.
        """
        self.check(request)
        for start in range(0, request.n, request.batch):
            indices = tuple(range(request.first + start, request.first + min(start + request.batch, request.n)))
            yield from self._draw_batch(request, request.seed, indices, hints or {})

    def draw_together(self, requests: Sequence[Request]) -> Iterator[Progress | Drawn]:
        """One picture of each request, all in one batch, in their order. Only seeds and numbers may differ.

        Raises: InputError for requests that cannot share a batch; and as `draw`.
        """
        base.check_together(requests)
        for request in requests:
            self.check(request)
        indices = tuple(request.first for request in requests)
        yield from self._draw_batch(requests[0], [request.seed for request in requests], indices, {})

    def _draw_batch(
        self, request: Request, seed: int | Sequence[int], indices: tuple[int, ...], hints: Mapping[int, Hint]
    ) -> Iterator[Progress | Drawn]:
        done: list[Tensor] = []
        for stage in self.stages:
            hint, sampling, cond = hints.get(stage.number), stage.sampling(request), {}
            if stage.settings.network.classes is not None and request.label is not None:
                cond["label"] = torch.full((len(indices),), request.label, dtype=torch.int64, device=stage.device)
            if done:
                cond["low_res"] = truncate_8bit(done[-1])
            push = None if stage.number else self._push(stage, request.label, sampling.guidance)
            steps = base.run_each(stage, sampling, cond, {}, seed=seed, indices=indices, hint=hint, push=push)
            of = base.count_steps(stage, sampling, hint)
            # no_grad is entered for every step: a generator must not leave it on in its caller.
            for number, step in enumerate(base.without_grad(steps), start=1):
                yield Progress(stage.settings.name, number, of, indices, step.x0)
            done.append(step.x)
        for at, index in enumerate(indices):
            yield Drawn(index, done[-1][at], tuple(earlier[at] for earlier in done[:-1]))

    def _push(self, stage: Stage, label: int | None, scale: float) -> guidance.Gradient | None:
        """scale * d log p(label | x_t) / d x_t; None when nothing pushes. The classifier sees steps as the network does."""
        net = self.classifier
        if net is None or label is None or scale == 0:
            return None

        def log_prob(x: Tensor, t: Tensor) -> Tensor:
            classes = torch.full((len(x),), label, dtype=torch.int64, device=x.device)
            return log_likelihood(net, x, targets.timesteps(t, stage.settings.diffusion), classes)

        return guidance.gradient_of(log_prob, scale)


def open_folder(folder: weights.Folder, *, device: str = "auto", dtype: Dtype = "auto") -> Adm:
    """Load a checkpoint folder; the classifier computes in float32, as in the original.

    Raises: CheckpointError for weights that do not fit; ConfigError for a device that is not here.
    """
    place = base.pick_device(device)
    classifier = _classifier(folder, place)
    settings = folder.settings if classifier is not None else _unguided(folder.settings)
    stages = []
    for number, each in enumerate(settings.stages):
        net = hollow(UNet, each.network)
        weights.load_state(net, folder.weights(each.name), device=place)
        stages.append(base.stage(number, each, net, None, device=place, dtype=base.pick_dtype(dtype, place)))
    if not stages:
        raise UnsupportedError(f"{settings.name}: holds no network that draws; convert the classifier together with its base")
    return Adm(settings, tuple(stages), folder.hashes, classifier)


def truncate_8bit(x: Tensor) -> Tensor:
    """Pictures as ADM's upsamplers get them: cut down to 256 values, as they are stored between its scripts.

    Shapes: [B C H W] -> the same. Units: [-1, 1].
    """
    return ((x + 1) * 127.5).clamp(0, 255).floor() / 127.5 - 1


def _classifier(folder: weights.Folder, place: torch.device) -> Classifier | None:
    for part in folder.settings.parts:
        if isinstance(part.network, ClassifierSettings):
            net = hollow(Classifier, part.network)
            weights.load_state(net, folder.weights(part.name), device=place)
            return net.eval().requires_grad_(False)
    return None


def _unguided(settings: SystemSettings) -> SystemSettings:
    """Without a classifier nothing is guided, whatever scale the model was published with."""
    stages = tuple(
        stage.model_copy(update={"sampling": stage.sampling.model_copy(update={"guidance": 0.0})}) for stage in settings.stages
    )
    return settings.model_copy(update={"stages": stages})
