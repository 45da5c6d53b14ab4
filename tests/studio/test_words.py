"""The token counter and the mark under what is cut."""

from __future__ import annotations

from limner import tokens
from limner.studio import words
from limner.studio.words import Count


def test_a_prompt_that_fits_is_counted_and_nothing_is_marked() -> None:
    counted = words.count(tokens.load("clip"), 77, "a red fox")
    assert counted == Count(3, 75, "")
    assert words.counter(counted) == '<p class="lm-count">3 of 75 tokens</p>'


def test_the_words_that_the_model_does_not_see_are_marked() -> None:
    counted = words.count(tokens.load("clip"), 4, "a red <fox>")
    assert counted.cut == "<fox>"
    assert "<mark>&lt;fox&gt;</mark>" in words.counter(counted)


def test_of_a_long_text_the_beginning_of_what_is_cut_is_shown() -> None:
    line = words.counter(words.count(tokens.load("clip"), 4, "a red " + "fox " * 2000))
    assert "<mark>fox fox" in line
    assert "fox …</mark> and everything after" in line
    assert len(line) < 2 * words.LONG


def test_a_model_without_words_says_so() -> None:
    assert "reads no words" in words.counter(None)
