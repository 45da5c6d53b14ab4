"""Scenes: every step kept, nothing drawn twice, errors that name the script and the step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import limner
from limner import images, recipe
from limner.errors import ConfigError, LimnerError
from limner.systems import scenes
from limner.systems.drawing import Pipe, load_pipe
from limner.systems.scenes import Shot

SCRIPT = """
[defaults]
seed = 5
[[steps]]
prompt = "a red fox"
[[steps]]
prompt = "a house"
mask = "0,0,8,16"
steps = 3
soft = 1
[[steps]]
prompt = "a blue house"
mask = "all"
strength = 0.5
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "scene.toml"
    file.write_text(SCRIPT, encoding="utf-8")
    return file


def loaded(place: Path) -> Pipe:
    return load_pipe(place, dtype="float32")


def play(script: Path, tiny: Path, redo: int | None = None) -> list[Shot]:
    """The shots of a script, kept in a folder beside it."""
    items = scenes.play(scenes.read(script), script.parent / "out", loaded, model=str(tiny), redo=redo)
    return [item for item in items if isinstance(item, Shot)]


def changed(script: Path, old: str, new: str) -> None:
    script.write_text(script.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def fresh(shots: list[Shot]) -> list[bool]:
    return [shot.fresh for shot in shots]


def test_every_step_stands_on_the_picture_before_it(script: Path, tiny: Path) -> None:
    shots = play(script, tiny)
    assert [shot.path.name for shot in shots] == ["01-a-red-fox.png", "02-a-house.png", "03-a-blue-house.png"]
    assert [recipe.read(shot.path).verb for shot in shots] == ["draw", "edit", "sketch"]
    first, second, third = (np.asarray(images.open_picture(shot.path)) for shot in shots)
    assert (first == np.asarray(limner.load(tiny, dtype="float32")("a red fox", seed=5)[0].picture)).all()
    assert (first[:, 8:] == second[:, 8:]).all()
    assert (first[:, :8] != second[:, :8]).any()
    assert (second != third).any()
    assert recipe.read(shots[1].path).stages[0].steps == "3"


def test_what_is_in_the_folder_is_not_drawn_again(script: Path, tiny: Path) -> None:
    one = play(script, tiny)
    two = play(script, tiny)
    assert (fresh(one), fresh(two)) == ([True] * 3, [False] * 3)
    assert [shot.path for shot in one] == [shot.path for shot in two]


def test_a_changed_step_is_drawn_again_with_all_after_it_and_the_old_pictures_stay(script: Path, tiny: Path) -> None:
    play(script, tiny)
    changed(script, "steps = 3", "steps = 2")
    assert fresh(play(script, tiny)) == [False, True, True]
    assert len(list((script.parent / "out").iterdir())) == 5
    changed(script, "steps = 2", "steps = 3")
    assert fresh(play(script, tiny)) == [False, False, False]  # the first ones serve again


def test_a_step_can_be_done_again(script: Path, tiny: Path) -> None:
    changed(script, "seed = 5\n", "")
    first = play(script, tiny)
    second = play(script, tiny, redo=2)
    assert fresh(second) == [False, True, True]
    assert recipe.read(first[1].path).seed != recipe.read(second[1].path).seed
    assert [shot.path for shot in play(script, tiny)] == [shot.path for shot in second]  # the newest counts


def test_a_scene_may_start_from_a_picture_and_be_json(tmp_path: Path, tiny: Path) -> None:
    PIL.Image.new("RGB", (20, 12), "teal").save(tmp_path / "photo.png")
    PIL.Image.new("L", (20, 12), 255).save(tmp_path / "mask.png")
    file = tmp_path / "scene.json"
    steps = [{"picture": "photo.png"}, {"prompt": "a fox", "mask": "mask.png", "seed": 1}]
    file.write_text(json.dumps({"steps": steps}), encoding="utf-8")
    shots = play(file, tiny)
    assert [shot.image is None for shot in shots] == [True, False]
    assert recipe.read(shots[1].path).parents != ()
    assert images.open_picture(shots[1].path).size == (20, 12)


def test_a_picture_of_another_program_is_passed_over(script: Path, tiny: Path) -> None:
    (script.parent / "out").mkdir()
    (script.parent / "out" / "01-notes.png").write_bytes(b"nothing")
    assert fresh(play(script, tiny)) == [True] * 3


def test_the_last_picture_can_be_reproduced_through_all_steps(script: Path, tiny: Path) -> None:
    shots = play(script, tiny)
    assert all(limner.reproduce(shot.path, model=tiny).identical for shot in shots)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('mask = "0,0,8,16"', 'mask = "0,0,8,99"', "step 2: mask: the box 0,0,8,99"),
        ('mask = "0,0,8,16"', 'mask = "gone.png"', "step 2: .*gone.png: cannot be read"),
        ('mask = "0,0,8,16"', "", "step 2: needs a mask"),
        ('mask = "0,0,8,16"', 'picture = "x.png"\nmask = "all"', "step 2: picture does not belong here"),
        ('prompt = "a red fox"', "", "step 1: needs either a prompt or a picture"),
        ('prompt = "a red fox"', 'picture = "gone.png"', "step 1: .*gone.png: cannot be read"),
        ('prompt = "a red fox"', 'prompt = "a red fox"\nsoft = 3', "step 1: soft does not belong here"),
        ("strength = 0.5", "strength = 7", r"steps\[2\].strength"),
        ("strength = 0.5", "strenght = 0.5", r"steps\[2\].strenght: no such setting; did you mean 'strength'"),
        ("steps = 3", 'steps = "lots"', "step 2: steps: 'lots'"),
        ("seed = 5", 'model = "nowhere"', "step 1: 'nowhere': no such model"),
        ("seed = 5", "seed = ", "not a script in TOML"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_drawn(script: Path, tiny: Path, old: str, new: str, said: str) -> None:
    changed(script, old, new)
    with pytest.raises(LimnerError, match=rf"scene.toml: .*{said}"):
        play(script, tiny)
    assert not (script.parent / "out").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"steps": []}', '{"steps": [7]}', "\ud800"])
def test_json_that_is_no_script_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "scene.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError, match=r"scene\.json: "):
        scenes.read(file)


def test_a_step_that_is_not_there_cannot_be_done_again(script: Path, tiny: Path) -> None:
    with pytest.raises(ConfigError, match="there is no step 4"):
        play(script, tiny, redo=4)


def test_a_script_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        scenes.read(tmp_path / "gone.toml")


def test_each_model_is_loaded_once(script: Path, tiny: Path) -> None:
    asked: list[Path] = []

    def load(place: Path) -> Pipe:
        asked.append(place)
        return loaded(place)

    items: Iterator[object] = scenes.play(scenes.read(script), script.parent / "out", load, model=str(tiny))
    assert sum(isinstance(item, Shot) for item in items) == 3
    assert len(asked) == 1
