"""The key maps of GLIDE's noised CLIP, proven against the key lists of both released files without their weights."""

from __future__ import annotations

import pytest

from limner.config import NoisedClipSettings, TextTowerSettings, UNetSettings, VitSettings
from limner.networks.noised_clip import NoisedClip
from limner.official import noised_clip
from limner.official.families import recognise
from tests.official.released import fits, released, survives

BOTH = NoisedClipSettings(
    embed=6,
    image=VitSettings(side=8, patch=4, width=64, depth=2, heads=1),
    text=TextTowerSettings(rows=9, context=4, width=64, depth=1, heads=1),
    steps=5,
)
PICTURES = BOTH.model_copy(update={"text": None})
STEPLESS = PICTURES.model_copy(update={"steps": None})
WORDS = BOTH.model_copy(update={"image": None, "steps": None})
RELEASED = {
    "image": NoisedClipSettings(text=None),
    "text": NoisedClipSettings(image=None, steps=None),
}


@pytest.mark.parametrize("tower", RELEASED)
def test_a_released_file_is_recognised_with_every_key_and_shape(tower: str) -> None:
    file = released(f"glide_clip_{tower}_enc")
    family, pieces = recognise(file.shapes)
    assert family.name == "noised-clip"
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [(tower, RELEASED[tower])]
    assert fits(pieces, file)


@pytest.mark.parametrize("settings", [PICTURES, STEPLESS, WORDS], ids=["image", "image without steps", "text"])
def test_weights_survive_the_way_to_the_official_layout_and_back(settings: NoisedClipSettings) -> None:
    assert survives(NoisedClip(settings), noised_clip.keys(settings))


def test_a_tower_without_steps_is_told_from_one_with() -> None:
    keys = noised_clip.keys(STEPLESS)
    assert "blocks.input.pred_state" in keys
    assert "blocks.input.w_t" not in keys


def test_only_towers_alone_have_keys_for_export() -> None:
    assert noised_clip.maps(WORDS) == noised_clip.keys(WORDS)
    assert noised_clip.maps(PICTURES) == noised_clip.keys(PICTURES)
    assert noised_clip.maps(BOTH) is None
    assert noised_clip.maps(UNetSettings()) is None


@pytest.mark.parametrize("shapes", [{}, {"blocks.output.f.w": (6, 64)}, {"blocks.output.f.w": (6,)}])
def test_other_files_are_not_taken_for_a_noised_clip(shapes: dict[str, tuple[int, ...]]) -> None:
    assert noised_clip.recognise(shapes) is None
