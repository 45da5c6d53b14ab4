"""The server's parts as the page reaches them."""

from __future__ import annotations

import shutil
from pathlib import Path

import gradio as gr
import pytest

from limner.errors import CheckpointError
from limner.serving.queue import Queue
from limner.serving.shelf import Shelf
from limner.serving.store import Store
from limner.studio import controls, draw
from limner.studio.desk import Desk
from tests.studio.conftest import asked


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


def test_a_model_whose_folder_went_is_one_line(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "models" / "tiny")
    store, shelf = Store(tmp_path / "data"), Shelf(models=[folder], device="cpu")
    desk = Desk(Queue(store, shelf), store, shelf)
    shutil.rmtree(folder)
    with pytest.raises(CheckpointError, match="tiny cannot be read any more"):
        desk.offer("tiny")
    assert "cannot be read any more" in controls.counted(desk, "tiny", "a fox")
    with pytest.raises(gr.Error, match="cannot be read any more"):
        controls.suited(desk, "tiny", sized=True)
    with pytest.raises(CheckpointError, match="tiny"):
        draw.submit(desk, asked(), [])
    store.close()
