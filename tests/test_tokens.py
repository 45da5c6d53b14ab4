"""Prompts become the ids of the official tokenizers, for any text at all."""

from __future__ import annotations

import html
import json
from pathlib import Path

import ftfy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner import tokens
from limner.errors import CheckpointError, ConfigError, InputError
from tests import reference_bpe as reference

# Unassigned characters (Cn) are left out: what counts as a letter there depends on the year of the Unicode tables.
CHARACTERS = st.characters(exclude_categories=("Cs", "Cn"))
SIGNS = ["<|endoftext|>", "<|startoftext|>", "<|", "|>", "!!", "</w>", "&amp;lt;", "&#233;", "'s", "'ll", "'RE", "'\u017f"]
SPACES = [" ", "  ", "\n", "\t ", "\u3000", "\x1f", "\u200d"]
PIECES = st.sampled_from([*SIGNS, *SPACES, "12", "\u017f", "a red fox", "\u0345", "\u0130", "\u0301", "\U0001f98a"])
TEXTS = st.one_of(st.text(CHARACTERS, max_size=40), st.lists(st.one_of(PIECES, CHARACTERS), max_size=12).map("".join))


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_glide_ids_equal_a_plain_reference_for_any_text(text: str) -> None:
    assert tokens.load("gpt2").ids(text) == reference.gpt2_ids(text)


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_clip_ids_equal_a_plain_reference_for_any_text(text: str) -> None:
    assert tokens.load("clip").ids(text) == reference.clip_ids(tokens.clip_clean(text))


@given(TEXTS)
@settings(max_examples=100, deadline=None)
def test_clip_cleaning_collapses_white_space_after_mending_the_text(text: str) -> None:
    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    spaced = "".join(" " if reference.kind(c) == "S" else c for c in mended)
    while "  " in spaced:
        spaced = spaced.replace("  ", " ")
    assert tokens.clip_clean(text) == spaced.strip().lower()


@pytest.mark.parametrize("block", range(0, 0x20000, 0x1000))
def test_every_assigned_character_is_split_as_in_the_reference(block: int) -> None:
    gpt2, clip = tokens.load("gpt2"), tokens.load("clip")
    known = [chr(c) for c in range(block, block + 0x1000) if reference.unicodedata.category(chr(c)) not in ("Cs", "Cn")]
    text = "".join(f"a{c}1{c} {c}" for c in known)
    assert gpt2.ids(text) == reference.gpt2_ids(text)
    assert [piece.id for piece in clip.split(text.lower())] == reference.clip_ids(text.lower())


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_glide_ids_decode_to_the_lower_cased_text(text: str) -> None:
    tokenizer = tokens.load("gpt2")
    assert tokenizer.decode(tokenizer.ids(text)) == text.lower()


