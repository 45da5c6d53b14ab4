"""The key map of T5's encoder, proven against the key list of the released file without its weights."""

from __future__ import annotations

import math

import pytest
import torch

from limner.config import T5Settings, UNetSettings
from limner.networks.building import build
from limner.official import families, layout, t5
from tests.official.released import fits, released

TINY = T5Settings(rows=9, width=6, depth=2, heads=3, head_width=4, hidden=5, buckets=8)


FILE = released("t5_v1_1_xxl_encoder")


def test_every_key_of_the_released_encoder_is_known_and_its_settings_are_read_from_the_shapes() -> None:
    (piece,) = t5.recognise(FILE.shapes) or ()
    assert piece.settings.network == T5Settings()
    assert set(piece.keys) == set(FILE.shapes)


def test_every_key_of_the_released_encoder_has_its_place_and_shape() -> None:
    pytest.importorskip("transformers", reason="T5 needs the extra of that name")
    family, pieces = families.recognise(FILE.shapes)
    assert family.name == "t5"
    twice = math.prod(FILE.shapes["shared.weight"])  # the file counts its table of tokens under both names
    assert fits(pieces, FILE._replace(parameters=FILE.parameters - twice))


@pytest.mark.parametrize("tables", [t5.TABLES, t5.TABLES[:1], t5.TABLES[1:]])
@pytest.mark.parametrize("gated", [True, False])
def test_weights_survive_the_way_to_the_official_layout_and_back(tables: tuple[str, ...], gated: bool) -> None:
    pytest.importorskip("transformers", reason="T5 needs the extra of that name")
    settings = TINY.model_copy(update={"gated": gated})
    state = build(settings).state_dict()
    official = layout.to_official(state, t5.keys(settings, tables=tables), where="x")
    (piece,) = t5.recognise({name: tuple(value.shape) for name, value in official.items()}) or ()
    assert piece.settings.network == settings
    back = layout.to_limner(official, piece.keys, where="x")
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_files_of_other_networks_are_not_taken() -> None:
    assert t5.recognise({"shared.weight": (7, 8)}) is None
    odd = {key: shape for key, shape in FILE.shapes.items() if "block.0." in key} | {"shared.weight": (1, 4096)}
    assert t5.recognise(odd) is None
    assert t5.maps(UNetSettings()) is None


def test_networks_that_came_from_no_file_have_keys_for_export() -> None:
    assert t5.maps(TINY) == t5.keys(TINY)
