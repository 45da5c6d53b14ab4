"""Which emoji become concepts: English names, tags and groups from emojibase, and how an icon's name finds its concept.

What is dropped stays out for good reasons: skin tones and gender twins are near copies; flags, keycaps, clock faces,
families and lettered buttons teach a small model nothing that a prompt asks for. Art is read in art.py; wording lives
in captions.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from limner.errors import DataError

DROPPED_GROUPS = frozenset({"component", "flags"})
DROPPED_SUBGROUPS = frozenset({"keycap", "alphanum", "skin-tone", "hair-style", "country-flag", "subdivision-flag"})
# Two subgroups carry the number 46 in emojibase 17; the emoji under it are sweets.
SHARED_SUBGROUPS = {46: "food-sweet"}
KEPT_TWINS = frozenset({"mermaid", "woman with headscarf", "man dancing", "woman dancing"})
DROPPED_LABELS = frozenset(
    {
        "family",
        "Mx Claus",
        "pregnant man",
        "pregnant person",
        "women holding hands",
        "men holding hands",
        "woman and man holding hands",
    }
)
TWIN_STARTS = ("men ", "women ", "man ", "woman ", "man: ", "woman: ")
SHORTCODES = ("cldr", "emojibase", "iamcal", "github", "joypixels", "emojibase-legacy")


class Concept(NamedTuple):
    """One thing that can be drawn: `key` is its code points in lower-case hex without variation selectors."""

    key: str
    label: str
    tags: tuple[str, ...]
    group: str
    subgroup: str


class Concepts(NamedTuple):
    """All kept concepts by key, and the key that every known icon name (slug) stands for, dropped emoji included."""

    kept: dict[str, Concept]
    by_name: dict[str, str]

    def of_name(self, name: str) -> Concept | None:
        """The concept an icon name stands for; None when it is unknown or dropped."""
        return self.kept.get(self.by_name.get(name, ""))


def plain(code_points: str) -> str:
    """The key of a code point sequence: "2764-FE0F" -> "2764"."""
    return "-".join(part for part in code_points.lower().split("-") if part != "fe0f")


def slug(text: str) -> str:
    """A label as icon packs name their files: "woman’s hat" -> "womans-hat"."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("’", "").replace("ñ", "n")).strip("-")


def read(files: Mapping[str, bytes]) -> Concepts:
    """Concepts from the files of emojibase-data, named by their path in the package.

    Raises: DataError when a file is missing or is not what emojibase 17 ships.
    """
    try:
        entries: list[dict[str, Any]] = json.loads(files["en/data.json"])
        messages = json.loads(files["en/messages.json"])
        groups = {int(g["order"]): str(g["key"]) for g in messages["groups"]}
        subgroups = {int(s["order"]): str(s["key"]) for s in messages["subgroups"]} | SHARED_SUBGROUPS
        kept = {}
        by_name: dict[str, str] = {}
        for entry in entries:
            key = plain(str(entry["hexcode"]))
            by_name.setdefault(slug(str(entry["label"])), key)
            concept = Concept(
                key,
                str(entry["label"]).replace("’", "'"),
                tuple(str(tag).replace("’", "'") for tag in entry.get("tags", ())),
                groups.get(int(entry.get("group", 2)), "component"),
                subgroups.get(int(entry.get("subgroup", -1)), ""),
            )
            if wanted(concept):
                kept[key] = concept
        for name in SHORTCODES:
            for hexcode, codes in json.loads(files.get(f"en/shortcodes/{name}.json", b"{}")).items():
                for code in [codes] if isinstance(codes, str) else codes:
                    by_name.setdefault(str(code).replace("_", "-"), plain(hexcode))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"emojibase-data: expected en/data.json and en/messages.json of version 17; found {error!r}") from error
    return Concepts(kept, by_name)


def wanted(concept: Concept) -> bool:
    """Whether a concept is worth a picture of its own; twins, flags, keycaps, clocks, families and lettered buttons are not."""
    label = concept.label
    if concept.group in DROPPED_GROUPS or concept.subgroup in DROPPED_SUBGROUPS or label in DROPPED_LABELS:
        return False
    if label.startswith(("family:", "kiss:", "couple with heart:")) or "facing right" in label:
        return False
    if concept.subgroup == "time" and ("o'clock" in label or label.endswith("-thirty")):
        return False
    # "mermaid" and the like: a neutral sequence with a male or female sign joined to its end.
    twin = label.startswith(TWIN_STARTS) or concept.key.endswith(("-200d-2640", "-200d-2642"))
    return not twin or label in KEPT_TWINS
