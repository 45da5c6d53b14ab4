"""Byte-level BPE: prompts to token ids and back.

Three kinds of vocabulary: "gpt2" as GLIDE uses it, "clip" as CLIP and GLIDE's noised CLIP use it, and small ones
trained for bundled models (a `tokenizers` JSON file in the checkpoint folder). Nothing is read before `load` is called.
The text transformers that eat these ids live in `networks/transformer.py`.
"""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import tokenizers
import torch
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor

from limner.errors import CheckpointError, ConfigError, InputError

PAD = "<|pad|>"  # the first entry of a trained vocabulary
START, END = "<|startoftext|>", "<|endoftext|>"
_GPT2_END = 50256
_MERGES = 48_894  # of the 262,144 lines of CLIP's file, only these are used
_LONGEST_WORD = 40  # characters; scripts without spaces are cut inside the "word"

# GPT-2 keeps the space in front of a word; CLIP drops all spaces, splits digits one by one and folds the case of its
# special strings and contractions only (after lower-casing this still matters for U+017F, the long s). What counts as a
# letter follows the Unicode tables of `tokenizers`; the official code differs by its own tables' year on new characters.
_CLIP_WORD = r"(?i:<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"


class Tokens(NamedTuple):
    """A batch of prompts. Shapes: ids [B L] int64; mask [B L] bool, True where a token is real and not padding."""

    ids: Tensor
    mask: Tensor


class Piece(NamedTuple):
    """One token and the character of the cleaned text at which it starts."""

    id: int
    start: int


@dataclass(frozen=True)
class Tokenizer:
    """A vocabulary with its rules; made by `load`."""

    name: str
    size: int  # ids run from 0 to size - 1
    pad: int  # what fills unused places; a network with learned padding never looks at it
    clean: Callable[[str], str]
    split: Callable[[str], list[Piece]]
    join: Callable[[Sequence[int]], str]
    frame: tuple[int, ...] = ()  # (start, end) ids put around each prompt by `encode`; () = none

    def ids(self, text: str) -> list[int]:
        """Token ids of a text of any length, without padding, start or end.

        Raises: InputError when the text is not valid Unicode.
        """
        return [piece.id for piece in self.split(_prepared(text, self.clean))]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; broken UTF-8 becomes U+FFFD.

        Raises: InputError for an id outside the vocabulary.
        """
        known = [int(i) for i in ids]
        for i in known:
            if not 0 <= i < self.size:
                raise InputError(f"token id {i} is not in the vocabulary '{self.name}' (0 to {self.size - 1})")
        return self.join(known)

    def encode(self, texts: Sequence[str], context: int) -> Tokens:
        """A batch of prompts, each cut to `context` tokens and padded to it (GLIDE section 2.1).

        The empty prompt is all padding, mask all False, unless the vocabulary frames prompts (CLIP's does). What was cut
        is told by `cut`; callers tell the user.

        Raises: InputError for one bare string, a text that is not valid Unicode or a context without room.
        """
        if isinstance(texts, str):
            raise InputError("encode takes a list of prompts, not one string; write [prompt]")
        room = self._room(context)
        rows = [self._framed(self.ids(text)[:room]) for text in texts]
        return _padded(rows, context, self.pad)

    def cut(self, text: str, context: int) -> str:
        """The words at the end of a prompt that do not fit into the context; "" when all fit.

        A word of which a part does not fit is returned whole.
        """
        cleaned = _prepared(text, self.clean)
        pieces = self.split(cleaned)
        room = self._room(context)
        if len(pieces) <= room:
            return ""
        at = word = end = pieces[room].start
        while word > 0 and not cleaned[word].isspace() and not cleaned[word - 1].isspace():
            word -= 1
        while end < len(cleaned) and not cleaned[end].isspace():
            end += 1
        return cleaned[word if end - word <= _LONGEST_WORD else at :].strip()

    def _room(self, context: int) -> int:
        room = context - len(self.frame)
        if room < 1:
            raise InputError(
                f"a context of {context} tokens has no room for a prompt; '{self.name}' needs {1 + len(self.frame)}"
            )
        return room

    def _framed(self, ids: list[int]) -> list[int]:
        return [self.frame[0], *ids, self.frame[1]] if self.frame else ids


def load(vocabulary: str, folder: Path | None = None) -> Tokenizer:
    """The tokenizer of a vocabulary: "gpt2", "clip", or the name of a `tokenizers` file in a checkpoint folder.

    Raises: CheckpointError when the file is missing or not a tokenizer; ConfigError for a name that is a path.
    """
    match vocabulary:
        case "gpt2":
            return _gpt2()
        case "clip":
            return _clip()
        case _:
            return _from_file(vocabulary, folder)


def train(captions: Iterable[str], size: int, path: Path) -> Tokenizer:
    """Train a small byte-level BPE on captions and write it to `path` as a `tokenizers` JSON file.

    Text is composed (NFC), lower-cased and its white space collapsed; id 0 is the padding. Any Unicode text can be encoded.

    Raises: ConfigError for a size with no room for the 256 bytes and the padding.
    """
    if size < 257:
        raise ConfigError(f"a byte-level vocabulary needs at least 257 entries (256 bytes and padding); got {size}")
    engine = tokenizers.Tokenizer(models.BPE())
    engine.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()]
    )
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    engine.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    engine.train_from_iterator(captions, trainer)
    engine.enable_padding(pad_id=0, pad_token=PAD)
    path.write_text(engine.to_str(pretty=True) + "\n", encoding="utf-8")
    return _from_file(path.name, path.parent)


def clip_tokenize(texts: Sequence[str], *, context: int = 77, truncate: bool = False) -> Tokens:
    """CLIP's input: start, ids, end, padded with 0; a cut prompt still ends with the end token (CLIP section 2.4).

    Shapes: B texts -> ids, mask [B context].
    Raises: InputError when a text is too long and `truncate` is False; it names the words that do not fit.
    """
    tokenizer = _clip()
    if not truncate:
        for text in texts:
            if lost := tokenizer.cut(text, context):
                raise InputError(
                    f"prompt '{text[:40]}...' has {len(tokenizer.ids(text)) + 2} tokens, the context holds {context}; "
                    f"shorten it or allow truncation; what does not fit: '{lost[:80]}'"
                )
    return tokenizer.encode(texts, context)


@cache
def _gpt2() -> Tokenizer:
    """GLIDE's vocabulary: lower-cased, nothing else; no special strings, no start or end (GLIDE, released code)."""
    rows = _vocabulary("vocab.bpe.gz").split("\n")[1:-1]
    numbers: dict[str, int] = json.loads(_vocabulary("encoder.json.gz"))
    engine = tokenizers.Tokenizer(models.BPE(numbers, [_pair(row) for row in rows]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return Tokenizer("gpt2", len(numbers), _GPT2_END, str.lower, lambda text: _pieces(engine, text), _joiner(engine))


@cache
def _clip() -> Tokenizer:
    """CLIP's vocabulary: 256 bytes, the same as word ends, the merges in file order, start and end."""
    rows = [_pair(row) for row in _vocabulary("bpe_simple_vocab_16e6.txt.gz").split("\n")[1 : 1 + _MERGES]]
    letters = _byte_letters()
    entries = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in rows), START, END]
    numbers = {entry: i for i, entry in enumerate(entries)}
    engine = tokenizers.Tokenizer(models.BPE(numbers, rows, end_of_word_suffix="</w>"))
    words = pre_tokenizers.Split(Regex(_CLIP_WORD), "removed", invert=True)
    engine.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    special = {START: numbers[START], END: numbers[END]}

    def split(text: str) -> list[Piece]:
        # A special string counts only where a word begins: in "!<|endoftext|>" the "!<|" is a word of its own.
        pieces: list[Piece] = []
        done = 0
        for word, (start, end) in words.pre_tokenize_str(text) if any(s in text for s in special) else ():
            if word in special:
                pieces += _pieces(engine, text[done:start], done)
                pieces.append(Piece(special[word], start))
                done = end
        return pieces + _pieces(engine, text[done:], done)

    join = _joiner(engine)
    return Tokenizer(
        "clip",
        len(numbers),
        0,
        clip_clean,
        split,
        lambda ids: join(ids).replace("</w>", " "),
        (special[START], special[END]),
    )


def clip_clean(text: str) -> str:
    """What CLIP does to a text before splitting it: mend mojibake, unescape HTML twice, collapse spaces, lower-case."""
    import ftfy  # slow to import, and only CLIP needs it

    mended = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return " ".join(mended.split()).lower()


def _from_file(name: str, folder: Path | None) -> Tokenizer:
    if Path(name).name != name:
        raise ConfigError(f"vocabulary '{name}': must be 'gpt2', 'clip' or the name of a file in the checkpoint folder")
    if folder is None:
        raise ConfigError(f"vocabulary '{name}': not 'gpt2' or 'clip', and there is no checkpoint folder to look for a file in")
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path}: the vocabulary file of this checkpoint is missing; fetch or export the folder again")
    try:
        engine = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 (the library raises bare Exception for every unreadable file)
        raise CheckpointError(f"{path}: not a tokenizer file ({str(error).splitlines()[0][:80]})") from None
    pad = (engine.padding or {}).get("pad_id", 0)
    engine.no_padding()
    engine.no_truncation()
    engine.encode_special_tokens = True  # "<|pad|>" in a prompt is text
    return Tokenizer(name, engine.get_vocab_size(), pad, _same, lambda text: _pieces(engine, text), _joiner(engine))


