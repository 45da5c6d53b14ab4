"""The key map of CoCa, proven against the key lists of both released files without their weights."""

from __future__ import annotations

import pytest

from limner.config import CaptionerSettings, TextTowerSettings, UNetSettings, VitSettings
from limner.networks.captioner import Captioner
from limner.official import coca, layout
from limner.official.families import recognise
from tests.official.released import fits, released, survives

SMALL = CaptionerSettings(
    embed=64,
    image=VitSettings(side=8, patch=4, width=32, depth=1, heads=1),
    queries=3,
    pool_heads=2,
    text=TextTowerSettings(rows=9, context=4, width=64, depth=1, heads=1),
    depth=1,
    heads=1,
)
EQUALLY_WIDE = SMALL.model_copy(update={"image": VitSettings(side=8, patch=4, width=64, depth=1, heads=1, first_norm=False)})
WITHOUT_TOKEN = SMALL.model_copy(update={"text_token": False})
LARGE = CaptionerSettings(
    embed=768,
    image=VitSettings(patch=14, width=1024, depth=24, heads=16),
    text=TextTowerSettings(context=76, width=768, heads=12),
    heads=12,
)


@pytest.mark.parametrize(("name", "settings"), [("ViT-B-32", CaptionerSettings()), ("ViT-L-14", LARGE)])
def test_a_released_file_is_recognised_with_every_key_and_shape(name: str, settings: CaptionerSettings) -> None:
    file = released(f"open_clip_coca_{name}")
    family, pieces = recognise(file.shapes)
    assert family.name == "coca"
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [("captioner", settings)]
    assert fits(pieces, file)


@pytest.mark.parametrize("settings", [SMALL, EQUALLY_WIDE, WITHOUT_TOKEN], ids=["narrow picture tower", "equally wide", "bare"])
def test_weights_survive_the_way_to_the_official_layout_and_back(settings: CaptionerSettings) -> None:
    assert survives(Captioner(settings), coca.keys(settings))


@pytest.mark.parametrize("settings", [EQUALLY_WIDE, WITHOUT_TOKEN], ids=["equally wide", "bare"])
def test_settings_are_told_from_the_shapes(settings: CaptionerSettings) -> None:
    told = settings.model_copy(update={"heads": 1, "pool_heads": 8})
    state = layout.to_official(Captioner(told).state_dict(), coca.keys(told), where="x")
    pieces = coca.recognise({key: tuple(value.shape) for key, value in state.items()})
    assert pieces is not None
    assert pieces[0].settings.network == told


def test_only_captioners_have_keys_for_export() -> None:
    assert coca.maps(SMALL) == coca.keys(SMALL)
    assert coca.maps(UNetSettings()) is None


def test_other_files_are_not_taken_for_coca() -> None:
    assert coca.recognise(released("clip_ViT-B-32").shapes) is None
