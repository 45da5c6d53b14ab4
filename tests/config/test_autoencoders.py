"""Settings of the autoencoders: told apart by their kind, and refused when they cannot be built."""

from __future__ import annotations

import json

import pytest

from limner.config import (
    DiscreteDecoderSettings,
    DiscreteEncoderSettings,
    Frozen,
    LatentVAESettings,
    PartSettings,
    VqganSettings,
    dump,
    parse,
)
from limner.errors import ConfigError


@pytest.mark.parametrize(
    "network",
    [DiscreteEncoderSettings(), DiscreteDecoderSettings(), LatentVAESettings(), VqganSettings()],
    ids=lambda n: n.kind,
)
def test_a_written_network_is_read_back_as_what_it_was(network: Frozen) -> None:
    part = PartSettings.model_validate({"name": "part", "network": network})
    assert parse(PartSettings, json.loads(dump(part)), where="config.json") == part


def test_widths_that_groups_do_not_divide_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"part: .*widths \(32, 48\) must be multiples of groups 32"):
        parse(LatentVAESettings, {"widths": [32, 48]}, where="part")


def test_a_width_that_no_block_can_quarter_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"part: width: .*multiple of 4"):
        parse(DiscreteEncoderSettings, {"width": 6}, where="part")