def _same(text: str) -> str:
    return text  # the file carries its own cleaning


def _prepared(text: str, clean: Callable[[str], str]) -> str:
    cleaned = clean(text)
    try:
        cleaned.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"prompt: character {error.start + 1} is half of a surrogate pair, not valid Unicode; remove it"
        ) from None
    return cleaned


def _pieces(engine: tokenizers.Tokenizer, text: str, at: int = 0) -> list[Piece]:
    found = engine.encode(text)
    return [Piece(i, at + start) for i, (start, _) in zip(found.ids, found.offsets, strict=True)]


def _joiner(engine: tokenizers.Tokenizer) -> Callable[[Sequence[int]], str]:
    decoder = decoders.ByteLevel()
    return lambda ids: decoder.decode([engine.id_to_token(i) or "" for i in ids])


def _padded(rows: Sequence[Sequence[int]], context: int, pad: int) -> Tokens:
    ids = torch.full((len(rows), context), pad, dtype=torch.int64)
    mask = torch.zeros((len(rows), context), dtype=torch.bool)
    for at, row in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row, dtype=torch.int64)
        mask[at, : len(row)] = True
    return Tokens(ids, mask)


def _vocabulary(name: str) -> str:
    return gzip.decompress(resources.files("limner.vocab").joinpath(name).read_bytes()).decode("utf-8")


def _pair(row: str) -> tuple[str, str]:
    first, second = row.split()
    return first, second


def _byte_letters() -> list[str]:
    """The 256 letters that stand for bytes, in GPT-2's order: printable ones as themselves, the rest from U+0100 up."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    return [chr(b) for b in printable] + [chr(0x100 + k) for k in range(256 - len(printable))]
