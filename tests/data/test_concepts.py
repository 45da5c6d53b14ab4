import json

import pytest

from limner.data import concepts
from limner.data.concepts import Concept
from limner.errors import DataError


def kept(label: str, key: str = "1f600", group: str = "people-body", subgroup: str = "person") -> bool:
    return concepts.wanted(Concept(key, label, (), group, subgroup))


@pytest.mark.parametrize(
    "label", ["fox", "man", "old woman", "mermaid", "person running", "woman's hat", "alarm clock", "man dancing"]
)
def test_things_worth_a_picture_are_kept(label: str) -> None:
    assert kept(label)


@pytest.mark.parametrize(
    "label", ["man running", "women with bunny ears", "woman: red hair", "men holding hands", "pregnant man"]
)
def test_gender_twins_are_dropped(label: str) -> None:
    assert not kept(label)


def test_a_neutral_sequence_with_a_gender_sign_is_a_twin_whatever_its_name() -> None:
    assert not kept("merman", key="1f9dc-200d-2642")
    assert kept("mermaid", key="1f9dc-200d-2640")


@pytest.mark.parametrize(
    ("label", "group", "subgroup"),
    [
        ("flag: France", "flags", "country-flag"),
        ("keycap: 1", "symbols", "keycap"),
        ("SOS button", "symbols", "alphanum"),
        ("one o'clock", "travel-places", "time"),
        ("six-thirty", "travel-places", "time"),
        ("family: man, boy", "people-body", "family"),
        ("person running: facing right", "people-body", "person-activity"),
    ],
)
def test_flags_keycaps_letters_clocks_and_families_are_dropped(label: str, group: str, subgroup: str) -> None:
    assert not kept(label, group=group, subgroup=subgroup)


def test_a_key_has_no_variation_selector() -> None:
    assert concepts.plain("2764-FE0F-200D-1F525") == "2764-200d-1f525"


def test_a_slug_is_how_icons_are_named() -> None:
    assert concepts.slug("Woman’s hat") == "womans-hat"
    assert concepts.slug("piñata") == "pinata"


@pytest.mark.parametrize(
    "files", [{}, {"en/data.json": b"{"}, {"en/data.json": b'["x"]', "en/messages.json": b'{"groups": [], "subgroups": []}'}]
)
def test_words_of_another_form_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(DataError, match="expected en/data"):
        concepts.read(files)


def test_a_name_finds_its_concept_by_label_first_and_by_shortcode_second() -> None:
    entries = [{"hexcode": "1F98A", "label": "fox", "group": 0}, {"hexcode": "1F43A", "label": "wolf", "group": 0}]
    messages = {"groups": [{"order": 0, "key": "animals-nature"}], "subgroups": []}
    codes = {"1F98A": ["fox_face", "wolf"]}
    files = {"en/data.json": entries, "en/messages.json": messages, "en/shortcodes/cldr.json": codes}
    known = concepts.read({name: json.dumps(content).encode() for name, content in files.items()})
    found = {name: known.of_name(name) for name in ("fox", "fox-face", "wolf", "cat")}
    assert {name: concept and concept.label for name, concept in found.items()} == {
        "fox": "fox",
        "fox-face": "fox",
        "wolf": "wolf",
        "cat": None,
    }
