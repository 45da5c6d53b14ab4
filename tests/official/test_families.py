"""A file's family is told from its keys and shapes; what does not fit is refused with what was expected."""

from __future__ import annotations

import re

import pytest

from limner.config import PartSettings
from limner.errors import CheckpointError
from limner.official import families
from limner.official.families import FAMILIES, Shapes
from tests.official import small

ENCODER: Shapes = {key: tuple(value.shape) for key, value in small.official(small.ENCODER).items()}


def test_a_file_is_told_from_its_keys() -> None:
    family, pieces = families.recognise(ENCODER)
    assert (family.name, family.system) == ("dvae", "dvae")
    assert [piece.settings.network for piece in pieces] == [small.ENCODER]
    assert families.expected(pieces) == ENCODER


def test_every_family_has_a_name_of_its_own_and_marks() -> None:
    names = [family.name for family in FAMILIES]
    assert sorted(set(names)) == sorted(names)
    assert all(family.marks for family in FAMILIES)


def refusal(shapes: Shapes, system: str | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        families.recognise(shapes, system, where="x.pt")
    text = str(caught.value)
    assert text.startswith("x.pt: ")
    assert "\n" not in text
    return text


def test_missing_extra_and_misshapen_keys_are_counted_and_the_first_are_named() -> None:
    shapes = dict(ENCODER)
    for n in range(1, 4):
        shapes.pop(f"blocks.group_{n}.block_1.res_path.conv_2.w")
        shapes.pop(f"blocks.group_{n}.block_1.res_path.conv_2.b")
    shapes |= {"ema.decay": (), "blocks.input.b": (5,)}
    text = refusal(shapes)
    assert "looks like dvae, but does not fit: 6 missing: blocks.group_1.block_1.res_path.conv_2.b, " in text
    assert ", ...; 1 extra: ema.decay; 1 misshapen: blocks.input.b [5] (expected [4])" in text


def test_keys_of_no_family_name_the_nearest_one_and_what_it_would_have() -> None:
    text = refusal({"time_embed.0.weight": (4, 4), "input_blocks.0.0.weight": (4, 3, 3, 3), "strange": (1,)})
    assert re.search(r"nearest is (adm|glide), whose keys 2 of 3 resemble; strange to it: strange", text)
    assert "it also expects middle_block.*" in text


def test_keys_that_resemble_nothing_list_the_families() -> None:
    text = refusal({"a": (1,), "b": (2,)})
    assert "its 2 keys (a, b) are of no family; have: " in text
    assert all(family.name in text for family in FAMILIES)


def test_a_system_leaves_only_its_own_families() -> None:
    assert "that a glide system can be made of" in refusal(ENCODER, "glide")
    assert "no family of released files belongs to system 'dall-e-4'" in refusal(ENCODER, "dall-e-4")
    assert families.recognise(ENCODER, "dvae")[0].name == "dvae"


def test_a_family_that_cannot_size_a_network_says_why_with_the_file() -> None:
    broken = FAMILIES[0]._replace(recognise=_refusing)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(families, "FAMILIES", (broken,))
        assert refusal(ENCODER) == "x.pt: no such size"


def _refusing(shapes: Shapes) -> None:
    raise CheckpointError("no such size")


def test_a_described_network_is_found_by_its_exact_shapes() -> None:
    described = [PartSettings(name=name, network=net) for name, net in (("d", small.DECODER), ("e", small.ENCODER))]
    family, (piece,) = families.fitting(ENCODER, described, where="x.pt")
    assert (family.name, piece.settings.name) == ("dvae", "e")
    with pytest.raises(
        CheckpointError, match=r"x\.pt: its .* keys and shapes are not those of any network of the preset \(d\)"
    ):
        families.fitting(ENCODER, described[:1], where="x.pt")
