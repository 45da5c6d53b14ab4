"""The key maps of the consistency decoder, proven against the key lists of both released files without their weights."""

from __future__ import annotations

import pytest
import torch

from limner.config import LatentVAESettings, UNetSettings
from limner.networks.building import hollow
from limner.networks.unet import UNet
from limner.official import consistency_decoder, families, layout
from limner.official.consistency_decoder import OF_DIFFUSERS, RAW, Dialect
from tests.official.released import fits, released, survives

DECODER = UNetSettings(
    side=256,
    width=320,
    multipliers=(1, 2, 3.2, 3.2),
    blocks=3,
    attention=(),
    middle_attention=False,
    latent=4,
    time_rows=1024,
)
ENCODER = LatentVAESettings(decoder=False)
SMALL = DECODER.model_copy(update={"width": 32, "multipliers": (1.0, 2.0), "blocks": 1, "time_rows": 16, "latent": 3})


@pytest.mark.parametrize("scope", ["", "ckpt."])
def test_the_decoder_of_openai_is_recognised_with_every_key_and_shape(scope: str) -> None:
    file = released("openai_consistency_decoder_raw")
    file = file._replace(shapes={scope + key: shape for key, shape in file.shapes.items()})
    family, pieces = families.recognise(file.shapes)
    assert family.name == "consistency-decoder"
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [("decoder", DECODER)]
    assert fits(pieces, file)


def test_decoder_and_encoder_of_diffusers_are_recognised_with_every_key_and_shape() -> None:
    file = released("diffusers_consistency_decoder_vae")
    family, pieces = families.recognise(file.shapes)
    assert family.name == "consistency-decoder-diffusers"
    assert [(piece.settings.name, piece.settings.network) for piece in pieces] == [("decoder", DECODER), ("encoder", ENCODER)]
    assert fits(pieces, file)


@pytest.mark.parametrize("dialect", [RAW, OF_DIFFUSERS], ids=["openai", "diffusers"])
def test_weights_survive_the_way_to_either_layout_and_back(dialect: Dialect) -> None:
    assert survives(UNet(SMALL), consistency_decoder.keys(SMALL, dialect))


@pytest.mark.parametrize("widths", [(96, 64, 64), (352, 480)], ids=["narrower", "a quotient that rounds down"])
def test_settings_are_inferred_from_shapes(widths: tuple[int, ...]) -> None:
    multipliers = tuple((width + 0.5) / widths[0] for width in widths)
    wanted = SMALL.model_copy(update={"width": widths[0], "multipliers": multipliers, "embed": 48})
    net = hollow(UNet, wanted)
    with torch.device("meta"):
        state = layout.to_official(net.state_dict(), consistency_decoder.keys(wanted), where="x")
    pieces = consistency_decoder.recognise({key: tuple(value.shape) for key, value in state.items()})
    assert pieces is not None
    found = pieces[0].settings.network
    assert isinstance(found, UNetSettings)
    theirs = hollow(UNet, found).state_dict()
    assert {key: value.shape for key, value in theirs.items()} == {key: value.shape for key, value in net.state_dict().items()}


def test_only_what_they_can_hold_is_exported_in_a_layout() -> None:
    assert consistency_decoder.maps(SMALL) is not None
    assert consistency_decoder.maps_diffusers(SMALL) is not None
    assert consistency_decoder.maps_diffusers(ENCODER) is not None
    assert consistency_decoder.maps(ENCODER) is None
    assert consistency_decoder.maps(UNetSettings()) is None
    assert consistency_decoder.maps_diffusers(LatentVAESettings()) is None


@pytest.mark.parametrize(
    "shapes",
    [{}, {"embed_image.f.w": (320,)}, {"decoder_unet.conv_in.weight": (320, 7, 3, 3), "decoder_unet.conv_out.weight": (6, 1)}],
    ids=["nothing", "misshapen", "nearly nothing"],
)
def test_other_files_are_not_taken_for_the_decoder(shapes: dict[str, tuple[int, ...]]) -> None:
    assert consistency_decoder.recognise(shapes) is None
    assert consistency_decoder.recognise_diffusers(shapes) is None
