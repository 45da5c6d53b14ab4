"""DALL-E mini's key maps, proven against the key lists of the released files without their weights."""

from __future__ import annotations

import pytest
import torch

from limner.config import BartDecoderSettings, BartEncoderSettings, UNetSettings
from limner.networks.building import build
from limner.official import families, layout, min_dalle
from tests.official.released import fits, released

MEGA = {"width": 2048, "depth": 24, "heads": 32, "hidden": 4096}
RELEASED = {
    "min_dalle_mini_encoder": BartEncoderSettings(),
    "min_dalle_mini_decoder": BartDecoderSettings(),
    "min_dalle_mega_encoder": BartEncoderSettings(rows=50272, **MEGA),
    "min_dalle_mega_decoder": BartDecoderSettings(rows=16416, **MEGA),
}
TINY = [
    BartEncoderSettings(rows=7, context=5, width=64, depth=2, heads=1, hidden=6),
    BartDecoderSettings(rows=7, codes=6, context=4, width=64, depth=2, heads=1, hidden=6),
    BartEncoderSettings(rows=7, context=5, width=64, depth=1, heads=1, hidden=6, gains=False),
    BartDecoderSettings(rows=7, codes=6, context=4, width=64, depth=1, heads=1, hidden=6, gains=False),
]


@pytest.mark.parametrize("name", RELEASED)
def test_every_key_of_a_released_file_has_its_place_and_shape(name: str) -> None:
    file = released(name)
    family, pieces = families.recognise(file.shapes)
    assert family.name == "min-dalle"
    assert [piece.settings.network for piece in pieces] == [RELEASED[name]]
    assert fits(pieces, file)


@pytest.mark.parametrize("settings", TINY)
def test_weights_survive_the_way_to_the_official_layout_and_back(settings: min_dalle.BartSettings) -> None:
    torch.manual_seed(0)
    state = {name: torch.randn(value.shape) for name, value in build(settings).state_dict().items()}
    keys = min_dalle.keys(settings)
    official = layout.to_official(state, keys, where="x")
    (piece,) = min_dalle.recognise({name: tuple(value.shape) for name, value in official.items()}) or ()
    assert piece.settings.network == settings
    back = layout.to_limner(official, piece.keys, where="x")
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_keys_and_values_are_the_two_halves_of_one_projection() -> None:
    state = build(TINY[0]).state_dict()
    official = layout.to_official(state, min_dalle.keys(TINY[0]), where="x")
    k, v = official["layers.1.self_attn.k_proj.weight"], official["layers.1.self_attn.v_proj.weight"]
    assert torch.equal(torch.cat([k, v]), state["blocks.1.attention.kv.weight"])


def test_files_of_other_networks_are_not_taken() -> None:
    assert min_dalle.recognise({"embed_tokens.weight": (7, 8)}) is None
    odd = {"embed_tokens.weight": (7, 0), "embed_positions.weight": (4, 0), "layers.0.glu.fc0.weight": (3, 0)}
    assert min_dalle.recognise(odd) is None
    assert min_dalle.maps(UNetSettings()) is None


def test_networks_that_came_from_no_file_have_keys_for_export() -> None:
    assert min_dalle.maps(TINY[1]) == min_dalle.keys(TINY[1])
