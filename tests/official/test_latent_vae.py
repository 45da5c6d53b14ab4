"""The key maps of the KL autoencoder, proven against the key lists of kl-f8 in both layouts without its weights."""

from __future__ import annotations

import pytest
import torch

from limner.config import LatentVAESettings
from limner.networks.latent_vae import LatentVAE
from limner.official import families, latent_vae, layout
from limner.official.latent_vae import COMPVIS, DIFFUSERS, OLD_DIFFUSERS, Dialect
from tests.official.released import fits, released, survives

SMALL = LatentVAESettings(widths=(32, 64), blocks=1)
ODD = LatentVAESettings(channels=2, channels_out=1, stem=96, widths=(32, 32, 64), blocks=2, attention=(2, 4), latent=3, inner=5)
BARE = SMALL.model_copy(update={"middle_attention": False, "conv_resample": False, "moments_conv": False, "latent_conv": False})
DIALECTS = [COMPVIS, DIFFUSERS, OLD_DIFFUSERS]


@pytest.mark.parametrize(
    ("name", "family"), [("sd_vae_kl_f8_compvis", "latent-vae"), ("sd_vae_kl_f8_diffusers", "latent-vae-diffusers")]
)
@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_kl_f8_is_recognised_with_every_key_and_shape(name: str, family: str, prefix: str) -> None:
    file = released(name)
    file = file._replace(shapes={prefix + key: shape for key, shape in file.shapes.items()})
    found, pieces = families.recognise(file.shapes)
    assert found.name == family
    assert [piece.settings.network for piece in pieces] == [LatentVAESettings()]
    assert fits(pieces, file)


@pytest.mark.parametrize("settings", [SMALL, ODD, BARE], ids=["small", "odd", "bare"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=["compvis", "diffusers", "old diffusers"])
def test_any_autoencoder_survives_the_way_to_any_layout_and_back(settings: LatentVAESettings, dialect: Dialect) -> None:
    assert survives(LatentVAE(settings), latent_vae.keys(settings, dialect))


@pytest.mark.parametrize("settings", [SMALL, ODD, BARE], ids=["small", "odd", "bare"])
@pytest.mark.parametrize("dialect", [COMPVIS, DIFFUSERS], ids=["compvis", "diffusers"])
def test_settings_are_inferred_from_shapes(settings: LatentVAESettings, dialect: Dialect) -> None:
    state = layout.to_official(LatentVAE(settings).state_dict(), latent_vae.keys(settings, dialect), where="x")
    found = latent_vae.inferred({key: tuple(value.shape) for key, value in state.items()}, "")
    assert found is not None
    assert found[0] == settings
    assert set(found[1]) == set(state)


def test_the_first_layout_of_diffusers_is_told_by_the_names_of_its_attention() -> None:
    keys = latent_vae.keys(SMALL, OLD_DIFFUSERS)
    state = layout.to_official(LatentVAE(SMALL).state_dict(), keys, where="x")
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    assert latent_vae.dialect_of(shapes, "") == OLD_DIFFUSERS
    assert latent_vae.recognise_diffusers(shapes) is not None
    assert latent_vae.recognise(shapes) is None


def test_the_layouts_hold_the_same_weights_with_the_levels_of_the_decoder_reversed() -> None:
    torch.manual_seed(0)
    state = LatentVAE(SMALL).state_dict()
    old = layout.to_official(state, latent_vae.keys(SMALL, COMPVIS), where="x")
    new = layout.to_official(state, latent_vae.keys(SMALL, DIFFUSERS), where="x")
    for level in (0, 1):
        theirs = new[f"decoder.up_blocks.{level}.resnets.0.conv1.weight"]
        assert torch.equal(old[f"decoder.up.{1 - level}.block.0.conv1.weight"], theirs)
    value = new["encoder.mid_block.attentions.0.to_v.weight"]
    assert torch.equal(old["encoder.mid.attn_1.v.weight"], value[..., None, None])


def test_networks_made_elsewhere_are_exported_in_either_layout() -> None:
    old, new = latent_vae.maps(SMALL), latent_vae.maps_diffusers(SMALL)
    assert old is not None
    assert new is not None
    assert len(old) == len(new)
    assert latent_vae.maps(SMALL.model_copy(update={"decoder": False})) is None


@pytest.mark.parametrize(
    "shapes",
    [
        {},
        {"encoder.conv_in.weight": (8, 3, 3, 3)},
        {"encoder.conv_in.weight": (8, 3, 3, 3), "decoder.conv_in.weight": (8, 4, 3, 3)},
        {"encoder.conv_in.weight": (), "decoder.conv_in.weight": ()},
    ],
    ids=["nothing", "no decoder", "no levels", "no axes"],
)
def test_other_files_are_not_taken_for_an_autoencoder(shapes: dict[str, tuple[int, ...]]) -> None:
    assert latent_vae.recognise(shapes) is None
    assert latent_vae.recognise_diffusers(shapes) is None
