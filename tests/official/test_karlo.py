"""Karlo's key maps, proven against the key lists of its released files without their weights, and against diffusers'."""

from __future__ import annotations

import functools

import pytest
import torch

from limner.config import (
    NetworkSettings,
    PartSettings,
    PriorSettings,
    StageSettings,
    StatisticsSettings,
    TextProjectionSettings,
    UNetSettings,
)
from limner.errors import CheckpointError
from limner.networks.building import build
from limner.official import diffusers_unclip, karlo, layout
from limner.official.families import Family, Piece, recognise
from tests.official.released import fits, released, survives

PRIOR = PriorSettings(clip=6, words=6, context=3, width=64, depth=2, heads=1)
PROJECTION = TextProjectionSettings(clip=6, tokens=2, width=12, embed=128)
DECODER = UNetSettings(
    side=8, width=32, multipliers=(1, 2), blocks=1, attention=(2,), head_width=16, words=12, dropout=0.1, groups=8
)
UPSAMPLER = DECODER.model_copy(
    update={"attention": (), "middle_attention": False, "scale_shift": False, "words": None, "low_res": True, "ranged": False}
)
TINY: tuple[NetworkSettings, ...] = (PRIOR, StatisticsSettings(clip=6), PROJECTION, DECODER, UPSAMPLER)
FULL_DECODER = UNetSettings(width=320, words=1536)
FULL_UPSAMPLER = UNetSettings(
    side=256,
    width=320,
    attention=(),
    middle_attention=False,
    scale_shift=False,
    ranged=False,
    low_res=True,
    enlarge="bicubic",
)


@functools.cache
def found(name: str) -> tuple[Family, tuple[Piece, ...]]:
    """What a released file is recognised as."""
    return recognise(released(name).shapes)


def names(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.settings.name for piece in pieces]


def test_the_released_prior_is_recognised_with_every_key_and_shape() -> None:
    family, pieces = found("karlo_v1_prior")
    assert (family.name, family.system) == ("karlo", "unclip")
    assert [piece.settings for piece in pieces] == [PartSettings(name="prior", network=PriorSettings())]
    assert fits(pieces, released("karlo_v1_prior"))


def test_the_released_decoder_holds_a_stage_and_the_text_projection() -> None:
    family, pieces = found("karlo_v1_decoder")
    assert family.name == "karlo"
    assert names(pieces) == ["decoder", "text_proj"]
    assert [piece.settings.network for piece in pieces] == [FULL_DECODER, TextProjectionSettings()]
    assert fits(pieces, released("karlo_v1_decoder"))


def test_the_released_super_resolution_holds_a_stage_and_its_last_step() -> None:
    family, pieces = found("karlo_v1_sr")
    assert family.name == "karlo"
    assert names(pieces) == ["super_res_first", "super_res_last"]
    assert [piece.settings.network for piece in pieces] == [FULL_UPSAMPLER, FULL_UPSAMPLER]
    stage = pieces[0].settings
    assert isinstance(stage, StageSettings)
    assert (stage.low_side, stage.sampling.steps, stage.diffusion.variance) == (64, "7", "fixed_small")
    assert fits(pieces, released("karlo_v1_sr"))


def test_a_bare_pair_of_vectors_is_the_statistics() -> None:
    family, pieces = recognise({"0": (768,), "1": (768,)})
    assert family.name == "karlo"
    assert [piece.settings for piece in pieces] == [PartSettings(name="statistics", network=StatisticsSettings())]


def test_options_that_shapes_show_are_read_from_them() -> None:
    prior = PRIOR.model_copy(update={"learned_padding": True, "final_norm": False, "words": 5, "pooled": 7, "answer": 8})
    projection = PROJECTION.model_copy(update={"tokens": 0, "null": False})
    assert _recognised(prior, karlo.prior_keys(prior)) == prior
    both = _shapes(DECODER, karlo.unet_keys(DECODER, karlo.MODEL)) | _shapes(projection, karlo.text_projection_keys(projection))
    pieces = karlo.recognise(both)
    assert pieces is not None
    assert pieces[1].settings.network == projection
    assert pieces[0].settings.network.model_copy(update={"side": 8, "head_width": 16, "dropout": 0.1, "groups": 8}) == DECODER


