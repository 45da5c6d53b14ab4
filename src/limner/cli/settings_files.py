"""Defaults of flags from files: `limner.toml` of the working folder, then the user's own; flags and environment go first.

One table a verb, named as it is called: [draw], [data.check]; keys are the long flags with '_' for '-'.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

from limner.errors import ConfigError

NAME = "limner.toml"
Defaults = dict[str, Any]


def defaults(root: Any) -> Defaults:
    """The defaults of all verbs under the root command, the working folder's before the user's.

    Raises: ConfigError for a file that is not TOML, or a table or key that no verb has.
    """
    found: Defaults = {}
    for path in (user_file(), Path(NAME)):
        if path.is_file():
            found = _over(found, read(path, root))
    if "draw" in found:
        found.setdefault("generate", found["draw"])
    return found


def user_file() -> Path:
    """The user's own settings: $LIMNER_CONFIG, else config.toml in the platform's folder for them."""
    chosen = os.environ.get("LIMNER_CONFIG")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_CONFIG_HOME")
    if home:
        return Path(home) / "limner" / "config.toml"
    import platformdirs

    return Path(platformdirs.user_config_dir("limner")) / "config.toml"


def read(path: Path, root: Any) -> Defaults:
    """One file, checked against the verbs.

    Raises: ConfigError with the file, the key and the nearest one that exists.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: not readable as TOML ({str(error).splitlines()[0]})") from None
    _check(path, tree, root, "")
    return tree


def _check(path: Path, tree: Defaults, command: Any, table: str) -> None:
    verbs = getattr(command, "commands", {})
    flags = {parameter.name for parameter in command.params} - {"help", "version"}
    for key, value in tree.items():
        name = f"{table}.{key}" if table else key
        if isinstance(value, dict):
            if key not in verbs:
                raise ConfigError(f"{path}: [{name}]: no such verb{_nearest(key, list(verbs))}")
            _check(path, value, verbs[key], name)
        elif key not in flags:
            raise ConfigError(f"{path}: {name}: no such flag{_nearest(key, sorted(flags))}")


def _over(base: Defaults, over: Defaults) -> Defaults:
    out = dict(base)
    for key, value in over.items():
        out[key] = _over(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else value
    return out


def _nearest(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else f"; have: {', '.join(known)}" if known else ""
