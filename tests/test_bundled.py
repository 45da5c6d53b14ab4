"""What ships in the box: small enough to ship, whole, and complete with what it borrows."""

from __future__ import annotations

import pytest

from limner import catalog, weights
from limner.networks.building import build, hollow

MB = 10**6
BOX = [entry for entry in catalog.models() if entry.bundled]
FINE_TUNES = [entry for entry in BOX if entry.name.endswith("-inpaint")]


def test_the_generators_stay_within_45_mb_and_their_fine_tunes_within_25_more() -> None:
    assert {entry.name for entry in FINE_TUNES} == {"glide-emoji-inpaint", "glide-shapes-inpaint"}
    assert sum(entry.size for entry in BOX if entry not in FINE_TUNES) <= 45 * MB
    assert sum(entry.size for entry in FINE_TUNES) <= 25 * MB


@pytest.mark.parametrize("entry", BOX, ids=lambda entry: entry.name)
def test_every_bundled_folder_is_whole_and_loads_and_has_a_card(entry: catalog.Entry) -> None:
    folder = weights.read_folder(entry.path)
    assert not entry.problem
    assert folder.settings.licence == entry.licence
    assert f"license: {entry.licence.lower()}" in (entry.path / "CARD.md").read_text(encoding="utf-8")
    for name, network in folder.settings.networks().items():
        weights.load_state(hollow(build, network), folder.weights(name))
