"""The key maps, proven against the key lists of every released U-Net without its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from limner.config import ClassifierSettings, TextSettings, UNetSettings
from limner.errors import CheckpointError
from limner.networks.classifier import Classifier
from limner.networks.unet import UNet
from limner.official import adm, layout

FOLDER = Path(__file__).parents[1] / "golden" / "manifests"
ALL = sorted(path for mark in ("adm", "improved", "glide_[bpu]") for path in FOLDER.glob(f"{mark}*.json"))
CLASSIFIERS = [path for path in ALL if path.stem.endswith("classifier")]
MANIFESTS = [path for path in ALL if path not in CLASSIFIERS]
MULTIPLIERS: dict[int, tuple[float, ...]] = {64: (1, 2, 3, 4), 128: (1, 1, 2, 3, 4), 256: (1, 1, 2, 2, 4, 4)}
SMALL = UNetSettings(
    side=16,
    width=32,
    multipliers=(1, 2),
    blocks=1,
    attention=(2,),
    head_width=16,
    text=TextSettings(rows=9, context=4, width=32, depth=1, heads=2),
)


def settings(manifest: dict[str, Any]) -> UNetSettings:
    """limner's settings for the flags that were published with a file."""
    flags, name, shapes = manifest["config"], manifest["name"], manifest["state_dict"]
    side = flags.get("image_size") or flags["large_size"]
    multipliers = (1, 2, 2, 2) if side == 32 else (0.5, 1, 1, 2, 2, 4, 4) if name == "adm_512x512_diffusion" else None
    text = None
    if flags.get("xf_width"):
        text = TextSettings(
            context=flags["text_ctx"], width=flags["xf_width"], depth=flags["xf_layers"], heads=flags["xf_heads"]
        )
    return UNetSettings(
        side=side,
        width=flags["num_channels"],
        multipliers=multipliers or MULTIPLIERS[min(side, 256)],
        blocks=flags["num_res_blocks"],
        attention=tuple(side // int(part) for part in flags["attention_resolutions"].split(",")),
        heads=flags["num_heads"],
        head_width=None if flags.get("num_head_channels", -1) == -1 else flags["num_head_channels"],
        scale_shift=flags["use_scale_shift_norm"],
        residual_resample=flags.get("resblock_updown", False),
        ranged=flags.get("learn_sigma", True),
        classes=shapes["label_emb.weight"][0] if "label_emb.weight" in shapes else None,
        text=text,
        low_res="upsampl" in name,
        inpaint="inpaint" in name,
        dropout=flags["dropout"],
    )


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_every_key_of_a_released_unet_has_its_place_and_shape(path: Path) -> None:
    manifest = json.loads(path.read_text())
    own = settings(manifest)
    keys = adm.keys(own, head_major=not manifest["config"].get("use_new_attention_order", False))
    with torch.device("meta"):
        net = UNet(own)
    ours = net.state_dict()
    assert set(keys) == set(manifest["state_dict"])
    assert sorted(entry.key for entry in keys.values()) == sorted(ours)
    for name, entry in keys.items():
        assert [*ours[entry.key].shape, *[1] * entry.axes] == manifest["state_dict"][name], name
    assert sum(p.numel() for p in net.parameters()) == manifest["total_parameters"]


@pytest.mark.parametrize("path", CLASSIFIERS, ids=lambda path: path.stem)
def test_every_key_of_a_released_classifier_has_its_place_and_shape(path: Path) -> None:
    manifest = json.loads(path.read_text())
    flags = manifest["config"]
    side = flags["image_size"]
    own = ClassifierSettings(
        side=side,
        width=flags["classifier_width"],
        multipliers=(0.5, 1, 1, 2, 2, 4, 4) if side == 512 else MULTIPLIERS[side],
        blocks=flags["classifier_depth"],
        attention=tuple(side // int(part) for part in flags["classifier_attention_resolutions"].split(",")),
        pool=flags["classifier_pool"],
    )
    with torch.device("meta"):
        net = Classifier(own)
        official = layout.to_official(net.state_dict(), adm.classifier_keys(own), where="x")
    assert {name: [*value.shape] for name, value in official.items()} == manifest["state_dict"]
    assert sum(p.numel() for p in net.parameters()) == manifest["total_parameters"]


@pytest.mark.parametrize("pool", ["attention", "adaptive", "spatial", "spatial_v2"])
def test_a_classifier_survives_the_way_to_the_official_layout_and_back(pool: str) -> None:
    own = ClassifierSettings(
        side=16, width=32, multipliers=(1, 2), blocks=1, attention=(2,), head_width=16, hidden=32, pool=pool, classes=7
    )
    torch.manual_seed(0)
    state = {name: torch.randn(value.shape) for name, value in Classifier(own).state_dict().items()}
    keys = adm.classifier_keys(own)
    back = layout.to_limner(layout.to_official(state, keys, where="x"), keys, where="x")
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


@pytest.mark.parametrize("head_major", [True, False])
def test_weights_survive_the_way_to_the_official_layout_and_back(head_major: bool) -> None:
    torch.manual_seed(0)
    state = {name: torch.randn(value.shape) for name, value in UNet(SMALL).state_dict().items()}
    keys = adm.keys(SMALL, head_major=head_major)
    back = layout.to_limner(layout.to_official(state, keys, where="x"), keys, where="x")
    assert set(back) == set(state)
    assert all(torch.equal(back[name], value) for name, value in state.items())


def test_the_two_orders_of_attention_rows_are_not_the_same() -> None:
    torch.manual_seed(0)
    state = {name: torch.randn(value.shape) for name, value in UNet(SMALL).state_dict().items()}
    legacy = layout.to_official(state, adm.keys(SMALL, head_major=True), where="x")
    new = layout.to_official(state, adm.keys(SMALL, head_major=False), where="x")
    name = "middle_block.1.qkv.weight"
    assert not torch.equal(legacy[name], new[name])
    assert torch.equal(legacy[name].sort(dim=0).values, new[name].sort(dim=0).values)


def test_missing_and_extra_keys_are_listed_at_most_ten_with_their_count() -> None:
    keys = adm.keys(SMALL)
    state = layout.to_official(UNet(SMALL).state_dict(), keys, where="x")
    short = dict(list(state.items())[12:]) | {"surprise": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"base\.pt: .*12 missing: .*, \.\.\.; 1 extra: surprise"):
        layout.to_limner(short, keys, where="base.pt")
