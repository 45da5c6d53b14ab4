"""CLIP at work: scores, ranks, classes, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.config import ResnetSettings
from limner.errors import CheckpointError, InputError, UnsupportedError
from limner.networks.clip import Clip
from limner.systems import clip
from limner.systems.clip import Scorer
from tests import clip as made
from tests import tiny

WORDS = ("a red fox", "a house", "two stars")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return clip.load(made.save(tmp_path_factory.mktemp("models") / "clip-tiny"), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(0, 256, (20, 20 + k, 3), dtype=np.uint8)) for k in range(clip.BATCH + 2)]


def test_vectors_have_length_one_whatever_the_batch(scorer: Scorer, pictures: list[Image.Image]) -> None:
    vectors = scorer.embed_pictures(pictures)
    assert vectors.shape == (len(pictures), 8)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(pictures)))
    torch.testing.assert_close(scorer.embed_pictures(pictures[-1:])[0], vectors[-1])
    torch.testing.assert_close(scorer.embed_texts(WORDS).norm(dim=1), torch.ones(3))


def test_scores_are_the_network_s_own_without_the_scale(scorer: Scorer, pictures: list[Image.Image]) -> None:
    from limner import images, tokens

    assert isinstance(scorer.pictures, Clip)
    x = torch.stack([images.clip_square(picture, 16) for picture in pictures[:3]])
    ids = tokens.clip_tokenize(WORDS, context=8).ids
    torch.testing.assert_close(scorer.scale * scorer.score(pictures[:3], WORDS), scorer.pictures(x, ids))


def test_the_best_fitting_pictures_come_first(scorer: Scorer, pictures: list[Image.Image]) -> None:
    scores = scorer.score(pictures, WORDS[:1])[:, 0]
    best = scorer.rerank(pictures, WORDS[0], keep=3)
    assert scores[best].tolist() == sorted(scores.tolist(), reverse=True)[:3]
    assert len(scorer.rerank(pictures, WORDS[0])) == len(pictures)


def test_classes_are_means_over_templates_and_likelihoods_sum_to_one(scorer: Scorer, pictures: list[Image.Image]) -> None:
    alone = scorer.zero_shot(pictures[:2], WORDS, templates=["{}"])
    torch.testing.assert_close(alone, (scorer.scale * scorer.score(pictures[:2], WORDS)).softmax(-1))
    both = scorer.zero_shot(pictures[:2], WORDS, templates=["{}", "no {}"])
    torch.testing.assert_close(both.sum(1), torch.ones(2))
    vectors = (scorer.embed_texts(WORDS) + scorer.embed_texts([f"no {word}" for word in WORDS])) / 2
    cosines = scorer.embed_pictures(pictures[:2]) @ (vectors / vectors.norm(dim=1, keepdim=True)).T
    torch.testing.assert_close(both, (scorer.scale * cosines).softmax(-1))


def test_towers_in_files_of_their_own_work_together(tmp_path: Path, pictures: list[Image.Image]) -> None:
    towers = {
        "text_encoder": made.SETTINGS.model_copy(update={"image": None}),
        "image_encoder": made.SETTINGS.model_copy(update={"text": None}),
    }
    apart = clip.load(made.save(tmp_path / "apart", towers), device="cpu", dtype="float32")
    assert apart.score(pictures[:2], WORDS).shape == (2, 3)
    assert apart.scale == 100


def test_a_resnet_is_loaded_with_its_batch_norms(tmp_path: Path, pictures: list[Image.Image]) -> None:
    image = ResnetSettings(side=32, width=4, depths=(1, 1, 1, 1), heads=2)
    folder = made.save(tmp_path / "resnet", {"clip": made.SETTINGS.model_copy(update={"image": image})})
    scorer = clip.load(folder, device="cpu", dtype="float32")
    assert scorer.score(pictures[:2], WORDS).isfinite().all()
    assert float(clip.load(folder, device="cpu", dtype="bfloat16").score(pictures[:2], WORDS).abs().max()) <= 1.01


def test_a_missing_tower_is_said(tmp_path: Path, pictures: list[Image.Image]) -> None:
    for left_out, verb in (("image", "embed_pictures"), ("text", "embed_texts")):
        lone = clip.load(made.save(tmp_path / left_out, {"clip": made.SETTINGS.model_copy(update={left_out: None})}))
        with pytest.raises(UnsupportedError, match=f"{left_out}: has no (picture|text) tower"):
            getattr(lone, verb)(pictures[:1] if left_out == "image" else WORDS)


def test_a_text_that_is_too_long_is_refused_or_cut_on_request(scorer: Scorer) -> None:
    long = "one two three four five six seven zebra"
    with pytest.raises(InputError, match="zebra"):
        scorer.embed_texts([long])
    cut = scorer.embed_texts([long], truncate=True)
    torch.testing.assert_close(cut, scorer.embed_texts(["one two three four five six"]))


def test_what_makes_no_sense_is_refused(scorer: Scorer, pictures: list[Image.Image]) -> None:
    with pytest.raises(InputError, match="at least one picture"):
        scorer.embed_pictures([])
    with pytest.raises(InputError, match="at least one text"):
        scorer.embed_texts([])
    with pytest.raises(InputError, match="not one string"):
        scorer.embed_texts("a fox")
    with pytest.raises(InputError, match="cannot keep 9"):
        scorer.rerank(pictures[:2], "a fox", keep=9)
    with pytest.raises(InputError, match="template 'photo'"):
        scorer.zero_shot(pictures[:1], WORDS, templates=["photo"])
    with pytest.raises(InputError, match="at least one class"):
        scorer.zero_shot(pictures[:1], [])


def test_models_of_other_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="without a CLIP"):
        clip.load(tiny.save(tmp_path / "tiny"))
    with pytest.raises(CheckpointError):
        clip.load("no-such-clip")


def test_a_narrow_type_gives_nearly_the_same(tmp_path: Path, scorer: Scorer, pictures: list[Image.Image]) -> None:
    narrow = clip.load(made.save(tmp_path / "clip-tiny"), device="cpu", dtype="bfloat16")
    gap = (narrow.score(pictures[:4], WORDS) - scorer.score(pictures[:4], WORDS)).abs()
    assert float(gap.max()) < 0.05
