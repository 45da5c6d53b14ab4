"""Whatever a person gets wrong: one clear line, how to go on, the documented exit code, and nothing half-written."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Limner, Said

LIMIT = 400  # bytes a file may grow to on the "full" disk


def check(said: Said, code: int, *words: str) -> None:
    assert said.code == code
    first, *rest = said.err.splitlines()
    assert first.startswith("limner: error: ")
    assert len(rest) == 1
    for word in words:
        assert word in first
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not list(Path().glob("**/*.png"))


@pytest.mark.parametrize("prompt", [[], [""], ["  \t "]])
def test_an_empty_prompt(drawn: Limner, prompt: list[str]) -> None:
    check(drawn(*prompt), 2, "prompt: it is empty")


@pytest.mark.parametrize("prompt", ["a\x00b", "\x1b[2Jfox", "a\x07", "a\x9bfox"])
def test_control_characters(drawn: Limner, prompt: str) -> None:
    said = drawn(prompt)
    check(said, 2, "prompt: holds control characters (U+00")
    assert prompt not in said.err


def test_bytes_that_are_no_text(drawn: Limner) -> None:
    check(drawn("a \udcff fox"), 2, "U+DCFF")


def test_ten_thousand_characters_are_drawn_and_the_rest_is_said(drawn: Limner) -> None:
    said = drawn("fox " * 2500, "-o", "x.png")
    assert said.code == 0
    assert "it will not see" in said.err


def test_more_are_refused(drawn: Limner) -> None:
    check(drawn("x" * 10_001), 2, "10,001 characters; at most 10,000")


@pytest.mark.parametrize("prompt", ["🦊🍕", "一只红色的狐狸", "лиса", "a fox\nin two lines", "--", "{seed}", "../../etc"])
def test_any_script_is_drawn_and_no_prompt_chooses_a_folder(drawn: Limner, prompt: str) -> None:
    said = drawn("-q", "--", prompt)
    assert said.code == 0
    assert Path(said.lines[0]).parent == Path()
    assert Path(said.lines[0]).is_file()


@pytest.mark.parametrize("size", ["512x512", "0x0", "-1", "abc", "16x", "8x16", "16x16x16", "99999999999999999999"])
def test_impossible_sizes(drawn: Limner, size: str) -> None:
    check(drawn("fox", f"--size={size}"), 2, "size: ")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-n", "0"], "-n"),
        (["-n", "99999999"], "draw: n: "),
        (["--seed", "lucky"], "neither an integer nor 'random'"),
        (["--steps", "lots"], "steps: 'lots'"),
        (["--steps", "999"], "steps: '999'"),
        (["--guidance", "-3"], "guidance"),
        (["--sampler", "plms"], "sampler"),
        (["--guidance", "1", "--negative", "dog"], "negative prompt"),
        (["--device", "quantum"], "device 'quantum'"),
        (["--dtype", "int4"], "dtype"),
        (["--set", "stages.0.sampling.step=3"], "did you mean 'steps'"),
        (["--set", "nonsense"], "path.to.setting=value"),
        (["--out", "{prompt}.png"], "no field {prompt}"),
        (["--out", "fox.tga"], "must end in"),
        (["--stepps", "3"], "--stepps"),
        (["--prompt-file", "x.txt"], "choose one"),
    ],
)
def test_flags_that_do_not_fit(drawn: Limner, flags: list[str], said: str) -> None:
    check(drawn("fox", *flags), 2, said)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "holds no prompt"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"fox\n{broken", "line 2: not a JSON object"),
        (b'{"words": "fox"}', "no text under 'prompt'"),
        (b'{"prompt": "fox", "step": 3}', "did you mean 'steps'"),
        (b"fox\na\x01b", "line 2: prompt: holds control characters"),
    ],
)
def test_prompt_files_that_do_not_fit(drawn: Limner, content: bytes, said: str) -> None:
    Path("prompts.txt").write_bytes(content)
    check(drawn("--prompt-file", "prompts.txt"), 2, said)


def test_a_prompt_file_that_is_not_there(drawn: Limner) -> None:
    check(drawn("--prompt-file", "none.txt"), 2, "none.txt: cannot be read")


def test_an_unknown_verb_is_said_with_the_nearest(limner: Limner) -> None:
    check(limner("drow", "fox"), 2, "'drow'", "draw")


def test_a_model_that_is_not_there(limner: Limner) -> None:
    check(limner("draw", "fox", "-m", "tyni"), 3, "no such model", "did you mean 'tiny'")


@pytest.fixture
def broken(tiny: Path) -> Path:
    """A checkpoint to damage."""
    return Path(shutil.copytree(tiny, "broken"))


def test_a_missing_weights_file(limner: Limner, broken: Path) -> None:
    (broken / "base.safetensors").unlink()
    check(limner("draw", "fox", "-m", "broken"), 3, "base.safetensors: missing")


def test_a_truncated_weights_file(limner: Limner, broken: Path) -> None:
    file = broken / "base.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    check(limner("draw", "fox", "-m", "broken"), 3, "base.safetensors: sha256")
    (broken / "SHA256SUMS").unlink()
    check(limner("draw", "fox", "-m", "broken"), 3, "not a whole safetensors file")


def test_settings_of_another_network(limner: Limner, broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    config["stages"][0]["network"]["width"] = 16
    (broken / "config.json").write_text(json.dumps(config))
    check(limner("draw", "fox", "-m", "broken"), 3, "does not fit the network", "misshapen")


def test_a_wrong_key_in_the_settings_of_a_checkpoint(limner: Limner, broken: Path) -> None:
    config = json.loads((broken / "config.json").read_text())
    config["stages"][0]["network"]["widht"] = 16
    (broken / "config.json").write_text(json.dumps(config))
    check(limner("draw", "fox", "-m", "broken"), 2, "stages[0].network.widht", "did you mean 'width'")


def test_a_missing_vocabulary(limner: Limner, broken: Path) -> None:
    (broken / "SHA256SUMS").unlink()
    (broken / "vocabulary.json").unlink()
    check(limner("draw", "fox", "-m", "broken"), 3, "vocabulary")


def test_a_wrong_key_of_a_preset(limner: Limner) -> None:
    check(
        limner("train", "glide-shapes", "--stage", "base", "--out", "run", "--set", "model.stages.0.network.widht=3"),
        2,
        "'width'",
    )
    Path("mine.toml").write_text('extends = "glide-shapes"\n[model]\nnmae = "mine"\n', encoding="utf-8")
    check(limner("train", "mine.toml", "--stage", "base", "--out", "run"), 2, "model.nmae", "did you mean 'name'")
    check(limner("train", "glide-shaeps", "--stage", "base", "--out", "run"), 2, "did you mean 'glide-shapes'")
    check(limner("train", "glide-shapes", "--stage", "bass", "--out", "run"), 2, "no stage 'bass'", "base")
    assert not Path("run").exists()


def test_data_that_is_not_there(limner: Limner) -> None:
    check(limner("train", "glide-shapes", "--stage", "base", "--out", "run", "--data", "nowhere"), 4, "no such data source")
    check(limner("data", "check", "nowhere"), 4, "no such data source")
    check(limner("data", "stats", "nowhere"), 4, "no such data source")


def test_a_run_that_is_none(limner: Limner) -> None:
    check(limner("export", "nowhere", "--out", "model"), 3, "nowhere: not a training run")
    check(limner("export", "nowhere", "--out", "model", "--notes", "none.md"), 2, "none.md: cannot be read")
    check(limner("export", "nowhere", "--out", "model", "--notes", "*My* model"), 2, "name a file of Markdown")


def test_more_threads_than_a_process_can_have(limner: Limner) -> None:
    check(limner("train", "glide-shapes", "--stage", "base", "--out", "run", "--threads", "100000"), 2, "--threads")


def test_a_picture_that_is_none(limner: Limner) -> None:
    Path("x.txt").write_text("fox", encoding="utf-8")
    check(limner("reproduce", "none.png"), 2, "none.png: cannot be read")
    check(limner("reproduce", "x.txt"), 2, "x.txt: not a picture")


def test_an_output_folder_that_cannot_be_made_is_said_before_drawing(drawn: Limner) -> None:
    Path("file").write_text("", encoding="utf-8")
    check(drawn("fox", "-o", "file/{seed}.png"), 1, "file: cannot be written, ", "is a file")


def test_a_failure_leaves_no_empty_folder(limner: Limner) -> None:
    assert limner("draw", "fox", "-m", "none", "-o", "new/").code == 3
    assert not Path("new").exists()


def test_a_folder_of_shapes_appears_whole_or_not_at_all(limner: Limner) -> None:
    Path("file").write_text("", encoding="utf-8")
    check(limner("data", "build", "shapes", "--out", "file/shapes", "-n", "2"), 4, "file/shapes: cannot be written")
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_a_full_disk_leaves_nothing_behind(tiny: Path) -> None:
    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))

    # -B: Python would keep a compiled file cut short, and every later process would stumble over it.
    command = [sys.executable, "-B", "-m", "limner", "draw", "fox", "--model", str(tiny), "--out", "pictures/"]
    ended = subprocess.run(command, capture_output=True, text=True, preexec_fn=full, check=False)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "cannot write the picture" in ended.stderr.splitlines()[-2]
    assert list(Path("pictures").iterdir()) == []