@pytest.mark.parametrize("settings", TINY, ids=lambda settings: settings.kind)
def test_weights_survive_the_way_to_both_layouts_and_back(settings: NetworkSettings) -> None:
    for maps in (karlo.maps, diffusers_unclip.maps):
        keys = maps(_marked(settings))
        assert keys is not None
        assert survives(build(settings), keys)


@pytest.mark.parametrize("settings", TINY, ids=lambda settings: settings.kind)
def test_from_karlo_to_diffusers_and_back_is_where_one_began(settings: NetworkSettings) -> None:
    native, folder = karlo.maps(_marked(settings)), diffusers_unclip.maps(_marked(settings))
    assert native is not None
    assert folder is not None
    torch.manual_seed(0)
    state = {key: torch.randn(value.shape) for key, value in build(settings).state_dict().items()}
    original = layout.to_official(state, native, where="x")
    told = layout.to_official(layout.to_limner(original, native, where="x"), folder, where="x")
    again = layout.to_official(layout.to_limner(told, folder, where="x"), native, where="x")
    assert set(again) == set(original)
    assert all(torch.equal(again[key], value) for key, value in original.items())


def test_each_head_has_its_own_queries_keys_and_values_in_a_row() -> None:
    prior = PRIOR.model_copy(update={"heads": 2})
    state = build(prior).state_dict()
    native = layout.to_official(state, karlo.prior_keys(prior, ""), where="x")["transformer.resblocks.0.attn.c_qkv.bias"]
    folder = layout.to_official(state, diffusers_unclip.prior_keys(prior), where="x")
    q, k, v = (folder[f"transformer_blocks.0.attn1.to_{each}.bias"] for each in "qkv")
    assert torch.equal(native, torch.cat([q[:32], k[:32], v[:32], q[32:], k[32:], v[32:]]))


def test_a_width_that_no_heads_of_64_fill_is_refused() -> None:
    narrow = PRIOR.model_copy(update={"width": 48})
    with pytest.raises(CheckpointError, match="prior: a width of 48"):
        karlo.recognise(_shapes(narrow, karlo.prior_keys(narrow)))


def test_half_a_prior_is_refused_in_one_line() -> None:
    with pytest.raises(CheckpointError, match=r"x\.ckpt: looks like karlo, .*lacks positional_embedding"):
        recognise({"model.prd_emb": (1, 1, 64)}, where="x.ckpt")
    with pytest.raises(CheckpointError, match=r"x\.ckpt: looks like karlo"):
        recognise({"model.prd_emb": (1, 1, 64), "model.positional_embedding": (64,)}, where="x.ckpt")


def test_a_number_that_is_far_off_builds_no_network_of_that_depth() -> None:
    shapes = _shapes(PRIOR, karlo.prior_keys(PRIOR)) | {"model.transformer.resblocks.99999999999.ln_1.weight": (64,)}
    with pytest.raises(CheckpointError, match=r"looks like karlo, but does not fit: .*1 extra"):
        recognise(shapes)


def test_networks_of_other_systems_have_no_keys_here() -> None:
    assert karlo.maps(UNetSettings()) is None
    assert karlo.recognise({"visual.proj": (2, 2)}) is None


def _marked(settings: NetworkSettings) -> NetworkSettings:
    """As `recognise` gives it: an upsampler of unCLIP's enlarges bicubically."""
    return settings.model_copy(update={"enlarge": "bicubic"}) if settings is UPSAMPLER else settings


def _shapes(settings: NetworkSettings, keys: layout.KeyMap) -> dict[str, tuple[int, ...]]:
    state = layout.to_official(build(settings).state_dict(), keys, where="x")
    return {key: tuple(value.shape) for key, value in state.items()}


def _recognised(settings: NetworkSettings, keys: layout.KeyMap) -> NetworkSettings:
    pieces = karlo.recognise(_shapes(settings, keys))
    assert pieces is not None
    return pieces[0].settings.network
