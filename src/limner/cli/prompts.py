"""Prompts from the command line, a file or stdin, as requests checked before anything is drawn."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from limner.errors import ConfigError, InputError, LimnerError
from limner.systems import base
from limner.systems.base import Request
from limner.systems.drawing import request

Wishes = Mapping[str, Any]


class Line(NamedTuple):
    """A line of a prompt file that says something."""

    where: str
    text: str


def requests(words: Sequence[str] | None, file: str | None, wishes: Wishes, *, wordless: bool = False) -> list[Request]:
    """What to draw, in order; without a seed all requests of one call share one random seed.

    `wordless` models need no prompt.

    Raises: InputError or ConfigError for the first prompt that cannot be used, with its line.
    """
    if words and file is not None:
        raise InputError("prompt: both PROMPT and --prompt-file are given; choose one")
    if file is None:
        return [request("", **wishes) if wordless else _checked(" ".join(words or ()), wishes)]
    found: list[Request] = []
    for line in lines(file):
        try:
            asked = _fields(line.text)
            found.append(_checked(asked.pop("prompt", ""), {**wishes, **asked}))
        except LimnerError as error:
            raise type(error)(f"{line.where}: {error}") from None
    if not found:
        raise InputError(f"{file}: holds no prompt; write one a line")
    return found


def lines(file: str) -> Iterator[Line]:
    """The lines of a file ("-" for stdin) that are not empty.

    Raises: InputError when it cannot be read as UTF-8 text.
    """
    name = "stdin" if file == "-" else file
    try:
        if file == "-" and sys.stdin is None:
            raise InputError("stdin: is closed; give it prompts, or name a file")
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror})") from None
    except ValueError:
        raise InputError(f"{name}: is not text in UTF-8") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield Line(f"{name} line {number}", line.strip())


def _fields(text: str) -> dict[str, Any]:
    if not text.startswith("{"):
        return {"prompt": text}
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not a JSON object ({str(error)[:60]}); a prompt cannot begin with '{{'") from None
    if not isinstance(tree.get("prompt", "" if "label" in tree else None), str):
        raise ConfigError("has no text under 'prompt'")
    return dict(tree)


def _checked(prompt: str, wishes: Wishes) -> Request:
    if not prompt.strip() and wishes.get("label") is None:
        raise InputError('prompt: it is empty; say what to draw, for example: limner draw "a red fox"')
    base.check_prompt(prompt)
    asked = request(prompt, **wishes)
    base.check_prompt(asked.negative, what="negative prompt")
    return asked
