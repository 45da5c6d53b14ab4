from __future__ import annotations

import json
import math
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.errors import ConfigError
from limner.serving import safety
from limner.serving.safety import Policy, Refused


def policy(*rules: dict[str, Any], **more: Any) -> Policy:
    return Policy(safety.PolicySettings.model_validate({"rules": [{"name": "r", **rule} for rule in rules]}), **more)


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("gun", "a Gun, please"),
        ("gun", "ｇｕｎ"),  # full width
        ("gun", "g\u200bu\u200dn"),  # invisible characters within
        ("gun", "gún"),
        ("café noir", "CAFE   noir"),
        ("cafe\u0301 noir", "café-noir"),
        ("STRASSE", "straße"),
        ("big_gun", "one big gun"),
        ("暴力", "これは暴力です"),
        ("ปืน", "ภาพปืนใหญ่"),
        ("🔫", "a 🔫 here"),
        ("☠️", "a ☠ here"),
        ("пистолет", "ПИСТОЛЕТ"),
        ("총", "총 하나"),
    ],
)
def test_a_word_is_found_in_every_dress(word: str, prompt: str) -> None:
    found = policy({"words": [word]}).check_prompt(prompt)
    assert found is not None
    assert found.rule == "r"


@pytest.mark.parametrize("prompt", ["a gunner", "begun", "a big one", "bigun", ""])
def test_a_word_is_found_whole_or_not_at_all(prompt: str) -> None:
    assert policy({"words": ["gun", "big gun"]}).check_prompt(prompt) is None


def test_a_refusal_does_not_repeat_what_it_found() -> None:
    found = policy({"words": ["zebra"], "name": "animals"}).check_prompt("a zebra")
    assert found is not None
    assert "animals" in found.message
    assert "zebra" not in found.message


def test_patterns_see_the_folded_prompt() -> None:
    rules = policy({"patterns": [r"\bRED.{0,20}fox\b"]})
    assert rules.check_prompt("a Réd\n and furry FOX") is not None
    assert rules.check_prompt("a fox, red") is None


def test_a_request_for_low_moderation_skips_the_rules_that_allow_it() -> None:
    rules = policy({"words": ["a"], "level": "auto"}, {"words": ["b"], "level": "always", "name": "strict"})
    assert rules.check_prompt("a", "low") is None
    assert rules.check_prompt("a", "auto") is not None
    refusal = rules.check_prompt("a b", "low")
    assert refusal is not None
    assert refusal.rule == "strict"


@pytest.mark.parametrize("pattern", [r"(a|aa)+$", r"(x+x+)+y"])
def test_a_catastrophic_pattern_ends_in_a_refusal_and_stops_nobody_else(pattern: str) -> None:
    rules = policy({"patterns": [pattern]})
    turns = 0
    over = threading.Event()

    def work() -> None:
        nonlocal turns
        while not over.wait(0.01):
            turns += 1

    other = threading.Thread(target=work)
    other.start()
    began = time.monotonic()
    found = rules.check_prompt("a" * 16_000 + "x" * 16_000)
    took = time.monotonic() - began
    over.set()
    other.join()
    assert found is not None
    assert "in time" in found.message
    assert took < 10
    assert turns > 3


def test_a_long_list_and_a_long_prompt_are_checked_soon() -> None:
    rules = policy({"words": [f"word{number} of{number}" for number in range(50_000)]})
    began = time.monotonic()
    assert rules.check_prompt("word1 of2 " * 3200) is None
    assert rules.check_prompt("word1 of2 " * 3000 + "word49999 of49999") is not None
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"patterns": ["("]}, r"rules\.0\.patterns\.0: no regular expression"),
        ({"patterns": ["a*"]}, r"patterns\.0: fits every prompt"),
        ({"words": [" "]}, r"rules\.0\.words: holds an empty word"),
    ],
)
def test_a_rule_that_cannot_work_is_refused_at_the_start(rule: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        policy(rule)


def test_policies_are_read_from_toml_and_json(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "p.toml", tmp_path / "p.json"
    toml.write_text('[[rules]]\nname = "r"\nwords = ["fox"]\n')
    as_json.write_text(json.dumps({"rules": [{"name": "r", "words": ["fox"]}]}))
    for path in (toml, as_json):
        assert safety.load(path).check_prompt("a fox") is not None
        assert safety.load(path).check_prompt("a cat") is None


def test_an_empty_policy_refuses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "none.toml"
    path.write_text("")
    assert safety.load(path).check_prompt("hentai porn gun") is None


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("p.toml", "[[rules", "cannot be read as a policy"),
        ("p.json", "[" * 100_000, "cannot be read as a policy|policy"),
        ("p.toml", "[[rules]]\nname='x'\nword=['a']", "did you mean 'words'"),
        ("p.toml", "[[rules]]\nname='x'\nlevel='never'", "level"),
        ("p.toml", "x = '" + "y" * 2**20 + "'", "larger"),
        ("p.toml", "[pictures]\nauto = 7", "auto"),
    ],
)
def test_a_file_that_is_no_policy_is_refused_with_its_name(name: str, text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=why) as caught:
        safety.load(tmp_path / name)
    assert name in str(caught.value)


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml.*No such file"):
        safety.load(tmp_path / "none.toml")


@pytest.mark.parametrize("prompt", ["child porn", "a nude teenager", "an underage girl, naked", "Ｌｏｌｉcon"])
@pytest.mark.parametrize("level", ["auto", "low"])
def test_limners_own_policy_never_draws_minors_so(prompt: str, level: safety.Level) -> None:
    refusal = safety.load().check_prompt(prompt, level)
    assert refusal is not None
    assert refusal.rule == "minors"


def test_limners_own_policy_leaves_ordinary_prompts_and_low_moderation_alone() -> None:
    own = safety.load()
    ordinary = ["a red fox", "children playing in the snow", "a nude by Modigliani", "Essex, Sussex", "a teen wolf", "woman"]
    assert [prompt for prompt in ordinary if own.check_prompt(prompt)] == []
    assert own.check_prompt("a porn star", "auto") is not None
    assert own.check_prompt("a porn star", "low") is None


GREY = Image.new("LA", (4, 4), (128, 255))


@pytest.mark.parametrize(
    ("sure", "level", "refused"),
    [(0.69, "auto", False), (0.7, "auto", True), (0.89, "low", False), (0.9, "low", True), (math.nan, "auto", True)],
)
def test_a_picture_is_refused_from_the_certainty_of_its_level_on(sure: float, level: safety.Level, refused: bool) -> None:
    seen = []

    def classify(picture: Image.Image) -> float:
        seen.append(picture.mode)
        return sure

    assert (policy(classify=classify).check_picture(GREY, level) is not None) == refused
    assert seen == ["RGB"]


def test_without_a_classifier_pictures_pass() -> None:
    assert policy().check_picture(GREY) is None


def test_allow_raises_for_words_first_and_then_for_pictures() -> None:
    rules = policy({"words": ["fox"], "name": "animals"}, classify=lambda _: 1.0)
    with pytest.raises(Refused, match="animals") as caught:
        rules.allow("a fox", picture=GREY)
    assert caught.value.exit_code == 6
    with pytest.raises(Refused, match="classifier"):
        rules.allow("a cat", picture=GREY)
    rules.allow("a cat")
