"""Drawing with a noised CLIP: it pulls towards the words, the recipe remembers it, and what does not fit is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import limner
from limner import images, tokens, weights
from limner.config import NoisedClipSettings, PartSettings
from limner.errors import CheckpointError, UnsupportedError
from limner.networks.noised_clip import NoisedClip
from limner.systems.drawing import load_pipe
from tests import clip as made
from tests import tiny

IMAGE, TEXT = made.NOISED_IMAGE, made.NOISED_TEXT


def save(path: Path, towers: dict[str, NoisedClipSettings]) -> Path:
    """The tiny cascade with a noised CLIP's towers beside its stages."""
    system = tiny.settings(path.name)
    system = system.model_copy(
        update={"parts": tuple(PartSettings(name=name, network=settings) for name, settings in towers.items())}
    )
    torch.manual_seed(1)
    states = tiny.states(tiny.settings()) | {name: NoisedClip(settings).state_dict() for name, settings in towers.items()}
    vocabulary = path.parent / tiny.VOCABULARY
    tokens.train(["a red fox", "a blue square"], 300, vocabulary)
    files = {tiny.VOCABULARY: vocabulary.read_bytes()}
    return weights.save_folder(path, system, states, "# guided\n\nNot trained.\n", files, dtype=torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "guided", {"image": IMAGE, "text": TEXT})


@pytest.fixture(scope="module")
def pipe(folder: Path) -> limner.Pipe:
    return load_pipe(folder, device="cpu", dtype="float32")


def fit(pipe: limner.Pipe, image: limner.Image, prompt: str) -> float:
    """How well the guide finds that a finished picture fits some words."""
    guide = pipe.system.guide  # type: ignore[attr-defined]
    x = images.to_tensor([image.picture])
    found = guide.tokenizer.encode([prompt], guide.context)
    return float(guide.image.score(x, torch.tensor([0]), guide.text.embed_text(found.ids, found.mask.sum(1))))


def test_a_picture_drawn_with_it_fits_better(pipe: limner.Pipe) -> None:
    small = pipe.sized(8)
    plain, pulled = (small("a red fox", seed=0, guidance=1.0, clip_scale=scale, steps=20)[0] for scale in (0.0, 1.0))
    assert fit(pipe, pulled, "a red fox") > fit(pipe, plain, "a red fox")


def test_a_scale_of_zero_pulls_nowhere(pipe: limner.Pipe) -> None:
    plain, zero = pipe("a red fox", seed=0, guidance=1.0)[0], pipe("a red fox", seed=0, clip_scale=0.0)[0]
    assert np.array_equal(np.asarray(plain.picture), np.asarray(zero.picture))


def test_the_recipe_remembers_it_and_draws_it_again(pipe: limner.Pipe, folder: Path, tmp_path: Path) -> None:
    image = pipe("a red fox", seed=0, clip_scale=2.0)[0]
    assert image.recipe.extra["clip_scale"] == 2.0
    assert image.recipe.extra["parts"] == {name: pipe.system.hashes[name] for name in ("image", "text")}
    assert image.recipe.stages[0].guidance == 1
    again = limner.reproduce(image.save(tmp_path / "x.png"), model=folder)
    assert (again.identical, again.changed) == (True, ())


def test_words_it_cannot_read_are_told(pipe: limner.Pipe) -> None:
    with pytest.warns(limner.PromptCutWarning, match="noised CLIP will not see: 'zebra'"):
        pipe("a red fox zebra", seed=0, clip_scale=1.0, steps=1)


def test_models_without_one_refuse_at_once(tmp_path: Path) -> None:
    plain = load_pipe(tiny.save(tmp_path / "plain"), device="cpu")
    with pytest.raises(UnsupportedError, match="plain has no noised CLIP"):
        plain.stream("a red fox", clip_scale=3.0)
    with pytest.raises(limner.LimnerError, match="clip_scale"):
        plain.stream("a red fox", clip_scale=-1.0)


@pytest.mark.parametrize(
    ("towers", "says"),
    [
        ({"image": IMAGE}, "has no text tower"),
        ({"text": TEXT}, "has no picture tower"),
        ({"image": IMAGE.model_copy(update={"steps": 9}), "text": TEXT}, "8 px and 9 steps"),
    ],
)
def test_one_that_cannot_guide_is_refused(tmp_path: Path, towers: dict[str, NoisedClipSettings], says: str) -> None:
    with pytest.raises(CheckpointError, match=says):
        load_pipe(save(tmp_path / "odd", towers), device="cpu")


def test_the_noised_clip_of_another_model_can_guide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipe: limner.Pipe) -> None:
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path))
    made.save_noised(tmp_path / "guide")
    plain = load_pipe(tiny.save(tmp_path / "plain"), device="cpu", dtype="float32")
    image = plain.guided("guide")("a red fox", seed=0, clip_scale=2.0)[0]
    assert image.recipe.extra["clip"] == "guide"
    assert set(image.recipe.extra["parts"]) == {"image", "text"}
    again = limner.reproduce(image.save(tmp_path / "x.png"))
    assert (again.identical, again.changed) == (True, ())
    with pytest.raises(CheckpointError, match="has no noised CLIP"):
        plain.guided("plain")


def test_what_reads_no_words_cannot_be_guided() -> None:
    wordless = limner.Pipe(object(), "wordless", config_hash="x")  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="wordless: does not read words"):
        wordless.guided("guide")
