"""`limner draw --label`: a class instead of words."""

from __future__ import annotations

from pathlib import Path

from limner import recipe
from tests import tiny_adm
from tests.cli.conftest import Limner, opened


def test_a_class_is_drawn_and_remembered(limner: Limner, tmp_path: Path) -> None:
    model = str(tiny_adm.save(tmp_path / "tiny-adm"))
    said = limner("draw", "--label", "2", "-m", model, "-s", "0", "-o", "{seed}.png")
    assert (said.code, said.lines) == (0, ["0.png"])
    assert opened("0.png").size == (16, 16)
    assert recipe.read("0.png").extra["label"] == 2
    assert limner("reproduce", "0.png", "-m", model).lines == ["identical 0.png"]


def test_a_plan_for_a_class_needs_no_words(limner: Limner, tmp_path: Path) -> None:
    model = str(tiny_adm.save(tmp_path / "tiny-adm"))
    said = limner("draw", "--label", "1", "-m", model, "--dry-run", "--json")
    assert said.code == 0
    assert [stage["side"] for stage in said.objects[0]["stages"]] == [8, 16]


def test_a_model_without_classes_needs_neither_words_nor_a_label(limner: Limner, tmp_path: Path) -> None:
    model = str(tiny_adm.save(tmp_path / "plain", classes=None, classifier=False, upsampler=False))
    assert limner("draw", "-m", model, "-s", "3", "-o", "{seed}.png").lines == ["3.png"]


def test_a_class_that_is_missing_or_unknown_is_said(limner: Limner, tmp_path: Path) -> None:
    model = str(tiny_adm.save(tmp_path / "tiny-adm"))
    for flags, told in (
        ((), "say which, 0 to 2"),
        (("--label", "3"), "has classes 0 to 2; got 3"),
        (("a fox",), "does not read"),
    ):
        said = limner("draw", *flags, "-m", model)
        assert said.code == 2
        assert told in said.err


def test_a_file_of_requests_may_name_classes(limner: Limner, tmp_path: Path) -> None:
    model = str(tiny_adm.save(tmp_path / "tiny-adm"))
    Path("classes.jsonl").write_text('{"label": 0}\n{"label": 2, "seed": 5}\n')
    said = limner("draw", "--prompt-file", "classes.jsonl", "-m", model, "-s", "0", "-o", "{seed}.png")
    assert said.lines == ["0.png", "5.png"]
    assert recipe.read("5.png").extra["label"] == 2


def test_a_label_means_nothing_to_a_model_of_words(limner: Limner) -> None:
    said = limner("draw", "--label", "2", "-m", "tiny")
    assert said.code == 2
    assert "draws words, not classes" in said.err


def test_captions_cannot_judge_a_model_of_classes(limner: Limner, tmp_path: Path) -> None:
    model = str(tiny_adm.save(tmp_path / "tiny-adm"))
    said = limner("eval", "shapes", "-m", model, "-n", "2")
    assert said.code == 2
    assert "reads no words" in said.err
