"""The server put together: what it describes, whom it lets in, and what it says of accidents."""

from __future__ import annotations

import http.client
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from limner.errors import CheckpointError, ConfigError
from limner.serving import app as serving_app
from tests.serving.conftest import Server, running, settings_for


def asked(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of an answer."""
    connection = http.client.HTTPConnection(server.url.removeprefix("http://"), timeout=60)
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(
            method, path, None if body is None else json.dumps(body), {"content-type": "application/json", **given}
        )
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def described(server: Server) -> dict[str, Any]:
    _, _, body = asked(server, "GET", "/openapi.json")
    found: dict[str, Any] = json.loads(body)
    return found


def test_every_route_describes_its_failures_as_envelopes(described: dict[str, Any]) -> None:
    for path in ("/v1/images/generations", "/v1/images/edits", "/v1/images/variations"):
        answers = described["paths"][path]["post"]["responses"]
        for status in ("400", "401", "404", "415", "429", "500", "503"):
            assert answers[status]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
        assert "422" not in answers


def test_bodies_are_described_with_limners_own_fields(described: dict[str, Any]) -> None:
    body = described["paths"]["/v1/images/generations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert {"prompt", "seed", "steps", "guidance", "sampler", "stream_options"} <= body["properties"].keys()
    assert body["required"] == ["prompt"]
    form = described["paths"]["/v1/images/edits"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert {"image", "image[]", "mask", "strength", "soft"} <= form["properties"].keys()
    assert set(form["required"]) == {"prompt", "image"}
    assert "null" not in json.dumps(form)


def test_no_page_of_somebody_elses_server_is_served(server: Server) -> None:
    assert asked(server, "GET", "/docs")[0] == asked(server, "GET", "/redoc")[0] == 404


def test_pages_of_other_sites_may_not_call_unless_they_are_named(tiny: Path, tmp_path: Path, server: Server) -> None:
    page = "https://page.example"
    status, headers, _ = asked(server, "POST", "/v1/images/generations", {"prompt": "a fox"}, origin=page)
    assert status == 403
    assert "access-control-allow-origin" not in headers
    with running(settings_for(tiny, tmp_path, cors_origins=(page,))) as open_one:
        preflight = {"origin": page, "access-control-request-method": "POST"}
        status, headers, _ = asked(open_one, "OPTIONS", "/v1/images/generations", **preflight)
        assert (status, headers["access-control-allow-origin"]) == (200, page)
        status, headers, _ = asked(open_one, "GET", "/v1/models", origin=page)
        assert (status, headers["access-control-allow-origin"]) == (200, page)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/images/generations", "POST"),
        ("/images/edits", "POST"),
        ("/v1/models", "GET"),
        ("/jobs", "GET, POST"),
        ("/jobs/0", "GET, DELETE"),
        ("/healthz", "GET, HEAD"),
    ],
)
def test_a_method_that_an_address_lacks_is_told_all_it_has(server: Server, path: str, allowed: str) -> None:
    status, headers, body = asked(server, "PATCH", path)
    assert (status, headers["allow"]) == (405, allowed)
    assert json.loads(body)["error"]["code"] == "method_not_allowed"


def test_the_head_of_a_picture_is_that_of_its_file_without_the_bytes(server: Server) -> None:
    with server.client() as client:
        url = client.images.generate(model="tiny", prompt="a fox").data[0].url
    path = url.removeprefix(server.url)
    changing = {"date", "x-request-id", "openai-processing-ms"}
    told = {}
    for method in ("GET", "HEAD"):
        status, headers, body = asked(server, method, path)
        told[method] = status, {name: value for name, value in headers.items() if name not in changing}, len(body)
    assert told["HEAD"][:2] == told["GET"][:2]
    assert told["HEAD"][2] == 0 < told["GET"][2] == int(told["GET"][1]["content-length"])


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 200), ("/files/x", 403), ("/nowhere", 404)])
def test_a_head_has_the_status_of_its_get(server: Server, path: str, status: int) -> None:
    assert [asked(server, method, path)[0] for method in ("GET", "HEAD")] == [status, status]
    assert asked(server, "HEAD", path)[2] == b""


def test_links_are_made_with_the_public_address(tiny: Path, tmp_path: Path) -> None:
    with running(settings_for(tiny, tmp_path, public_url="https://draw.example.org/")) as server, server.client() as client:
        url = client.images.generate(model="tiny", prompt="a fox").data[0].url
    assert url.startswith("https://draw.example.org/files/")


def test_a_job_of_the_images_api_is_found_among_the_jobs(server: Server) -> None:
    _, headers, _ = asked(server, "POST", "/v1/images/generations", {"model": "tiny", "prompt": "a fox"})
    status, _, body = asked(server, "GET", f"/jobs/{headers['x-limner-job']}")
    assert (status, json.loads(body)["state"]) == (200, "done")


def test_a_model_that_is_not_there_is_said_before_anything_is_written(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'other' is not served; have: "):
        serving_app.create_app(settings_for(tiny, tmp_path / "data", model="other"))
    with pytest.raises(ConfigError, match="'dall-e-9' is none of dall-e-2"):
        serving_app.create_app(settings_for(tiny, tmp_path / "data", aliases={"dall-e-9": "tiny"}))
    assert not (tmp_path / "data").exists()


_POOLS = """
import ctypes, sys, threading
from limner.serving import app

app.share_memory_pools()
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)
threads = [threading.Thread(target=lambda: (libc.malloc(1000), together.wait())) for _ in range(6)]
[each.start() for each in threads]
[each.join() for each in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library keeps memory in another way")
def test_threads_share_the_pools_of_memory(tmp_path: Path) -> None:
    free = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    subprocess.run([sys.executable, "-c", _POOLS, str(tmp_path / "pools.xml")], env=free, check=True)
    assert (tmp_path / "pools.xml").read_text().count("<heap nr=") <= 2


def test_drawing_is_not_needed_to_start() -> None:
    """torch takes seconds to import, so it waits for the first picture."""
    code = "import sys, limner.serving.app; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
