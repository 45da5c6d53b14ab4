"""The folder of diffusers, proven against the key lists of Karlo's release in it without their weights."""

from __future__ import annotations

import pytest

from limner.config import PriorSettings, StatisticsSettings, TextProjectionSettings, UNetSettings
from limner.errors import UnsupportedError
from limner.networks.building import build
from limner.official import diffusers_unclip, karlo, layout
from limner.official.piece import Piece
from tests.official.released import fits, released, survives
from tests.official.test_karlo import DECODER, FULL_DECODER, FULL_UPSAMPLER, PRIOR, UPSAMPLER, found

NETWORKS = {
    "diffusers_unclip_prior": {"prior": PriorSettings(), "statistics": StatisticsSettings()},
    "diffusers_unclip_text_proj": {"text_proj": TextProjectionSettings()},
    "diffusers_unclip_decoder": {"decoder": FULL_DECODER},
    "diffusers_unclip_super_res_first_and_last": {"super_res_first": FULL_UPSAMPLER},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_released_file_is_recognised_with_every_key_and_shape(name: str) -> None:
    family, pieces = found(name)
    assert (family.name, family.system, family.layout) == ("unclip-diffusers", "unclip", "diffusers")
    assert {piece.settings.name: piece.settings.network for piece in pieces} == NETWORKS[name]
    assert fits(pieces, released(name))


def test_both_layouts_of_a_release_give_the_same_stages() -> None:
    _, native = found("karlo_v1_decoder")
    _, folder = found("diffusers_unclip_decoder")
    assert native[0].settings == folder[0].settings
    _, native = found("karlo_v1_sr")
    _, folder = found("diffusers_unclip_super_res_first_and_last")
    assert native[0].settings == folder[0].settings
    assert [native[1].settings] == [twin.settings for twin in (diffusers_unclip.twin(folder[0]),) if twin]


def test_only_the_first_upsampler_has_a_twin() -> None:
    _, pieces = found("diffusers_unclip_decoder")
    assert diffusers_unclip.twin(pieces[0]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"words": None, "context": 0},
        {"time_width": 16, "pooled": 5, "answer": 7},
        {"first_norm": True, "pooled_norm": True},
        {"answer_token": False},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_options_of_the_prior_are_read_from_its_shapes(changes: dict[str, object]) -> None:
    own = PRIOR.model_copy(update=changes)
    keys = diffusers_unclip.prior_keys(own)
    assert survives(build(own), keys)
    beside = StatisticsSettings(clip=own.answer or own.clip)
    shapes = _shapes(own, keys) | _shapes(beside, diffusers_unclip.statistics_keys())
    assert [piece.settings.network for piece in _pieces(shapes)] == [own, beside]


@pytest.mark.parametrize(
    "changes",
    [
        {"residual_resample": False},
        {"residual_resample": False, "conv_resample": False},
        {"multipliers": (1.0,), "attention": (1,)},
        {"multipliers": (2.0, 1.0, 3.0), "attention": (1, 4), "blocks": 2},
        {"scale_shift": False, "ranged": False, "middle_attention": False},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_options_of_the_decoder_are_read_from_its_shapes(changes: dict[str, object]) -> None:
    own = DECODER.model_copy(update=changes)
    keys = diffusers_unclip.unet_keys(own)
    assert survives(build(own), keys)
    found = _pieces(_shapes(own, keys))[0].settings.network
    assert found.model_copy(update={"side": 8, "head_width": 16, "dropout": 0.1, "groups": 8}) == own


def test_other_networks_of_diffusers_are_not_taken_for_unclip() -> None:
    plain = UPSAMPLER.model_copy(update={"low_res": False})
    assert diffusers_unclip.recognise(_shapes(plain, diffusers_unclip.unet_keys(plain))) is None
    assert diffusers_unclip.recognise({"conv_in.weight": (3, 3, 3, 3)}) is None
    assert diffusers_unclip.maps(plain) is None
    assert karlo.maps(plain) is None


def test_what_a_layout_cannot_say_has_no_keys_in_it() -> None:
    for option in ({"final_norm": False}, {"learned_padding": True}):
        assert diffusers_unclip.maps(PRIOR.model_copy(update=option)) is None
        assert karlo.maps(PRIOR.model_copy(update=option)) is not None
    for option in ({"answer_token": False}, {"first_norm": True}, {"time_width": 8}):
        assert karlo.maps(PRIOR.model_copy(update=option)) is None
        assert diffusers_unclip.maps(PRIOR.model_copy(update=option)) is not None
    for option in ({"patch": 2}, {"classes": 3}, {"embed": 7}):
        assert karlo.maps(DECODER.model_copy(update=option)) is None
        assert diffusers_unclip.maps(DECODER.model_copy(update=option)) is None
    assert diffusers_unclip.maps(TextProjectionSettings(null=False)) is None
    with pytest.raises(UnsupportedError, match=r"the network 'text_encoder' .* has no place in diffusers' folder"):
        diffusers_unclip.files({"text_encoder": PRIOR.model_copy(update={"final_norm": False})})


def _shapes(settings: UNetSettings | PriorSettings | StatisticsSettings, keys: layout.KeyMap) -> dict[str, tuple[int, ...]]:
    state = layout.to_official(build(settings).state_dict(), keys, where="x")
    return {key: tuple(value.shape) for key, value in state.items()}


def _pieces(shapes: dict[str, tuple[int, ...]]) -> tuple[Piece, ...]:
    pieces = diffusers_unclip.recognise(shapes)
    assert pieces is not None
    return pieces
