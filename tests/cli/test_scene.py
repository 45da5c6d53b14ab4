"""`limner scene`, and `limner reproduce` of what was edited."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.cli.conftest import Limner, opened

SCRIPT = """
[defaults]
model = "tiny"
seed = 0
[[steps]]
prompt = "a fox"
[[steps]]
prompt = "a house"
mask = "0,0,8,16"
"""


def test_a_scene_is_built_kept_and_drawn_again(limner: Limner) -> None:
    Path("scene.toml").write_text(SCRIPT, encoding="utf-8")
    said = limner("scene", "scene.toml", "-o", "out")
    assert said.lines == ["out/01-a-fox.png", "out/02-a-house.png"]
    assert "step 2 of 2: drawn" in said.err
    assert "step 2 of 2: kept" in limner("scene", "scene.toml", "-o", "out").err
    assert [each["fresh"] for each in limner("scene", "scene.toml", "-o", "out", "--redo", "2", "--json").objects] == [
        False,
        True,
    ]
    said = limner("reproduce", "out/02-a-house.png")
    assert said.lines == ["identical out/01-a-fox.png", "identical out/02-a-house.png"]


def test_what_is_wrong_with_a_script_is_one_line(limner: Limner) -> None:
    Path("scene.toml").write_text(SCRIPT.replace("0,0,8,16", "0,0,8,17"), encoding="utf-8")
    said = limner("scene", "scene.toml", "-o", "out")
    assert said.code == 2
    assert said.err.startswith("limner: error: scene.toml: step 2: mask: the box 0,0,8,17")
    assert not Path("out").exists()


def test_an_edit_needs_its_parent_to_be_drawn_again(limner: Limner) -> None:
    limner("draw", "a fox", "-m", "tiny", "-s", "0", "-o", "old.png")
    limner("sketch", "old.png", "a cat", "-m", "tiny", "-s", "0", "-o", "new.png")
    Path("apart").mkdir()
    shutil.move("new.png", "apart/new.png")
    said = limner("reproduce", "apart/new.png")
    assert said.code == 2
    assert "not at hand (sha256 " in said.err
    assert limner("reproduce", "apart/new.png", "--parent", "old.png").lines == ["identical old.png", "identical apart/new.png"]
    assert limner("reproduce", "apart/new.png", "--parent", ".", "--no-chain").lines == ["identical apart/new.png"]


def test_the_method_is_chosen(limner: Limner) -> None:
    limner("draw", "a fox", "-m", "tiny", "-s", "0", "-o", "old.png")
    flags = ("old.png", "a cat", "-m", "tiny", "-s", "0")
    said = limner("edit", *flags, "--mask", "0,0,4,4", "--method", "trained")
    assert said.code == 2
    assert "no model 'tiny-inpaint' trained to inpaint" in said.err
    assert limner("outpaint", *flags, "--left", "4", "--method", "replacement", "-o", "wide.png").code == 0
    assert opened("wide.png").size == (20, 16)


def test_what_a_picture_loses_is_said(limner: Limner) -> None:
    limner("draw", "a fox", "-m", "tiny", "-s", "0", "-o", "old.png")
    opened("old.png").convert("CMYK").save("old.tif")
    assert "the picture: CMYK became RGB" in limner("sketch", "old.tif", "a cat", "-m", "tiny", "-s", "0").err
