"""Byte-level BPE the slow and plain way, as the papers describe it, to hold `limner.tokens` against.

Written without `tokenizers` and without its regular expressions: characters are classed by `unicodedata`, words are cut
by hand, and merges are tried one rank at a time.
"""

from __future__ import annotations

import gzip
import json
import unicodedata
from functools import cache
from itertools import pairwise
from pathlib import Path

import limner.vocab

FOLDER = Path(limner.vocab.__file__).parent
CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
SPECIAL = ("<|startoftext|>", "<|endoftext|>")


def kind(c: str) -> str:
    """L letter, N number, S white space, O anything else."""
    category = unicodedata.category(c)
    if category[0] == "Z" or c in "\t\n\v\f\r\x85":
        return "S"
    return category[0] if category[0] in "LN" else "O"


def run_end(text: str, at: int, wanted: str) -> int:
    while at < len(text) and kind(text[at]) == wanted:
        at += 1
    return at


def gpt2_words(text: str) -> list[str]:
    words, at = [], 0
    while at < len(text):
        contraction = next((c for c in CONTRACTIONS if text.startswith(c, at)), None)
        start = at + (text[at] == " ")  # one space belongs to the word after it
        if contraction:
            end = at + len(contraction)
        elif start < len(text) and kind(text[start]) != "S":
            end = run_end(text, start, kind(text[start]))
        else:
            end = run_end(text, at, "S")
            if end < len(text) and end - at > 1:
                end -= 1  # the last space is left for the next word
        words.append(text[at:end])
        at = end
    return words


def clip_words(text: str) -> list[str]:
    folded = text.replace("\u017f", "s")  # the only character left after lower-casing that folds into these strings
    words, at = [], 0
    while at < len(text):
        fixed = next((c for c in (*SPECIAL, *CONTRACTIONS) if folded.startswith(c, at)), None)
        if fixed:
            end = at + len(fixed)
        elif kind(text[at]) == "N":
            end = at + 1
        else:
            end = run_end(text, at, kind(text[at]))
        if fixed or kind(text[at]) != "S":
            words.append(text[at:end])
        at = end
    return words


@cache
def letters() -> dict[int, str]:
    """Byte -> the letter that stands for it, in the order of the vocabularies."""
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    table = {b: chr(b) for b in printable}
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + len(table) - len(printable))
    return table


def merged(parts: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    while len(parts) > 1:
        rank, pair = min((ranks.get(p, 10**9), p) for p in pairwise(parts))
        if rank == 10**9:
            break
        out, at = [], 0
        while at < len(parts):
            if tuple(parts[at : at + 2]) == pair:
                out.append(parts[at] + parts[at + 1])
                at += 2
            else:
                out.append(parts[at])
                at += 1
        parts = out
    return parts


def content(name: str) -> str:
    return gzip.decompress((FOLDER / name).read_bytes()).decode()


@cache
def gpt2_tables() -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    numbers = json.loads(content("encoder.json.gz"))
    rows = content("vocab.bpe.gz").split("\n")[1:-1]
    return numbers, {(row.split()[0], row.split()[1]): rank for rank, row in enumerate(rows)}


@cache
def clip_tables() -> tuple[dict[str, int], dict[tuple[str, str], int]]:
    rows = content("bpe_simple_vocab_16e6.txt.gz").split("\n")[1:48895]
    pairs = [(row.split()[0], row.split()[1]) for row in rows]
    entries = [*letters().values(), *(c + "</w>" for c in letters().values()), *(a + b for a, b in pairs), *SPECIAL]
    return {entry: i for i, entry in enumerate(entries)}, {pair: rank for rank, pair in enumerate(pairs)}


def gpt2_ids(text: str) -> list[int]:
    numbers, ranks = gpt2_tables()
    spelled = ([letters()[b] for b in word.encode()] for word in gpt2_words(text.lower()))
    return [numbers[part] for word in spelled for part in merged(word, ranks)]


def clip_ids(cleaned: str) -> list[int]:
    numbers, ranks = clip_tables()
    out = []
    for word in clip_words(cleaned):
        spelled = [letters()[b] for b in word.encode()]
        spelled[-1] += "</w>"
        out += [numbers[word]] if word in SPECIAL else [numbers[part] for part in merged(spelled, ranks)]
    return out


def bytes_of(ids: list[int], numbers: dict[str, int]) -> bytes:
    """What ids spell, byte by byte; the word ends of CLIP's vocabulary stay `</w>`."""
    entries, back = {i: entry for entry, i in numbers.items()}, {letter: b for b, letter in letters().items()}
    return bytes(back[c] for i in ids for c in entries[i])
