"""Models in memory: which there are, and which goes when there is no room."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from limner import weights
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


def weights_of(found: Shelf, name: str) -> int:
    """Bytes of the weights that a model has in memory."""
    with found.pipe(name) as pipe:
        nets = [stage.net for stage in pipe.system.stages]
        return sum(each.numel() * each.element_size() for net in nets for each in net.parameters())


def test_a_model_needs_the_memory_that_its_weights_take(folders: list[Path]) -> None:
    found = shelf(folders, room=1)
    assert found.facts("one").bytes == weights_of(found, "one")


def test_a_shorter_type_needs_half_the_memory(folders: list[Path]) -> None:
    halves = Shelf(models=folders, dtype="bfloat16")
    assert 2 * halves.facts("one").bytes == shelf(folders, room=1).facts("one").bytes


def test_weights_that_are_borrowed_need_as_much_memory_as_ones_own(tmp_path: Path) -> None:
    lender = made.save(tmp_path / "lender")
    bases = {
        name: weights.Base("lender", name, weights.sha256(lender / f"{name}.safetensors")) for name in ("base", "upsampler")
    }
    settings, words = made.settings("sharer"), {made.VOCABULARY: (lender / made.VOCABULARY).read_bytes()}
    sharer = weights.save_folder(tmp_path / "sharer", settings, made.states(settings, 1), "# Sharer\n", words, bases=bases)
    found = Shelf(models=[lender, sharer], device="cpu", dtype="float32")
    assert found.facts("sharer").bytes == found.facts("lender").bytes == weights_of(found, "sharer")


@pytest.mark.parametrize("data", [b"", b"\xff" * 8, b"\x02" + bytes(7) + b"[]", b"\x07" + bytes(7) + b'{"a":1}'])
def test_a_file_that_is_no_weights_is_known_to_be_broken_when_it_is_loaded(tmp_path: Path, data: bytes) -> None:
    broken = made.save(tmp_path / "broken")
    (broken / "base.safetensors").write_bytes(data)
    found = Shelf(models=[broken], device="cpu")
    assert found.facts("broken").bytes > 0
    with pytest.raises(CheckpointError, match=r"base\.safetensors"):
        use(found, "broken")


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
