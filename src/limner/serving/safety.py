"""What this server will not draw: rules about words, and a classifier of pictures that an operator may plug in.

The rules are a TOML or JSON file (`policy.toml` here is the default). `Queue` asks before it accepts an order and before it
keeps a picture, so no way in passes by. Classifiers are in `classifiers.py`.
"""

from __future__ import annotations

import json
import logging
import re
import time
import tomllib
import unicodedata
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import regex
from PIL import Image
from pydantic import Field

from limner.config import Frozen, parse
from limner.errors import ConfigError, LimnerError

Level = Literal["auto", "low"]  # of a request's `moderation`
Classifier: TypeAlias = Callable[[Image.Image], float]  # an RGB picture -> how surely it must not be shown, 0 to 1

REFUSED = "image_generation_user_error"  # the type of such errors in the Images API
LARGEST = 2**20  # bytes of a policy
BUDGET = 0.25  # seconds for the patterns of one prompt; `regex` looks at the clock about once a second

_log = logging.getLogger("limner.serving")
_TOKEN = re.compile(r"[^\W_]+")
_DRESSING = re.compile("[\u0300-\u036f\ufe00-\ufe0f]")  # accents, and which of two looks a sign shall have
_UNSPACED = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]|^[^\p{L}\p{N}]+$")


class RuleSettings(Frozen):
    """One rule of a policy file. Words and phrases are found whole, whatever their case, accents or spacing."""

    name: str = Field(min_length=1, max_length=100)
    level: Literal["always", "auto"] = "auto"
    words: tuple[str, ...] = Field((), max_length=100_000)
    patterns: tuple[str, ...] = Field((), max_length=1000)  # of the `regex` package, on the folded prompt


class Certainty(Frozen):
    """From which answer of the classifier on a picture is refused, by level."""

    auto: float = Field(0.7, ge=0, le=1)
    low: float = Field(0.9, ge=0, le=1)


class PolicySettings(Frozen):
    """A policy file."""

    rules: tuple[RuleSettings, ...] = ()
    pictures: Certainty = Certainty()


class Refusal(NamedTuple):
    """Why something is not drawn or shown; the words that gave it away are not repeated."""

    rule: str
    message: str


class Refused(LimnerError):  # noqa: N818 (as a client reads it)
    """An order or picture that the policy refuses."""

    exit_code = 6

    def __init__(self, refusal: Refusal) -> None:
        self.rule = refusal.rule
        super().__init__(refusal.message)


class _Rule(NamedTuple):
    name: str
    always: bool
    phrases: dict[str, list[tuple[str, ...]]]  # by their first word
    parts: tuple[str, ...]  # found anywhere: scripts that are written without spaces, and signs
    patterns: tuple[Any, ...]


class Policy:
    """Rules ready to be asked, by any thread."""

    def __init__(self, settings: PolicySettings, *, classify: Classifier | None = None, where: str = "policy") -> None:
        """Raises: ConfigError for a pattern that is none."""
        self.pictures = settings.pictures
        self.classify = classify
        self._rules = tuple(_rule(rule, f"{where}: rules.{number}") for number, rule in enumerate(settings.rules))

    def check_prompt(self, text: str, level: Level = "auto") -> Refusal | None:
        """Why a prompt is refused; None when it is not. Bounded in time: what cannot be checked soon is refused."""
        folded = fold(text)
        words = _TOKEN.findall(folded)
        deadline = time.monotonic() + BUDGET
        for rule in self._rules:
            if not rule.always and level == "low":
                continue
            if _has_phrase(rule, words) or any(part in folded for part in rule.parts):
                return _refusal(rule.name)
            for pattern in rule.patterns:
                late = _late(pattern, folded, deadline)
                if late is None:
                    _log.warning("the patterns of rule %r take too long; a prompt was refused unchecked", rule.name)
                    return Refusal(
                        rule.name, f"The prompt could not be checked by rule '{rule.name}' in time; write it shorter."
                    )
                if late:
                    return _refusal(rule.name)
        return None

    def check_picture(self, picture: Image.Image, level: Level = "auto") -> Refusal | None:
        """Why a picture is refused; None when it is not, or when there is no classifier."""
        if self.classify is None:
            return None
        sure = float(self.classify(picture.convert("RGB")))
        if sure < (self.pictures.low if level == "low" else self.pictures.auto):  # not a number is refused
            return None
        return Refusal("pictures", "The picture was refused by this server's safety classifier.") if sure == sure else _unsure()

    def allow(self, prompt: str, level: Level = "auto", picture: Image.Image | None = None) -> None:
        """Raises: Refused for a prompt or picture that the policy does not let pass."""
        refusal = self.check_prompt(prompt, level)
        if refusal is None and picture is not None:
            refusal = self.check_picture(picture, level)
        if refusal is not None:
            raise Refused(refusal)


