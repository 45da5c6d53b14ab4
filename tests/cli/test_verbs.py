"""The other verbs: what they print, what they end with, and that help is quick."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from limner.cli import doctor, settings_files
from tests import tiny as made
from tests.cli.conftest import Limner, opened


def test_the_version(limner: Limner) -> None:
    from limner import __version__

    assert limner("--version").out == f"limner {__version__}\n"


def test_no_words_at_all_show_the_help(limner: Limner) -> None:
    said = limner()
    assert "Commands" in said.out
    assert "draw" in said.out


@pytest.mark.parametrize(
    "verb", [["draw"], ["train"], ["export"], ["data", "build", "emoji"], ["models", "show"], ["reproduce"]]
)
def test_every_verb_has_help(limner: Limner, verb: list[str]) -> None:
    said = limner(*verb, "--help")
    assert said.code == 0
    assert "--json" in said.out


def test_help_imports_nothing_slow() -> None:
    slow = "any(name in sys.modules for name in ('torch', 'pydantic'))"
    code = f"import sys; from limner.cli import app; app.run(['--help']); sys.exit({slow})"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


def test_a_picture_is_drawn_again_and_found_identical(drawn: Limner, limner: Limner) -> None:
    drawn("fox", "-o", "x.png")
    said = limner("reproduce", "x.png")
    assert (said.code, said.out) == (0, "identical x.png\n")


def test_a_picture_that_differs_ends_with_1_and_says_why(drawn: Limner, limner: Limner) -> None:
    drawn("fox", "-o", "x.jpg")
    other = made.save(Path("other"), seed=1)
    said = limner("reproduce", "x.jpg", "--model", str(other), "--json", "-o", "again.png")
    assert said.code == 1
    found = said.objects[0]
    assert found["identical"] is False
    assert found["largest"] > 0
    assert any("weights of stage base" in line for line in found["changed"])
    assert Path(found["redrawn"]).is_file()
    assert "JPEG changes pixels" in said.err
    assert "largest difference" in limner("reproduce", "x.jpg", "--model", str(other)).out


def test_models_are_listed(limner: Limner) -> None:
    entry = next(each for each in limner("models", "list", "--json").objects if each["name"] == "tiny")
    assert entry["summary"] == "A tiny cascade for tests"
    assert "tiny" in limner("models", "list").out


def test_no_models_are_said(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.catalog.models", list)
    said = limner("models", "list")
    assert (said.code, said.out) == (0, "")
    assert "no models yet" in said.err


def test_a_broken_model_is_listed_with_its_problem(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = made.save(Path("models/cracked"))
    (folder / "base.safetensors").unlink()
    monkeypatch.setenv("LIMNER_MODELS", "models")
    assert "cannot be used: weights are missing: base" in limner("models", "list").out
    said = limner("doctor")
    assert said.code == 1
    assert "limner: warning: model cracked: weights are missing" in said.err


def test_a_model_is_shown(limner: Limner) -> None:
    said = limner("models", "show", "tiny")
    assert "stage upsampler: 16 px" in said.out
    facts = limner("models", "show", "tiny", "--json").objects[0]
    assert facts["settings"]["stages"][0]["network"]["side"] == 8
    assert set(facts["hashes"]) == {"base", "upsampler"}
    assert limner("models", "show", "tiny", "--card").out == "# tiny\n\nNot trained.\n"


def test_doctor_says_what_is_here(limner: Limner) -> None:
    facts = limner("doctor", "--json").objects[0]
    assert facts["packages"]["torch"]
    assert facts["devices"][0]["name"] == "cpu"
    assert facts["processor"]["cores"] >= 1
    assert facts["models"]["tiny"] == "ok"
    assert set(facts["folders"]) == {"models", "settings", "downloads"}
    assert "devices:" in limner("doctor").out


def test_doctor_names_what_is_in_the_way() -> None:
    facts = {
        "packages": {"torch": None, "numpy": "2"},
        "models": {"a": "ok", "b": "cracked"},
        "memory": {"free_gb": 0.5},
        "devices": [{"name": "cuda:0", "problem": "no driver"}],
    }
    assert list(doctor.problems(facts)) == [
        "torch is not installed; install limner again",
        "model b: cracked",
        "only 0.5 GB of memory are free; drawing wants 2",
        "device cuda:0: no driver",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(limner: Limner, shell: str) -> None:
    said = limner("completion", shell)
    assert said.code == 0
    assert "_LIMNER_COMPLETE" in said.out


def test_the_tab_key_is_answered() -> None:
    asked = os.environ | {"_LIMNER_COMPLETE": "complete_bash", "COMP_WORDS": "limner dr", "COMP_CWORD": "1"}
    ended = subprocess.run([sys.executable, "-m", "limner"], env=asked, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["draw"]


def test_small_pictures_are_redrawn(limner: Limner) -> None:
    said = limner("data", "redraw", "shapes", "-m", "tiny", "-o", "again", "-n", "3", "--json")
    assert (said.code, said.objects[0]["views"], said.objects[0]["folder"]) == (0, 3, "again")
    assert "usable" in limner("data", "check", "redrawn:again").out
    said = limner("data", "redraw", "shapes", "-m", "tiny", "-o", "again")
    assert (said.code, said.err.count("in the way")) == (4, 1)


def test_shapes_are_built_checked_and_described(limner: Limner) -> None:
    said = limner("data", "build", "shapes", "--out", "shapes", "-n", "6", "--side", "16")
    assert said.out == "shapes\n"
    assert len(list(Path("shapes").glob("*.png"))) == len(list(Path("shapes").glob("*.txt"))) == 6
    assert opened("shapes/000000.png").size == (16, 16)
    assert "6 of 6 usable" in limner("data", "check", "shapes/").out
    Path("shapes/000001.png").write_bytes(b"no picture")
    said = limner("data", "check", "shapes/")
    assert "5 of 6 usable" in said.out
    assert "000001.png" in said.err
    stats = limner("data", "stats", "shapes/", "--json").objects[0]
    assert stats["captions"] == 6
    assert "vocabulary" in limner("data", "stats", "shapes/").out
    assert limner("data", "build", "shapes", "--out", "shapes").code == 4


def test_an_unknown_emoji_pack_is_refused(limner: Limner) -> None:
    said = limner("data", "build", "emoji", "--out", "emoji", "--styles", "cubist")
    assert said.code == 4
    assert "no such emoji pack: cubist" in said.err


def test_emoji_are_built(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.data import emoji

    def build(out: Path, **wishes: object) -> emoji.Report:
        assert wishes["packs"] == ("flat", "noto")
        return emoji.Report(out, 2, {"flat": 2, "noto": 1}, {"noto: shows nothing": 1})

    monkeypatch.setattr(emoji, "build", build)
    said = limner("data", "build", "emoji", "--out", "emoji", "--styles", "flat, noto")
    assert said.out == "emoji\n"
    assert "3 pictures of 2 concepts: flat 2, noto 1" in said.err
    assert "left out 1: noto: shows nothing" in said.err


TRAINED = [
    *("--set", "model.stages.0.network.width=8", "--set", "model.stages.0.network.multipliers=[1, 2]"),
    *("--set", "model.stages.0.network.attention=[]", "--set", "model.stages.0.network.head_width=8"),
    *("--set", "model.stages.0.network.side=8", "--set", "model.stages.0.network.text.depth=1"),
    *("--set", "training.0.steps=3", "--set", "training.0.batch=2", "--set", "training.0.sample_every=0"),
]


def test_a_model_is_trained_exported_and_drawn_with(limner: Limner) -> None:
    said = limner("train", "glide-shapes", "--stage", "base", "--out", "run", "--device", "cpu", "--threads", "1", *TRAINED)
    assert (said.code, said.out) == (0, "run/step-00000003\n")
    Path("notes.md").write_text("Made by a test.\n", encoding="utf-8")
    said = limner("export", "run", "--out", "mine", "--notes", "notes.md", "--dtype", "float32", "--json")
    assert said.objects == [{"checkpoint": "mine"}]
    assert "Made by a test." in limner("models", "show", "mine", "--card").out
    assert limner("draw", "a red circle", "-m", "mine", "-s", "1", "--steps", "2").lines == ["1-a-red-circle-000.png"]


def test_flags_go_before_environment_before_files(limner: Limner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def seed(*flags: str) -> int:
        return int(limner("draw", "fox", "--dry-run", "--json", *flags).objects[0]["seeds"][0])

    (tmp_path / "none.toml").write_text('[draw]\nseed = "1"\nmodel = "tiny"\n', encoding="utf-8")
    assert seed() == 1
    Path("limner.toml").write_text("[draw]\nseed = 2\n", encoding="utf-8")
    assert seed() == 2
    monkeypatch.setenv("LIMNER_DRAW_SEED", "3")
    assert seed() == 3
    assert seed("--seed", "4") == 4
    monkeypatch.setenv("LIMNER_MODEL", "none")
    assert limner("draw", "fox", "--dry-run").code == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[drow]\nseed = 1", "[drow]: no such verb; did you mean 'draw'?"),
        ("[draw]\nsead = 1", "draw.sead: no such flag; did you mean 'seed'?"),
        ("[data.chek]\nx = 1", "[data.chek]: no such verb; did you mean 'check'?"),
        ("seed = 1", "seed: no such flag"),
        ("[draw", "not readable as TOML"),
    ],
)
def test_a_settings_file_that_does_not_fit(limner: Limner, text: str, said: str) -> None:
    Path("limner.toml").write_text(text, encoding="utf-8")
    ended = limner("draw", "fox")
    assert ended.code == 2
    assert said in ended.err


def test_the_users_file_lies_where_the_platform_keeps_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LIMNER_CONFIG")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_files.user_file() == tmp_path / "limner" / "config.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert settings_files.user_file().name == "config.toml"


def test_json_messages_are_whole_objects(limner: Limner) -> None:
    said = limner("models", "show", "none", "--log-format", "json")
    assert json.loads(said.err)["level"] == "error"
