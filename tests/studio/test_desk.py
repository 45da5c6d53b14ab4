"""The server's parts as the page reaches them."""

from __future__ import annotations

import pytest

from limner.errors import CheckpointError
from limner.studio.desk import Desk


def test_a_model_is_described_without_its_weights(desk: Desk) -> None:
    before = desk.shelf.loaded()
    offer = desk.offer("tiny")
    assert (offer.steps, offer.own.sampler, offer.facts.side) == (4, "ddim", 16)
    assert desk.shelf.loaded() == before


def test_models_are_offered_by_what_they_can_do(desk: Desk) -> None:
    assert "tiny" in desk.names("draw")
    assert "tiny" in desk.names("edit")


def test_a_model_that_is_not_there_is_refused(desk: Desk) -> None:
    with pytest.raises(CheckpointError):
        desk.count("nobody", "a fox")


def test_models_that_were_trained_to_repaint_come_first_for_edits(desk: Desk) -> None:
    inpaint = [desk.offer(name).first.network.inpaint for name in desk.names("edit")]
    assert {*inpaint} == {True, False}
    assert inpaint == sorted(inpaint, reverse=True)
