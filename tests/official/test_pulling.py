"""A released model is fetched, checked, converted and then loads by its name."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import limner
from limner import catalog, downloads, released
from limner.errors import CheckpointError, DownloadError
from limner.released import File, Model
from tests.official import small
from tests.serving_files import Server, serving


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("LIMNER_MIRROR", "LIMNER_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIMNER_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    with serving() as running:
        files = []
        for settings, published in ((small.ENCODER, True), (small.DECODER, False)):
            name = f"{settings.kind.removeprefix('dvae-')}.pkl"
            data = small.save(tmp_path / "made", settings).read_bytes()
            running.files[f"/dall-e/{name}"] = data
            sha256 = hashlib.sha256(data).hexdigest() if published else ""
            files.append(File(name, f"{running.address}/dall-e/{name}", "", 1000, sha256))
        known = released.models()["dalle-dvae"]._replace(files=tuple(files))
        monkeypatch.setattr(released, "models", lambda: {"dalle-dvae": known})
        yield running


def test_a_model_is_pulled_and_loads_by_name(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    pulled = limner.pull("dalle-dvae", progress=lambda *each: told.append(each))
    assert pulled.path == tmp_path / "models" / "dalle-dvae"
    assert {name for name, _, _ in told} == {"encoder.pkl", "decoder.pkl"}
    assert [entry.licence for entry in catalog.models() if entry.name == "dalle-dvae"] == ["modified MIT"]
    assert limner.load("dalle-dvae") is not None
    assert not list((tmp_path / "cache").rglob("*.pkl"))


def test_a_model_that_is_here_is_not_pulled_again(server: Server) -> None:
    limner.pull("dalle-dvae")
    before = len(server.asked)
    assert limner.pull("dalle-dvae").files == ()
    assert len(server.asked) == before


def test_kept_files_serve_another_pull_without_a_network(server: Server, tmp_path: Path) -> None:
    path = limner.pull("dalle-dvae", keep=True).path
    assert len(list((tmp_path / "cache").rglob("*.pkl"))) == 2
    catalog.remove(path)
    assert limner.pull("dalle-dvae", offline=True).path == path


def test_offline_says_where_a_file_could_be_put(server: Server) -> None:
    with pytest.raises(DownloadError, match=r"encoder\.pkl: is not here, and limner is offline; .* put it at .*encoder\.pkl"):
        limner.pull("dalle-dvae", offline=True)
    assert server.asked == []


def test_a_file_of_a_repository_comes_through_the_hub(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_hub(repository: str, name: str, folder: Path, **_: object) -> downloads.Fetched:
        assert (repository, folder.name) == ("someone/vae", "vae")
        folder.mkdir(parents=True, exist_ok=True)
        return downloads.Fetched(small.save(folder / name), "0" * 64, True)

    model: Model = released.models()["dalle-dvae"]
    only = model._replace(files=(File("encoder.safetensors", "", "someone/vae", 1000, ""),))
    monkeypatch.setattr(released, "models", lambda: {"dalle-dvae": only})
    monkeypatch.setattr(downloads, "from_hub", from_hub)
    assert (limner.pull("dalle-dvae").path / "encoder.safetensors").is_file()


def test_a_name_that_is_not_in_the_catalog_names_the_nearest(server: Server) -> None:
    with pytest.raises(CheckpointError, match="'dalle-vae': no such released model; did you mean dalle-dvae"):
        limner.pull("dalle-vae")


def test_a_model_in_the_box_needs_no_fetching(server: Server) -> None:
    with pytest.raises(CheckpointError, match="'glide-shapes': is here already"):
        limner.pull("glide-shapes")


def test_a_released_model_that_is_not_here_says_how_to_get_it(server: Server) -> None:
    with pytest.raises(CheckpointError, match="is released, but not here yet; run `limner models pull dalle-dvae`"):
        limner.load("dalle-dvae")
