"""Pictures of classes: labels, classifier guidance, the upsampler's 8-bit input, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import limner
from limner import Image, Pipe, Progress
from limner.diffusion import noise, samplers, targets
from limner.errors import CheckpointError, InputError, UnsupportedError
from limner.networks.classifier import log_likelihood
from limner.systems import adm, base
from limner.systems.drawing import load_pipe, request
from tests import tiny_adm


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_adm.save(tmp_path_factory.mktemp("adm") / "tiny-adm")


@pytest.fixture(scope="module")
def pipe(folder: Path) -> Pipe:
    return limner.load(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Pipe:
    """Without classes and without a classifier."""
    path = tiny_adm.save(tmp_path_factory.mktemp("adm") / "plain", classes=None, upsampler=False, classifier=False)
    return limner.load(path, device="cpu", dtype="float32")


def pixels(images: list[Image]) -> list[Any]:
    return [np.asarray(image.picture, np.int16) for image in images]


def same(a: list[Image], b: list[Image]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(pixels(a), pixels(b), strict=True))


def test_a_label_is_drawn_and_told_in_the_recipe(pipe: Pipe) -> None:
    image = pipe(label=2, seed=1)[0]
    assert image.picture.size == (16, 16)
    made = image.recipe
    assert (made.prompt, made.extra["label"], made.stages[0].guidance, made.stages[1].guidance) == ("", 2, 2.0, 0.0)
    assert made.extra["parts"] == {"classifier": pipe.system.hashes["classifier"]}


def test_the_label_and_the_scale_matter(pipe: Pipe) -> None:
    drawn = [pipe(label=0, seed=1), pipe(label=1, seed=1), pipe(label=0, seed=1, guidance=0), pipe(label=0, seed=1, guidance=9)]
    assert all(not same(a, b) for n, a in enumerate(drawn) for b in drawn[:n])
    assert same(drawn[0], pipe(label=0, seed=1, guidance=2.0))


def test_a_picture_is_the_same_in_any_batch(pipe: Pipe) -> None:
    together = pixels(pipe(label=1, n=3, seed=5, batch=3))
    for batch in (1, 2):
        for a, b in zip(together, pixels(pipe(label=1, n=3, seed=5, batch=batch)), strict=True):
            assert np.abs(a - b).max() <= 8
            assert (np.abs(a - b) > 1).mean() < 1e-2


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_the_classifier_pushes_the_mean_of_ddpm_and_the_noise_of_ddim(folder: Path, sampler: Any) -> None:
    """One step by hand: mean + variance * gradient, or eps - b * gradient with the clean picture not clipped again."""
    system = adm.open_folder(limner.weights.read_folder(folder), device="cpu", dtype="float32")
    stage, net = system.stages[0], system.classifier
    assert net is not None
    asked = request(label=1, seed=3, sampler=sampler, steps="2", guidance=4.0)
    first = next(item for item in system.draw(asked) if isinstance(item, Progress))
    del first
    alpha_bar, settings = stage.alpha_bar, stage.settings.diffusion
    path = base.walked(stage, stage.sampling(asked), None)
    t, s = path[0], path[1]
    x = noise.batch((3, 8, 8), seed=3, indices=(0,), stage=0, step=noise.FIRST)
    label = torch.tensor([1])
    seen = targets.timesteps(torch.tensor([t]), settings)
    with torch.no_grad():
        output = stage.net(x, seen, {"label": label})
    grown = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(log_likelihood(net, grown, seen, label).sum(), grown)
    floor = targets.floor_of(path)
    p = targets.predict(output, x, t, s, alpha_bar=alpha_bar, settings=settings, clip=targets.clip_unit, floor=floor)
    if sampler == "ddpm":
        mean = targets.posterior_mean(p.x0, x, t, s, alpha_bar) + p.variance * 4.0 * slope
        draws = noise.draws(x, seed=3, indices=(0,), stage=0)
        wanted = mean + (0.5 * p.log_variance).exp() * draws(0)
    else:
        signal, after = float(alpha_bar[t]), float(alpha_bar[s])
        eps = targets.eps_from_x0(x, p.x0, t, alpha_bar) - (1 - signal) ** 0.5 * 4.0 * slope
        x0 = (x - (1 - signal) ** 0.5 * eps) / signal**0.5
        wanted = after**0.5 * x0 + (1 - after) ** 0.5 * eps
    torch.testing.assert_close(first_step(system, asked), wanted, rtol=1e-4, atol=1e-4)


def first_step(system: adm.Adm, asked: base.Request) -> torch.Tensor:
    """x after the first step of the first stage."""
    stage = system.stages[0]
    push = system._push(stage, asked.label, stage.sampling(asked).guidance)
    cond = {"label": torch.tensor([asked.label])}
    steps: Iterator[samplers.Step] = base.run_each(
        stage, stage.sampling(asked), cond, {}, seed=asked.seed, indices=(0,), push=push
    )
    return next(base.without_grad(steps)).x


def test_the_upsampler_gets_the_small_picture_truncated_to_8_bits() -> None:
    x = torch.tensor([-1.5, -1.0, -0.999, 0.0, 0.5, 1.0, 2.0])
    expected = torch.tensor([0.0, 0.0, 0.0, 127.0, 191.0, 255.0, 255.0])
    torch.testing.assert_close((adm.truncate_8bit(x) + 1) * 127.5, expected)


def test_finished_pictures_are_truncated_not_rounded(pipe: Pipe) -> None:
    assert np.asarray(pipe.system.pictures(torch.full((1, 3, 2, 2), 0.999))[0]).max() == 254


def test_a_saved_picture_is_drawn_again_with_its_label(pipe: Pipe, folder: Path, tmp_path: Path) -> None:
    path = pipe(label=2, n=2, seed=4)[1].save(tmp_path / "{seed}-{i}.png")
    again = limner.reproduce(path, model=folder)
    assert again.identical
    assert again.changed == ()


def test_a_changed_classifier_is_named_when_a_picture_is_drawn_again(pipe: Pipe, folder: Path, tmp_path: Path) -> None:
    image = pipe(label=2, seed=4)[0]
    extra = image.recipe.extra | {"parts": {"classifier": "0" * 64}}
    old = Image(image.picture, image.recipe.model_copy(update={"extra": extra}))
    assert any("weights of classifier: 000000000000 then" in line for line in limner.reproduce(old, model=folder).changed)


def test_a_model_without_classes_draws_from_noise_alone(plain: Pipe) -> None:
    assert not same(plain(seed=0), plain(seed=1))
    assert plain(seed=0)[0].recipe.stages[0].guidance == 0


def test_a_model_without_classes_is_steered_by_its_classifier_alone(tmp_path: Path) -> None:
    path = tiny_adm.save(tmp_path / "uncond", classes=None, upsampler=False)
    steered = limner.load(path, device="cpu", dtype="float32")
    assert not same(steered(seed=0), steered(seed=0, label=1))
    with pytest.raises(InputError, match="say which with label"):
        steered(seed=0, guidance=3.0)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({}, "label: tiny-adm draws one of 3 classes; say which, 0 to 2"),
        ({"label": 3}, "label: tiny-adm has classes 0 to 2; got 3"),
        ({"label": 1, "negative": "a cat"}, "prompt: tiny-adm does not read words; choose one of its 3 classes with label"),
    ],
)
def test_what_a_model_of_classes_cannot_draw_is_refused_at_once(pipe: Pipe, wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        pipe.stream(**wishes)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("wishes", "said"), [({"label": 0}, "knows no classes"), ({"guidance": 1.0}, "has no classifier to guide it")]
)
def test_what_a_model_without_classes_cannot_draw_is_refused_at_once(plain: Pipe, wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        plain.stream(**wishes)


def test_words_are_refused(pipe: Pipe, plain: Pipe) -> None:
    for each in (pipe, plain):
        with pytest.raises(InputError, match="does not read words"):
            each("a red fox", label=None)


def test_a_label_is_refused_by_a_model_of_words(tiny: Path) -> None:
    with pytest.raises(InputError, match="draws words, not classes"):
        limner.load(tiny)("a red fox", label=3)


def test_an_upsampler_alone_draws_nothing(pipe: Pipe) -> None:
    system = pipe.system
    alone = system.of(system.stages[1:])
    with pytest.raises(UnsupportedError, match="enlarges pictures of 8x8 and draws none"):
        alone.check(request(label=1))


def test_a_stage_of_another_size_can_be_asked_for(folder: Path) -> None:
    assert limner.load(folder, side=8)(label=0, seed=0)[0].picture.size == (8, 8)


def test_a_classifier_without_a_base_draws_nothing(tmp_path: Path) -> None:
    system = tiny_adm.settings("alone").model_copy(update={"stages": ()})
    states = {"classifier": limner.networks.building.build(system.parts[0].network).state_dict()}
    path = limner.weights.save_folder(tmp_path / "alone", system, states, "# alone\n")
    with pytest.raises(UnsupportedError, match="holds no network that draws"):
        load_pipe(path)


def test_weights_that_are_missing_are_said(folder: Path, tmp_path: Path) -> None:
    broken = tiny_adm.save(tmp_path / "broken")
    (broken / "classifier.safetensors").unlink()
    with pytest.raises(CheckpointError, match="classifier"):
        limner.load(broken)
