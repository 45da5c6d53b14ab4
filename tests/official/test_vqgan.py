"""The key map of min-dalle's detokeniser, proven against the key list of the released file without its weights."""

from __future__ import annotations

from limner.config import VqganSettings
from limner.networks.vqgan import VqganDecoder
from limner.official import families, layout, vqgan
from tests.official.released import fits, released, survives

SMALL = VqganSettings(widths=(32, 64), blocks=1, attention=(2,), codes=9, latent=6, inner=5)


def test_the_released_detokeniser_is_recognised_with_every_key_and_shape() -> None:
    file = released("min_dalle_vqgan_detoker")
    family, pieces = families.recognise(file.shapes)
    assert (family.name, family.system) == ("vqgan", "min-dalle")
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [("detokeniser", VqganSettings())]
    assert fits(pieces, file)


def test_settings_are_inferred_from_shapes() -> None:
    state = layout.to_official(VqganDecoder(SMALL).state_dict(), vqgan.keys(SMALL, prefix="model."), where="x")
    pieces = vqgan.recognise({key: tuple(value.shape) for key, value in state.items()})
    assert pieces is not None
    assert pieces[0].settings.network == SMALL
    assert set(pieces[0].keys) == set(state)


def test_weights_survive_the_way_to_the_official_layout_and_back() -> None:
    keys = vqgan.maps(SMALL)
    assert keys is not None
    assert survives(VqganDecoder(SMALL), keys)


def test_other_files_are_not_taken_for_a_detokeniser() -> None:
    assert vqgan.recognise({"text.embedding.weight": (9, 4)}) is None
    assert vqgan.recognise({"embedding.weight": (9, 4), "decoder.up.0.block.0.conv1.weight": (8, 8, 3, 3)}) is None
