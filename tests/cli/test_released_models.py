"""Released models from the command line: listed, shown, pulled, converted, exported, removed, and examined by doctor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from limner import catalog, downloads, released
from limner.evaluation import fitness
from limner.released import File
from tests import tiny as made
from tests.cli.conftest import Limner
from tests.official import small
from tests.serving_files import Server, serving


@pytest.fixture(autouse=True)
def _own_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    with serving() as running:
        data = small.save(tmp_path / "made").read_bytes()
        running.files["/encoder.pkl"] = data
        file = File("encoder.pkl", f"{running.address}/encoder.pkl", "", 1000, "")
        known = released.models() | {"dalle-dvae": released.models()["dalle-dvae"]._replace(files=(file,))}
        monkeypatch.setattr(released, "models", lambda: known)
        yield running


def test_released_models_are_listed_with_their_licence(limner: Limner) -> None:
    objects = {each["name"]: each for each in limner("models", "list", "--released", "--json").objects}
    assert objects["clip-vit-b-32"]["licence"] == "MIT"
    assert objects["clip-vit-b-32"]["here"] is False
    assert objects["glide"]["files"][0]["address"].endswith("/base.pt")
    assert any(line.startswith("dalle-dvae ") for line in limner("models", "list", "--released").lines)


def test_a_released_model_is_shown_before_it_is_here(limner: Limner) -> None:
    said = limner("models", "show", "dalle-dvae")
    assert said.code == 0
    assert "can: encode / decode only" in said.out
    assert "never released" in said.out
    assert "limner models pull dalle-dvae" in said.out


@pytest.mark.parametrize("words", [("draw", "fox", "--model", "glide"), ("draw", "--label", "3", "--model", "adm-64")])
def test_using_a_released_model_that_is_not_here_says_how_to_get_it(limner: Limner, words: tuple[str, ...]) -> None:
    said = limner(*words)
    assert said.code == 3
    assert f"run `limner models pull {words[-1]}`" in said.err.splitlines()[0]


def test_a_model_is_pulled_with_its_terms_and_hashes_said(limner: Limner, server: Server) -> None:
    said = limner("models", "pull", "dalle-dvae", "--json")
    assert said.code == 0
    assert "licence modified MIT. Use of the dVAE shall be responsible" in said.err
    sha256 = hashlib.sha256(server.files["/encoder.pkl"]).hexdigest()
    assert f"sha256 {sha256} (recorded; none is published)" in said.err
    assert said.objects[0]["files"] == {"encoder.pkl": sha256}
    assert "here already" in limner("models", "pull", "dalle-dvae").err
    assert any(each["name"] == "dalle-dvae" for each in limner("models", "list", "--json").objects)
    assert limner("models", "show", "dalle-dvae").code == 0


def test_a_model_that_cannot_be_had_ends_with_3(limner: Limner, server: Server) -> None:
    server.files.clear()
    said = limner("models", "pull", "dalle-dvae")
    assert said.code == 3
    assert "the server says 404" in said.err
    assert limner("models", "pull", "dalle-dvae", "--offline").code == 3
    assert limner("models", "pull", "no-such").code == 3


def test_a_released_model_is_removed_and_can_come_again(limner: Limner, server: Server) -> None:
    limner("models", "pull", "dalle-dvae")
    assert limner("models", "rm", "dalle-dvae").code == 0
    assert not (catalog.models_root() / "dalle-dvae").exists()
    assert limner("models", "pull", "dalle-dvae").code == 0


def test_a_model_of_ones_own_is_removed_only_when_one_is_sure(limner: Limner) -> None:
    made.save(catalog.models_root() / "mine")
    said = limner("models", "rm", "mine")
    assert said.code == 2
    assert "may be the only copy; say --yes" in said.err
    assert (catalog.models_root() / "mine").exists()
    assert limner("models", "rm", "mine", "--yes").code == 0
    assert not (catalog.models_root() / "mine").exists()


def test_models_of_the_box_and_paths_are_never_removed(limner: Limner, tmp_path: Path) -> None:
    made.save(tmp_path / "elsewhere")
    assert "belongs to limner itself" in limner("models", "rm", "glide-emoji", "--yes").err
    assert limner("models", "rm", str(tmp_path / "elsewhere"), "--yes").code == 3
    assert (tmp_path / "elsewhere").exists()


def test_files_are_converted_and_exported_again(limner: Limner) -> None:
    small.save(Path("renamed.bin"))
    said = limner("convert", "renamed.bin", "--out", "dvae", "--name", "dalle-dvae", "--json")
    assert said.code == 0
    assert said.objects[0]["networks"] == {"encoder": "dvae-encoder"}
    assert "licence modified MIT" in said.err
    assert limner("export", "dvae", "--layout", "official", "--out", "files").out == "files\n"
    found = torch.load("files/renamed.bin", weights_only=True)
    assert all(torch.equal(found[key], value) for key, value in small.official(small.ENCODER).items())


def test_a_file_that_is_no_checkpoint_ends_with_3(limner: Limner) -> None:
    Path("x.pt").write_text("hello")
    said = limner("convert", "x.pt", "--out", "y")
    assert said.code == 3
    assert "not a checkpoint of a kind that is known" in said.err
    assert not Path("y").exists()


def test_doctor_estimates_and_measures_a_model(limner: Limner) -> None:
    made.save(catalog.models_root() / "mine")
    said = limner("doctor", "--model", "mine", "--dtype", "float32")
    assert said.code == 0
    assert [line.split(":")[0] for line in said.lines] == [
        "mine",
        "estimated",
        "measured",
        "stage base",
        "stage upsampler",
        "a picture takes about " + said.lines[-1].split()[-2] + " s",
    ]
    facts = limner("doctor", "--model", "mine", "--json").objects[0]
    assert facts["fits"] is True
    assert facts["measured"]["picture_seconds"] > 0


def test_doctor_says_what_a_model_would_want_before_it_is_here(limner: Limner) -> None:
    facts = limner("doctor", "--model", "adm-512", "--json").objects[0]
    assert facts["exact"] is False
    assert facts["parameters"] == released.models()["adm-512"].parameters
    assert "limner models pull adm-512" in limner("doctor", "--model", "adm-512").err


def test_doctor_refuses_to_load_what_does_not_fit(limner: Limner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitness, "free_mb", lambda device: 100.0)
    said = limner("doctor", "--model", "adm-512", "--json")
    assert said.code == 1
    assert said.objects[0]["fits"] is False
    assert "it does not fit in this type" in said.err


def test_doctor_of_a_model_that_does_not_draw_has_no_time_of_a_picture(limner: Limner) -> None:
    small.save(Path("a"), small.ENCODER)
    small.save(Path("b"), small.DECODER)
    limner("convert", "a", "b", "--out", "dvae")
    facts = limner("doctor", "--model", "dvae", "--json").objects[0]
    assert facts["measured"]["picture_seconds"] is None
    assert limner("doctor", "--model", "no-such").code == 3