@given(st.sampled_from(["gpt2", "clip"]), st.lists(st.integers(0, 49405), max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_ids_decode_as_their_bytes_do(name: str, ids: list[int]) -> None:
    numbers = (reference.gpt2_tables if name == "gpt2" else reference.clip_tables)()[0]
    text = reference.bytes_of(ids, numbers).decode("utf-8", errors="replace")
    assert tokens.load(name).decode(ids) == (text.replace("</w>", " ") if name == "clip" else text)


def test_the_end_string_is_ordinary_text_for_glide_and_special_for_clip() -> None:
    assert tokens.load("gpt2").pad not in tokens.load("gpt2").ids("<|endoftext|>")
    assert tokens.load("clip").ids("<|endoftext|>") == [49407]


def test_a_special_string_inside_a_run_of_signs_is_not_special() -> None:
    assert 49407 not in tokens.load("clip").ids("!<|endoftext|>")


def test_an_empty_prompt_is_all_padding() -> None:
    batch = tokens.load("gpt2").encode([""], 128)
    assert batch.ids.tolist() == [[50256] * 128]
    assert not batch.mask.any()


def test_a_batch_is_int64_and_its_mask_bool() -> None:
    batch = tokens.load("gpt2").encode(["a red fox", ""], 8)
    assert (batch.ids.dtype, batch.mask.dtype, batch.ids.shape) == (torch.int64, torch.bool, (2, 8))
    assert batch.mask.sum(1).tolist() == [3, 0]


def test_a_full_prompt_has_no_padding() -> None:
    batch = tokens.load("gpt2").encode(["word " * 200], 128)
    assert batch.mask.all()


def test_a_cut_clip_prompt_still_ends_with_the_end_token() -> None:
    batch = tokens.clip_tokenize(["word " * 200], truncate=True)
    assert batch.ids[0, [0, -1]].tolist() == [49406, 49407]


def test_a_long_clip_prompt_is_refused_with_the_words_that_do_not_fit() -> None:
    with pytest.raises(InputError, match=r"78 tokens, the context holds 77.*does not fit: 'fox'"):
        tokens.clip_tokenize(["word " * 75 + "fox"])


def test_nothing_is_cut_from_a_prompt_that_fits() -> None:
    assert tokens.load("gpt2").cut("a red fox", 3) == ""


@pytest.mark.parametrize("name", ["gpt2", "clip"])
def test_cut_names_the_words_beyond_the_context(name: str) -> None:
    room = 128 if name == "gpt2" else 126
    assert tokens.load(name).cut("word " * room + "a purple Fox", 128) == "a purple fox"


def test_a_word_cut_in_the_middle_is_named_whole() -> None:
    text = "a corgi wearing a bowtie"
    assert [tokens.load("gpt2").cut(text, n) for n in (2, 5, 6)] == ["corgi wearing a bowtie", "bowtie", "bowtie"]


def test_text_without_spaces_is_cut_at_the_character() -> None:
    lost = tokens.load("gpt2").cut("\u732b" * 300, 30)
    assert lost
    assert 200 < len(lost) < 300


@given(TEXTS, st.integers(3, 9), st.sampled_from(["gpt2", "clip"]))
@settings(max_examples=200, deadline=None)
def test_what_is_cut_is_the_end_of_the_prompt_and_only_when_it_is_too_long(text: str, context: int, name: str) -> None:
    tokenizer = tokens.load(name)
    room = context - len(tokenizer.frame)
    lost = tokenizer.cut(text, context)
    assert tokenizer.clean(text).rstrip().endswith(lost)
    if len(tokenizer.ids(text)) <= room:
        assert lost == ""
    elif not tokenizer.decode(tokenizer.ids(text)[room:]).isspace():
        assert lost


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(InputError, match="character 3 is half of a surrogate pair"):
        tokens.load("gpt2").encode(["a \ud83d"], 8)


def test_a_bare_string_is_refused() -> None:
    with pytest.raises(InputError, match="a list of prompts"):
        tokens.load("gpt2").encode("a red fox", 8)


@pytest.mark.parametrize(("name", "context"), [("gpt2", 0), ("clip", 2)])
def test_a_context_without_room_is_refused(name: str, context: int) -> None:
    with pytest.raises(InputError, match=f"a context of {context} tokens has no room"):
        tokens.load(name).encode(["a"], context)


@pytest.mark.parametrize("wrong", [-1, 50257])
def test_an_id_outside_the_vocabulary_is_refused(wrong: int) -> None:
    with pytest.raises(InputError, match=rf"token id {wrong} is not in the vocabulary 'gpt2' \(0 to 50256\)"):
        tokens.load("gpt2").decode([wrong])


CAPTIONS = ["A red fox", "a blue fox above a RED square", "two  green apples next to a fox"] * 5


def test_a_trained_vocabulary_is_loaded_back_as_it_was(tmp_path: Path) -> None:
    trained = tokens.train(CAPTIONS, 300, tmp_path / "words.json")
    loaded = tokens.load("words.json", tmp_path)
    assert loaded.size == trained.size <= 300
    assert loaded.ids("a red fox") == trained.ids("a red fox")


def test_training_twice_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        tokens.train(CAPTIONS, 300, tmp_path / name)
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()


def test_a_trained_vocabulary_knows_frequent_words_and_no_upper_case(tmp_path: Path) -> None:
    tokenizer = tokens.train(CAPTIONS, 320, tmp_path / "words.json")
    assert len(tokenizer.ids("fox")) == 1
    assert tokenizer.ids("  A\nRED  Fox ") == tokenizer.ids("a red fox")


def test_padding_of_a_trained_vocabulary_is_never_spelled_by_a_prompt(tmp_path: Path) -> None:
    tokenizer = tokens.train(CAPTIONS, 300, tmp_path / "words.json")
    assert tokenizer.pad == 0
    assert 0 not in tokenizer.ids("<|pad|> fox")
    assert tokenizer.encode([""], 4).mask.sum() == 0


def test_a_trained_vocabulary_spells_any_text(tmp_path: Path) -> None:
    tokenizer = tokens.train(CAPTIONS, 300, tmp_path / "words.json")
    for text in ("\u4e2d\u6587", "\U0001f98a\x00\x07", "\u00df\u0130"):
        assert tokenizer.decode(tokenizer.ids(text)).strip() == text.lower()


def test_words_cut_by_a_trained_vocabulary_are_those_of_the_prompt(tmp_path: Path) -> None:
    tokenizer = tokens.train(CAPTIONS, 320, tmp_path / "words.json")
    context = len(tokenizer.ids("a  red  Fox"))
    assert tokenizer.cut("a  red  Fox ABOVE me", context) == "ABOVE me"


def test_a_vocabulary_without_room_for_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 257 entries"):
        tokens.train(CAPTIONS, 256, tmp_path / "words.json")


def test_a_missing_vocabulary_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"words\.json: the vocabulary file of this checkpoint is missing"):
        tokens.load("words.json", tmp_path)


@pytest.mark.parametrize("content", ["", "no json", json.dumps({"model": 3}), "[]"])
def test_a_file_that_is_no_vocabulary_is_refused_in_one_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "words.json").write_text(content)
    with pytest.raises(CheckpointError, match="not a tokenizer file") as caught:
        tokens.load("words.json", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../words.json", "/etc/words.json", "a/b"])
def test_a_vocabulary_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="the name of a file in the checkpoint folder"):
        tokens.load(name, tmp_path)


def test_a_file_name_without_a_folder_is_refused() -> None:
    with pytest.raises(ConfigError, match="no checkpoint folder"):
        tokens.load("words.json")