def load(path: Path | None = None, *, classify: Classifier | None = None) -> Policy:
    """The policy of a TOML or JSON file, or limner's own.

    Raises: ConfigError for a file that cannot be read or used.
    """
    if path is None:
        text = resources.files("limner.serving").joinpath("policy.toml").read_text(encoding="utf-8")
        return Policy(parse(PolicySettings, tomllib.loads(text), where="policy.toml"), classify=classify)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise ConfigError(f"{path}: a policy may have {LARGEST // 2**20} MB; this file is larger")
        text = data.decode("utf-8")
        tree = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise ConfigError(f"{path}: cannot be read as a policy in TOML or JSON ({reason})") from None
    return Policy(parse(PolicySettings, tree, where=str(path)), classify=classify, where=str(path))


def fold(text: str) -> str:
    """A text as rules see it: compatibility forms made plain, no case, accents or invisible characters, single spaces."""
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(c for c in plain if not _DRESSING.match(c) and unicodedata.category(c) not in ("Cf", "Cn", "Co"))
    return " ".join(unicodedata.normalize("NFC", seen).split())


def _rule(settings: RuleSettings, where: str) -> _Rule:
    phrases: dict[str, list[tuple[str, ...]]] = {}
    parts = []
    for word in settings.words:
        folded = fold(word)
        if not folded:
            raise ConfigError(f"{where}.words: holds an empty word, which is in every prompt; remove it")
        if _UNSPACED.search(folded):
            parts.append(folded)
            continue
        first, *rest = _TOKEN.findall(folded)
        phrases.setdefault(first, []).append((first, *rest))
    patterns = []
    for number, pattern in enumerate(settings.patterns):
        try:
            compiled = regex.compile(pattern, regex.IGNORECASE | regex.DOTALL)
        except regex.error as error:
            raise ConfigError(f"{where}.patterns.{number}: no regular expression ({error})") from None
        if compiled.search("", timeout=BUDGET):
            raise ConfigError(f"{where}.patterns.{number}: fits every prompt, the empty one too; make it fit something")
        patterns.append(compiled)
    return _Rule(settings.name, settings.level == "always", phrases, tuple(parts), tuple(patterns))


def _has_phrase(rule: _Rule, words: list[str]) -> bool:
    return any(
        tuple(words[at : at + len(phrase)]) == phrase for at, word in enumerate(words) for phrase in rule.phrases.get(word, ())
    )


def _late(pattern: Any, text: str, deadline: float) -> bool | None:
    """Whether a pattern is in a text; None when that takes too long. Other threads run meanwhile."""
    left = deadline - time.monotonic()
    if left <= 0:
        return None
    try:
        return pattern.search(text, timeout=left, concurrent=True) is not None
    except TimeoutError:
        return None


def _refusal(rule: str) -> Refusal:
    return Refusal(rule, f"The prompt was refused by this server's safety rule '{rule}'; ask for something else.")


def _unsure() -> Refusal:
    return Refusal("pictures", "The picture could not be checked by this server's safety classifier.")
