"""Models in memory: which there are, and which goes when there is no room."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from limner.errors import CheckpointError, InputError, MemoryLimitError
from limner.serving.shelf import Shelf
from limner.systems.base import Request
from tests import tiny as made
from tests import tiny_adm


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("shelf")
    return [made.save(root / name, seed=seed) for seed, name in enumerate(("one", "two", "three"))]


def shelf(folders: list[Path], *, room: float) -> Shelf:
    """A shelf with room for so many of them."""
    found = Shelf(models=folders, device="cpu", dtype="float32")
    found.memory = int(room * found.facts("one").bytes)
    return found


def use(found: Shelf, name: str) -> None:
    with found.pipe(name) as pipe:
        assert pipe.name == name


def test_the_least_recently_used_model_goes(folders: list[Path]) -> None:
    found = shelf(folders, room=2.5)
    for name in ("one", "two", "one", "three"):
        use(found, name)
    assert list(found.loaded()) == ["one", "three"]


def test_a_model_is_loaded_once(folders: list[Path]) -> None:
    found = shelf(folders, room=1.5)
    with found.pipe("one") as first, found.pipe("one") as second:
        assert first is second


def test_a_model_in_use_does_not_go(folders: list[Path]) -> None:
    found = shelf(folders, room=1.5)
    with found.pipe("one"), pytest.raises(MemoryLimitError, match="no room for two while one draw"):
        use(found, "two")
    use(found, "two")
    assert list(found.loaded()) == ["two"]


def test_a_model_that_never_fits_is_refused(folders: list[Path]) -> None:
    with pytest.raises(MemoryLimitError, match="raise it"):
        use(shelf(folders, room=0.5), "one")


@pytest.mark.parametrize("name", ["four", "", "../one", "/etc", "one\x00"])
def test_only_names_that_were_found_are_served(folders: list[Path], name: str) -> None:
    found = shelf(folders, room=1)
    with pytest.raises(CheckpointError, match="there is no"):
        use(found, name)
    with pytest.raises(CheckpointError):
        found.folder(name)


def test_facts_are_known_without_loading(folders: list[Path]) -> None:
    found = shelf(folders, room=1)
    facts = found.facts("one")
    assert (facts.sides, facts.side, facts.family, facts.words) == ((8, 16), 16, "glide", True)
    assert facts.verbs == ("draw", "edit", "sketch", "outpaint", "upscale")
    assert "one" in found.having("upscale")
    assert found.loaded() == {}
    assert found.folder("one").name == "one"


def test_an_outline_knows_what_may_be_asked(folders: list[Path]) -> None:
    outline = shelf(folders, room=1).outline("one")
    outline.check(Request(prompt="a fox", steps="5"))
    with pytest.raises(InputError, match="control characters"):
        outline.check(Request(prompt="\x00"))


def test_a_model_of_classes_has_no_verb_here_and_one_without_words_draws(tmp_path: Path) -> None:
    classes = tiny_adm.save(tmp_path / "classes")
    plain = tiny_adm.save(tmp_path / "plain", classes=None, classifier=False)
    found = Shelf(models=[classes, plain], device="cpu")
    assert found.facts("classes").verbs == ()
    assert (found.facts("plain").verbs[0], found.facts("plain").words) == ("draw", False)
    found.outline("plain").check(Request())


def test_a_folder_that_is_given_must_be_usable(tmp_path: Path, tiny: Path) -> None:
    broken = shutil.copytree(tiny, tmp_path / "broken")
    (broken / "base.safetensors").unlink()
    with pytest.raises(CheckpointError, match="weights are missing: base"):
        Shelf(models=[broken])


def test_a_model_that_broke_meanwhile_is_said_in_a_line(tmp_path: Path, tiny: Path) -> None:
    folder = shutil.copytree(tiny, tmp_path / "later")
    found = Shelf(models=[folder])
    (folder / "config.json").write_text(json.dumps([]))
    with pytest.raises(CheckpointError, match="cannot be read any more"):
        found.outline("later")
