"""Emoji names as English nouns: "a fox", "an hourglass", "three mice", "two glasses of milk", "grapes", "a blue tiger".

CLDR names are labels, not phrases; this file says which can be counted, how, and what people call the thing instead.
Sentences are made of these in captions.py.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, NamedTuple

from limner.data.concepts import Concept

NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def _set(text: str, separator: str = " ") -> frozenset[str]:
    return frozenset(word.strip() for word in text.split(separator) if word.strip())


def _table(text: str) -> dict[str, tuple[str, ...]]:
    """ "name: word, word; name: word" as a dictionary."""
    pairs = (entry.partition(":") for entry in text.split(";") if entry.strip())
    return {key.strip(): tuple(word.strip() for word in words.split(",")) for key, _, words in pairs}


COLOUR_WORDS = _set("red orange yellow green blue purple pink brown black grey gray white gold silver light dark")
SIZE_WORDS = _set("small large big medium mini baby")
# Groups whose names are things, and subgroups of the others whose names are.
THINGS = _set("animals-nature food-drink activities objects")
THING_SUBGROUPS = _set(
    "cat-face monkey-face heart face-costume face-hat face-glasses face-smiling face-affection face-tongue face-hand "
    "body-parts face-neutral-skeptical face-sleepy face-unwell face-concerned face-negative person-role person-fantasy "
    "person geometric person-gesture person-activity person-sport person-resting hand-fingers-open hand-fingers-partial "
    "hand-fingers-closed hand-prop hands family place-building place-religious transport-ground transport-water "
    "transport-air hotel time emotion person-symbol"
)
MASS = _set(
    "rice bread bacon broccoli garlic popcorn butter salt spaghetti sushi soap dna luggage coral food money "
    "music camping cooking bowling badminton tennis lacrosse hockey pong racing sake mate ice fire fog honey "
    "wood construction clothing oden tea fondue polish baggage falafel arts yarn thread lightning "
    "weather foggy dusk metro corn chocolate candy "
)
BARE = _set(  # names that take no article and cannot be counted
    "Mrs. Claus; Santa Claus; bow and arrow; breast-feeding; couch and lamp; fork and knife; hammer and pick; "
    "hammer and wrench; high voltage; kiss; leaf fluttering in wind; locked; love-you gesture; mount fuji; "
    "night with stars; nut and bolt; palms up together; rolling on the floor laughing; star-struck; "
    "sunrise over mountains; thumbs down; thumbs up; unlocked; locked with key; locked with pen; ZZZ; hundred points; "
    "dizzy; dashing away; collision",
    ";",
)
LANDMARKS = _set("Statue of Liberty; kaaba; milky way; map of Japan", ";")
SINGULAR_S = _set(
    "glass bus cactus octopus walrus lotus hibiscus compass cross dress circus abacus hippopotamus rhinoceros "
    "iris princess lens biceps minibus trolleybus tennis virus bullseye "
)
PLURALS = _table(
    "mouse: mice; goose: geese; ox: oxen; tooth: teeth; foot: feet; child: children; man: men; woman: women; "
    "person: people; wolf: wolves; leaf: leaves; knife: knives; elf: elves; dwarf: dwarves; fish: fish; deer: deer; "
    "bison: bison; moose: moose; shrimp: shrimp; squid: squid; die: dice; hippopotamus: hippopotamuses; "
    "octopus: octopuses; cactus: cacti; blowfish: blowfish; jellyfish: jellyfish; potato: potatoes; tomato: tomatoes; "
    "hero: heroes; superhero: superheroes; scarf: scarves; mosquito: mosquitoes; volcano: volcanoes; "
    "headphone: headphones; mango: mangoes; loaf: loaves; police officer: police officers; sheep: sheep; "
    "firefly: fireflies; biceps: biceps; snowman: snowmen; sheaf: sheaves; merperson: merpeople; buffalo: buffaloes; "
    " tornado: tornadoes; "
)
SYNONYMS = _table(
    "automobile: car; oncoming automobile: car; sport utility vehicle: car, jeep; racing car: race car; "
    "red apple: apple; red heart: heart; evergreen tree: pine tree, tree; deciduous tree: tree; "
    "soccer ball: football, ball; birthday cake: cake; shortcake: slice of cake; doughnut: donut; hamburger: burger; "
    "airplane: plane; bicycle: bike; motorcycle: motorbike; television: TV; honeybee: bee; lady beetle: ladybug; "
    "jack-o-lantern: pumpkin, halloween pumpkin; hot pepper: chili; tropical drink: cocktail; "
    "cocktail glass: martini, cocktail; hot beverage: cup of coffee, cup of tea, coffee; wrapped gift: gift, present; "
    "mobile phone: phone, smartphone; crescent moon: moon; full moon: moon; high voltage: lightning bolt; "
    "pile of poo: poop; alien monster: space invader; droplet: drop of water; water wave: wave; fire: flame, flames; "
    "house with garden: house; sailboat: boat; speedboat: boat; fire engine: fire truck; delivery truck: truck; "
    "articulated lorry: truck; steaming bowl: bowl of ramen; french fries: fries; "
    "soft ice cream: ice cream cone, ice cream; T-Rex: dinosaur, tyrannosaurus; sauropod: dinosaur; "
    "spouting whale: whale; rabbit face: bunny; rabbit: bunny; snowman without snow: snowman; "
    "wine glass: glass of wine; beer mug: beer, mug of beer; baby chick: chick; front-facing baby chick: chick; "
    "sun with face: sun; glowing star: shining star, star; rice ball: onigiri; desktop computer: computer; "
    "gem stone: diamond, gem; locomotive: steam train, train; ringed planet: saturn; bullet train: train; "
    "flying saucer: ufo; derelict house: haunted house; potted plant: plant; cherry blossom: flower; blossom: flower; "
    "hibiscus: flower; four leaf clover: clover; ewe: sheep; grinning face: smiley, happy face; "
    "smiling face with smiling eyes: smiley, happy face; crying face: sad face; loudly crying face: crying face; "
    "smiling face with heart-eyes: face in love; enraged face: angry face; smiling face with sunglasses: cool face; "
    "smiling face with horns: devil; smiling face with halo: angel face; american football: football; "
    "baby angel: angel, cupid; monkey face: monkey; dragon face: dragon; waving hand: hand; raised hand: hand; "
    "bubble tea: boba tea; pool 8 ball: eight ball, billiard ball; clapper board: clapperboard; "
    "musical keyboard: piano; wastebasket: trash can; magnifying glass tilted left: magnifying glass; "
    "magnifying glass tilted right: magnifying glass; dollar banknote: dollar bill; roll of paper: toilet paper; "
    "closed umbrella: umbrella; umbrella with rain drops: umbrella; umbrella on ground: beach umbrella; "
    "spiral shell: seashell, shell; meat on bone: meat; poultry leg: chicken leg, drumstick; "
    "running shoe: sneaker, shoe; top hat: hat; man's shoe: shoe; billed cap: cap; game die: die; "
    "locked: padlock, lock; unlocked: open lock; person biking: cyclist; person running: runner; "
    "person surfing: surfer; person swimming: swimmer; person juggling: juggler; person fencing: fencer; mage: wizard; "
    "technologist: programmer; cook: chef; health worker: doctor, nurse; person with crown: king; old man: grandpa; "
    "old woman: grandma; merperson: merman; globe showing Americas: earth, globe; "
    "globe showing Europe-Africa: earth, globe; globe showing Asia-Australia: earth; "
)
# Where the head of a name ends: at a preposition, or at what the head does or how it stands.
TAIL = re.compile(
    r" (?:with|without|of|in|on|behind|over|at|from|for|and|showing|tilted|wearing|holding|getting|riding|facing|pointing|"
    r"pointed|blowing|savoring|screaming|exhaling|vomiting|shaking|fluttering|dancing|(?:low|medium|high) volume)\b"
)
ING = _set("ring wing king building seedling dumpling drawing painting earring")
Form = Literal["counted", "plural", "bare"]


class Noun(NamedTuple):
    """A name and how it behaves: counted ("a fox", "two foxes"), plural ("grapes") or bare (mass and proper names)."""

    name: str
    form: Form
    article: str = ""  # "" chooses a / an by sound

    def one(self, adjective: str = "") -> str:
        """One of it, or the thing itself: "a fox", "a green fox", "grapes", "the milky way"."""
        words = f"{adjective} {self.name}".strip()
        if self.form != "counted":
            return words
        return f"{self.article or an(words)} {words}"

    def many(self, count: int, adjective: str = "") -> str:
        """Several: "three green foxes". Only for counted nouns."""
        return f"{NUMBERS[count]} {adjective} {plural(self.name)}".replace("  ", " ")


def an(words: str) -> str:
    """The indefinite article by sound."""
    start = words.lower()
    if re.match(r"(uni|use|usu|ufo|euro|one|uku|ute)", start):
        return "a"
    return "an" if re.match(r"([aeiou]|hour|heir|x-ray|sos)", start) else "a"


def plural(name: str) -> str:
    """The plural of a name, made at its head: "glass of milk" -> "glasses of milk"."""
    split = TAIL.search(name)
    head, rest = (name[: split.start()], name[split.start() :]) if split else (name, "")
    before, _, word = head.rpartition(" ")
    if word in PLURALS:
        many = PLURALS[word][0]
    elif re.search(r"(s|x|z|ch|sh)$", word):
        many = word + "es"
    elif re.search(r"[^aeiou]y$", word):
        many = word[:-1] + "ies"
    else:
        many = word + "s"
    return f"{before} {many}{rest}".strip()


def noun(name: str, *, thing: bool = True) -> Noun:
    """How a name behaves; `thing` False says that its group does not hold things ("no smoking")."""
    split = TAIL.search(name)
    word = (name[: split.start()] if split else name).rpartition(" ")[2]
    if name in LANDMARKS:
        return Noun(name, "counted", "the")
    if name.startswith(("person ", "man ", "woman ")):
        return Noun(name, "counted")
    if not thing or name in BARE or word.lower() in MASS or (word.endswith("ing") and word not in ING):
        return Noun(name, "bare")
    if (word.endswith("s") and word not in SINGULAR_S) or word in ("people", "teeth"):
        return Noun(name, "plural")
    return Noun(name, "counted")


@lru_cache(maxsize=4096)
def nouns(concept: Concept) -> tuple[Noun, ...]:
    """What a concept is called, its own name first."""
    label = re.sub(r"^(person|man|woman): (.*)$", _trait, concept.label)
    thing = concept.group in THINGS or concept.subgroup in THING_SUBGROUPS or concept.label in SYNONYMS or _weather(concept)
    names = [label, *SYNONYMS.get(concept.label, ())]
    if concept.subgroup.startswith("animal") and label.endswith(" face"):
        names.append(label.removesuffix(" face"))
    return tuple(noun(name, thing=thing) for name in names)


def countable(concept: Concept) -> bool:
    """Whether several of it can be asked for by number."""
    whole = nouns(concept)[0].form == "counted" and not nouns(concept)[0].article
    return whole and concept.subgroup != "time" and not re.match(r"person .*ing\b|(two|four|double)\b", concept.label)


def coloured(concept: Concept) -> bool:
    """Whether its name already speaks of a colour."""
    return bool(COLOUR_WORDS & set(re.split(r"[ -]", concept.label.lower())))


def sized(concept: Concept) -> bool:
    """Whether its name already speaks of a size."""
    return bool(SIZE_WORDS & set(re.split(r"[ -]", concept.label.lower())))


def _weather(concept: Concept) -> bool:
    return concept.subgroup in ("sky-weather", "place-geographic", "place-other", "place-map") and "fog" not in concept.label


def _trait(match: re.Match[str]) -> str:
    """ "person: blond hair" -> "person with blond hair"."""
    who, trait = match.groups()
    return {"bald": f"bald {who}", "beard": f"{who} with a beard"}.get(trait, f"{who} with {trait}")
