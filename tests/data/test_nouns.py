import pytest

from limner.data.concepts import Concept
from limner.data.nouns import Noun, an, coloured, countable, noun, nouns, plural, sized


def thing(label: str, group: str = "objects", subgroup: str = "tool") -> Concept:
    return Concept("1", label, (), group, subgroup)


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("fox", "foxes"),
        ("mouse face", "mouse faces"),
        ("computer mouse", "computer mice"),
        ("strawberry", "strawberries"),
        ("key", "keys"),
        ("wolf", "wolves"),
        ("glass of milk", "glasses of milk"),
        ("face with tears of joy", "faces with tears of joy"),
        ("page facing up", "pages facing up"),
        ("tropical fish", "tropical fish"),
        ("bus", "buses"),
    ],
)
def test_the_plural_is_made_at_the_head_of_a_name(one: str, many: str) -> None:
    assert plural(one) == many


@pytest.mark.parametrize(
    ("words", "article"),
    [("fox", "a"), ("apple", "an"), ("unicorn", "a"), ("umbrella", "an"), ("hourglass", "an"), ("x-ray", "an"), ("UFO", "a")],
)
def test_the_article_follows_the_sound(words: str, article: str) -> None:
    assert an(words) == article


@pytest.mark.parametrize(
    ("label", "phrase"),
    [
        ("fox", "a fox"),
        ("grapes", "grapes"),
        ("cooked rice", "cooked rice"),
        ("Statue of Liberty", "the Statue of Liberty"),
        ("Santa Claus", "Santa Claus"),
        ("ring", "a ring"),
        ("office building", "an office building"),
        ("horse racing", "horse racing"),
        ("person running", "a person running"),
        ("glass of milk", "a glass of milk"),
        ("bus", "a bus"),
    ],
)
def test_a_name_behaves_as_in_english(label: str, phrase: str) -> None:
    assert noun(label).one() == phrase


def test_the_article_is_chosen_for_the_adjective() -> None:
    assert noun("fox").one("orange") == "an orange fox"
    assert noun("apple").one("green") == "a green apple"
    assert noun("grapes").one("green") == "green grapes"


def test_a_number_comes_before_the_adjective() -> None:
    assert noun("fox").many(3, "green") == "three green foxes"
    assert noun("fox").many(6) == "six foxes"


def test_names_of_signs_take_no_article() -> None:
    assert nouns(thing("no smoking", "symbols", "warning")) == (Noun("no smoking", "bare"),)


def test_a_trait_is_put_into_words() -> None:
    assert nouns(thing("person: bald", "people-body", "person"))[0].one() == "a bald person"
    assert nouns(thing("person: blond hair", "people-body", "person"))[0].one() == "a person with blond hair"
    assert nouns(thing("person: beard", "people-body", "person"))[0].one() == "a person with a beard"


def test_people_say_other_words_too() -> None:
    assert [n.name for n in nouns(thing("automobile"))] == ["automobile", "car"]
    assert [n.name for n in nouns(thing("dog face", "animals-nature", "animal-mammal"))] == ["dog face", "dog"]


@pytest.mark.parametrize("label", ["grapes", "cooked rice", "Santa Claus", "two-hump camel", "person running", "milky way"])
def test_what_cannot_be_counted_is_not(label: str) -> None:
    assert not countable(thing(label, "people-body" if label.startswith("person") else "food-drink", "person-activity"))


def test_things_can_be_counted() -> None:
    assert countable(thing("fox"))
    assert countable(thing("person: beard", "people-body", "person"))
    assert not countable(thing("alarm clock", "travel-places", "time"))


def test_a_name_that_speaks_of_colour_or_size_says_so() -> None:
    assert coloured(thing("red apple"))
    assert coloured(thing("dark-haired man"))
    assert not coloured(thing("sacred tree"))
    assert sized(thing("small airplane"))
    assert not sized(thing("smallpox"))
