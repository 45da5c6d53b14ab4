"""A network without weights: the same names and shapes, and nothing slow on the way."""

from __future__ import annotations

import subprocess
import sys

import pytest

from limner.networks.building import hollow
from limner.networks.unet import UNet
from tests import tiny


@pytest.mark.parametrize("stage", [0, 1])
def test_a_hollow_network_has_the_names_and_shapes_of_a_full_one(stage: int) -> None:
    settings = tiny.settings().stages[stage].network
    full, empty = UNet(settings).state_dict(), hollow(UNet, settings).state_dict()
    assert {key: value.shape for key, value in empty.items()} == {key: value.shape for key, value in full.items()}
    assert all(value.is_meta for value in empty.values())


def test_it_does_not_wake_the_compiler() -> None:
    code = (
        "import sys; from limner.networks.building import hollow; from limner.networks.unet import UNet; "
        "from tests import tiny; "
        "[hollow(UNet, stage.network) for stage in tiny.settings().stages]; sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
