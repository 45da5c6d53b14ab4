"""`limner draw`: pictures where they were asked for, with what was asked for."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from limner import recipe
from tests import clip
from tests.cli.conftest import Limner, opened


def test_a_picture_is_drawn_and_only_its_path_is_on_stdout(drawn: Limner) -> None:
    said = drawn("a red fox")
    assert said.code == 0
    assert said.lines == ["0-a-red-fox-000.png"]
    assert opened("0-a-red-fox-000.png").size == (16, 16)
    assert "seed 0" in said.err


def test_words_need_no_quotes(drawn: Limner) -> None:
    assert drawn("a", "red", "fox").lines == ["0-a-red-fox-000.png"]


def test_generate_is_another_name(limner: Limner) -> None:
    assert limner("generate", "a fox", "-m", "tiny", "-s", "1").lines == ["1-a-fox-000.png"]


def test_files_are_never_overwritten(drawn: Limner) -> None:
    assert [drawn("fox", "-o", "fox.png").lines for _ in range(2)] == [["fox.png"], ["fox-2.png"]]
    assert drawn("fox", "-n", "2", "-o", "fox.png").lines == ["fox-3.png", "fox-4.png"]


def test_a_folder_to_be_is_made_and_filled(drawn: Limner) -> None:
    assert drawn("fox", "-o", "new/pictures/").lines == ["new/pictures/0-fox-000.png"]


def test_a_pattern_names_the_files(drawn: Limner) -> None:
    assert drawn("fox", "-n", "2", "-o", "{model}/{seed}-{i}.webp").lines == ["tiny/0-0.webp", "tiny/0-1.webp"]


def test_every_result_is_an_object_with_json(drawn: Limner) -> None:
    made = drawn("a fox", "-n", "2", "--json").objects
    assert [each["index"] for each in made] == [0, 1]
    assert {(each["seed"], each["model"], each["prompt"], each["width"]) for each in made} == {(0, "tiny", "a fox", 16)}
    assert all(Path(each["path"]).is_file() for each in made)


def test_a_random_seed_is_told_and_draws_the_same_again(limner: Limner) -> None:
    first = limner("draw", "fox", "-m", "tiny", "-o", "a.png", "--json").objects[0]
    limner("draw", "fox", "-m", "tiny", "-o", "b.png", "--seed", str(first["seed"]))
    assert opened("a.png").tobytes() == opened("b.png").tobytes()


def test_flags_reach_the_recipe(drawn: Limner) -> None:
    drawn(
        "fox",
        "--steps",
        "3",
        "--cfg",
        "1.5",
        "--sampler",
        "ddpm",
        "--negative",
        "dog",
        "-o",
        "x.png",
        "--set",
        "stages.1.sampling.steps=2",
    )
    made = recipe.read("x.png")
    assert made.negative == "dog"
    assert [(stage.steps, stage.guidance, stage.sampler) for stage in made.stages] == [("3", 1.5, "ddpm"), ("2", 1.0, "ddpm")]


def test_a_smaller_size_of_the_cascade_can_be_asked_for(drawn: Limner) -> None:
    drawn("fox", "--size", "8x8", "-o", "x.png")
    assert opened("x.png").size == (8, 8)


def test_without_metadata_the_file_says_nothing(drawn: Limner) -> None:
    drawn("a secret fox", "--no-metadata", "-o", "x.png")
    assert opened("x.png").info == {}
    assert b"secret" not in Path("x.png").read_bytes()


def test_a_grid_shows_all_of_them(drawn: Limner) -> None:
    said = drawn("fox", "-n", "4", "--grid", "--json").objects
    assert said[-1]["grid"] == 4
    sheet = opened(said[-1]["path"])
    assert sheet.width >= 32
    assert sheet.height >= 32


def test_prompts_come_from_a_file_with_their_own_wishes(drawn: Limner) -> None:
    lines = ["\ufeffa fox", "", json.dumps({"prompt": "a dog", "seed": 5, "n": 2})]
    Path("prompts.txt").write_text("\n".join(lines), encoding="utf-8")
    assert drawn("--prompt-file", "prompts.txt").lines == ["0-a-fox-000.png", "5-a-dog-000.png", "5-a-dog-001.png"]


def test_prompts_come_from_stdin(drawn: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("狐\n".encode())))
    assert drawn("--prompt-file", "-").lines == ["0-狐-000.png"]


def test_a_dry_run_says_the_plan_and_draws_nothing(drawn: Limner) -> None:
    plan = drawn("fox", "-n", "6", "--dry-run", "--json", "--steps", "2").objects[0]
    assert (plan["pictures"], plan["size"], plan["seeds"]) == (6, "16x16", [0])
    assert [stage["steps"] for stage in plan["stages"]] == [2, 3]
    assert plan["stages"][0]["parameters"] > plan["stages"][1]["parameters"] > 0
    assert "6 of 16x16 by tiny" in drawn("fox", "-n", "6", "--dry-run").out
    assert "8x8" in drawn("fox", "--size", "8", "--dry-run").out
    assert not list(Path().iterdir())


def test_quiet_says_nothing_but_the_path(drawn: Limner) -> None:
    said = drawn("fox", "--quiet")
    assert (said.lines, said.err) == (["0-fox-000.png"], "")


def test_verbose_says_more(drawn: Limner) -> None:
    assert "loaded tiny in" in drawn("fox", "--verbose").err


def test_messages_can_be_json(drawn: Limner) -> None:
    messages = [json.loads(line) for line in drawn("fox", "--log-format", "json").err.splitlines()]
    assert [message["level"] for message in messages] == ["info", "info"]


def test_the_words_that_were_cut_are_said(drawn: Limner) -> None:
    said = drawn("a red fox " * 20 + "and a zebra", "-q")
    assert said.code == 0
    assert "reads 16 tokens" in said.err
    assert "and a zebra" in said.err


def test_a_bar_is_shown_to_a_person_and_results_stay_on_stdout(drawn: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    said = drawn("fox", "-n", "2")
    assert said.lines == ["0-fox-000.png", "0-fox-001.png"]
    assert "upsampler" in said.err
    assert "upsampler" not in drawn("fox", "--no-progress").err


def test_a_noised_clip_guides_the_drawing(drawn: Limner, tmp_path: Path) -> None:
    guide = str(clip.save_noised(tmp_path / "guide"))
    said = drawn("a red fox", "--clip", guide, "-o", "x.png")
    assert said.code == 0, said.err
    made = recipe.read("x.png")
    assert (made.extra["clip_scale"], made.stages[0].guidance) == (3.0, 1.0)
    assert "has no noised CLIP" in drawn("a red fox", "--clip-scale", "3").err


def test_a_sheet_among_pictures_that_are_drawn_again_is_named(limner: Limner) -> None:
    limner("draw", "a fox", "-m", "tiny", "-s", "0", "-n", "2", "--grid", "-o", "fox.png")
    said = limner("reproduce", "fox.png", "fox-grid.png")
    assert said.code == 2
    assert "fox-grid.png: was made by 'grid'" in said.err
