"""The key maps of DALL-E's dVAE, proven against the key lists of both released files without their weights."""

from __future__ import annotations

import pytest

from limner.config import DiscreteDecoderSettings, DiscreteEncoderSettings
from limner.errors import CheckpointError
from limner.networks.building import build
from limner.official import dvae, families
from tests.official.released import fits, released, survives

ENCODER = DiscreteEncoderSettings(width=8, blocks=2, codes=12)
DECODER = DiscreteDecoderSettings(stem=4, width=8, blocks=1, codes=12)


@pytest.mark.parametrize(
    ("name", "settings"), [("dalle_dvae_encoder", DiscreteEncoderSettings()), ("dalle_dvae_decoder", DiscreteDecoderSettings())]
)
def test_a_released_file_is_recognised_with_every_key_and_shape(
    name: str, settings: DiscreteEncoderSettings | DiscreteDecoderSettings
) -> None:
    file = released(name)
    pieces = dvae.recognise(file.shapes)
    assert pieces is not None
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [(name.rpartition("_")[2], settings)]
    assert fits(pieces, file)


@pytest.mark.parametrize("settings", [ENCODER, DECODER], ids=["encoder", "decoder"])
def test_weights_survive_the_way_to_the_official_layout_and_back(
    settings: DiscreteEncoderSettings | DiscreteDecoderSettings,
) -> None:
    assert survives(build(settings), dvae.keys(settings))


def test_both_halves_in_one_file_are_told_apart_by_their_prefixes() -> None:
    encoder, decoder = released("dalle_dvae_encoder").shapes, released("dalle_dvae_decoder").shapes
    both = {f"a.{key}": shape for key, shape in encoder.items()} | {f"b.{key}": shape for key, shape in decoder.items()}
    pieces = dvae.recognise(both)
    assert pieces is not None
    assert [piece.settings.name for piece in pieces] == ["encoder", "decoder"]
    assert {key for piece in pieces for key in piece.keys} == set(both)


@pytest.mark.parametrize(
    "shapes",
    [{}, {"blocks.input.w": (3,)}, {"blocks.input.w": (6, 3, 7, 7), "blocks.output.conv.w": (9, 48, 1, 1)}],
    ids=["nothing", "misshapen", "a width no block can quarter"],
)
def test_other_files_are_not_taken_for_a_dvae(shapes: dict[str, tuple[int, ...]]) -> None:
    assert dvae.recognise(shapes) is None


@pytest.mark.parametrize("size", [0, -1, 3, 2**62])
def test_sizes_that_no_network_can_have_are_refused_in_a_line(size: int) -> None:
    shapes = released("dalle_dvae_decoder").shapes | {"blocks.input.w": (size, 8192, 1, 1)}
    with pytest.raises(CheckpointError, match=r"^decoder\.pkl: .*") as refused:
        families.recognise(shapes, where="decoder.pkl")
    assert "\n" not in str(refused.value)
