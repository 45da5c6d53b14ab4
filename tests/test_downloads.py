"""Downloads go on after a break, are what their hash says, and say in one line why they cannot be had."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner import downloads
from limner.errors import DownloadError
from tests.serving_files import Server, serving

DATA = bytes(range(256)) * 40
SUM = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("LIMNER_MIRROR", "LIMNER_OFFLINE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setattr(downloads, "_PIECE", 500)
    with serving() as running:
        running.files["/d/x.pt"] = DATA
        yield running


def fetch(server: Server, folder: Path, **more: object) -> downloads.Fetched:
    return downloads.fetch(f"{server.address}/d/x.pt", folder, "x.pt", **more)  # type: ignore[arg-type]


def test_a_file_comes_whole_and_its_hash_is_recorded(server: Server, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    fetched = fetch(server, tmp_path / "deep" / "er", progress=lambda *each: told.append(each))
    assert fetched == (tmp_path / "deep" / "er" / "x.pt", SUM, True)
    assert fetched.path.read_bytes() == DATA
    assert fetched.path.with_name("x.pt.sha256").read_text() == f"{SUM}\n"
    assert told[-1] == ("x.pt", len(DATA), len(DATA))
    assert {path.name for path in fetched.path.parent.iterdir()} == {"x.pt", "x.pt.sha256"}


def test_a_file_that_is_here_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path, sha256=SUM)
    assert fetch(server, tmp_path, sha256=SUM).new is False
    assert fetch(server, tmp_path, sha256=SUM, offline=True).new is False
    assert len(server.asked) == 1


def test_a_file_that_was_damaged_on_disk_is_fetched_again(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / "x.pt").write_bytes(b"damaged")
    assert fetch(server, tmp_path).sha256 == SUM
    assert len(server.asked) == 2


def test_a_file_that_changed_since_its_first_download_is_refused(server: Server, tmp_path: Path) -> None:
    fetch(server, tmp_path)
    (tmp_path / "x.pt").unlink()
    server.files["/d/x.pt"] = DATA[::-1]
    with pytest.raises(DownloadError, match="not what was published"):
        fetch(server, tmp_path)


@pytest.mark.parametrize("mark", ["etag", "date"])
def test_a_connection_that_breaks_is_gone_on_with(server: Server, tmp_path: Path, mark: str) -> None:
    server.mark, server.cuts = mark, [3000, 2000, 0]
    assert fetch(server, tmp_path, sha256=SUM).sha256 == SUM
    assert [span for _, span in server.asked] == ["", "bytes=3000-", "bytes=5000-", "bytes=5000-"]


@pytest.mark.parametrize("mark", ["weak", "none"])
def test_without_a_mark_to_trust_a_broken_file_begins_anew(server: Server, tmp_path: Path, mark: str) -> None:
    server.mark, server.cuts = mark, [3000]
    assert fetch(server, tmp_path, sha256=SUM).sha256 == SUM
    assert [span for _, span in server.asked] == ["", ""]


def test_a_server_that_cannot_go_on_begins_anew(server: Server, tmp_path: Path) -> None:
    server.ranges, server.cuts = False, [3000]
    assert fetch(server, tmp_path, sha256=SUM).path.read_bytes() == DATA


def test_a_file_that_changes_between_two_parts_is_not_mixed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.files["/d/x.pt"], server.cuts = DATA[::-1], [3000]
    with pytest.raises(DownloadError, match="run it again to go on"):
        fetch(server, tmp_path)
    server.files["/d/x.pt"] = DATA
    assert fetch(server, tmp_path).path.read_bytes() == DATA


def test_what_a_broken_download_brought_is_kept_for_the_next_call(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "ATTEMPTS", 1)
    server.cuts = [3000]
    with pytest.raises(DownloadError, match="connection could not be made, or broke"):
        fetch(server, tmp_path, sha256=SUM)
    assert (tmp_path / "x.pt.part").stat().st_size == 3000
    assert not (tmp_path / "x.pt").exists()
    assert fetch(server, tmp_path, sha256=SUM).path.read_bytes() == DATA
    assert server.asked[-1][1] == "bytes=3000-"


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "x.pt.part").write_bytes(DATA + b"more")
    (tmp_path / "x.pt.part.etag").write_text(f'"{hashlib.md5(DATA).hexdigest()}"')
    assert fetch(server, tmp_path, sha256=SUM).path.read_bytes() == DATA


def test_other_bytes_than_the_published_ones_are_refused_and_not_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="its sha256 is not 000000000000"):
        fetch(server, tmp_path, sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_falls_silent_is_given_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TIMEOUT", (1.0, 0.05))
    monkeypatch.setattr(downloads, "ATTEMPTS", 2)
    server.pause = 0.3
    with pytest.raises(DownloadError, match=r"was silent for 0\.05 seconds|broke"):
        fetch(server, tmp_path, sha256=SUM)


def test_a_slow_server_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.pause = 0.3
    assert fetch(server, tmp_path, sha256=SUM).sha256 == SUM


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.answers = [503, 429]
    assert fetch(server, tmp_path, sha256=SUM).sha256 == SUM
    assert len(server.asked) == 3


def test_a_file_that_is_not_there_is_said_at_once(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="the server says 404"):
        downloads.fetch(f"{server.address}/d/y.pt", tmp_path, "y.pt")
    assert len(server.asked) == 1


def test_no_server_at_all_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PAUSE", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DownloadError, match="connection could not be made"):
        downloads.fetch("http://127.0.0.1:9/x.pt", tmp_path, "x.pt")


@pytest.mark.parametrize("way", ["flag", "environment"])
def test_offline_asks_nobody(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    if way == "environment":
        monkeypatch.setenv("LIMNER_OFFLINE", "1")
    with pytest.raises(DownloadError, match="is not here, and limner is offline"):
        fetch(server, tmp_path, offline=way == "flag")
    assert server.asked == []


def test_a_mirror_is_asked_by_host_and_path(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["/mirror/models.example/a/x.pt"] = DATA
    monkeypatch.setenv("LIMNER_MIRROR", f"{server.address}/mirror/")
    fetched = downloads.fetch("https://models.example/a/x.pt", tmp_path, "x.pt", sha256=SUM)
    assert fetched.path.read_bytes() == DATA


def test_a_full_disk_is_said_before_anything_is_fetched(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 5})())
    with pytest.raises(DownloadError, match="make room"):
        fetch(server, tmp_path)


def test_a_repository_without_the_library_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DownloadError, match=r"pip install 'limner\[hub\]'"):
        downloads.from_hub("someone/model", "x.safetensors", tmp_path)


class _Hub:
    """Stands in for the library of Hugging Face."""

    def __init__(self, works: bool, only: str = "") -> None:
        self.works, self.only = works, only

    def hf_hub_download(self, repository: str, name: str, *, local_dir: Path, local_files_only: bool) -> str:
        if not self.works:
            raise RuntimeError(f"{repository} is\nnot to be had")
        if self.only and not name.endswith(self.only):
            raise type("EntryNotFoundError", (Exception,), {})(name)
        path = local_dir / name
        path.parent.mkdir(parents=True)
        path.write_bytes(DATA)
        return str(path)


def test_a_repository_is_read_through_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", _Hub(works=True))
    fetched = downloads.from_hub("someone/model", "prior/x.safetensors", tmp_path)
    assert (fetched.path, fetched.sha256) == (tmp_path / "prior" / "x.safetensors", SUM)


def test_a_file_that_is_only_there_as_torch_saved_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", _Hub(works=True, only=".bin"))
    fetched = downloads.from_hub("someone/model", "prior/diffusion_pytorch_model.safetensors", tmp_path)
    assert fetched.path.name == "diffusion_pytorch_model.bin"
    with pytest.raises(DownloadError, match=r"EntryNotFoundError: x\.safetensors"):
        downloads.from_hub("someone/model", "x.safetensors", tmp_path)


def test_what_the_library_says_becomes_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", _Hub(works=False))
    with pytest.raises(DownloadError, match="cannot be fetched \\(RuntimeError: someone/model is not to be had\\)"):
        downloads.from_hub("someone/model", "x.safetensors", tmp_path)


def test_downloads_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path))
    assert downloads.cache_root() == tmp_path
    monkeypatch.delenv("LIMNER_CACHE")
    assert downloads.cache_root().name == "limner"
