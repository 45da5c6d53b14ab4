"""What a request passes before a route sees it, on an app that does little, called without a network."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.serving import guards, keys
from limner.serving.envelopes import ApiError
from limner.serving.guards import BodyLimit, HouseRules, KeyGuard
from limner.serving.keys import KeyFile


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Tells how long the body was, and who sent it."""
    request = Request(scope, receive)
    length = len(await request.body())
    client = getattr(request.state, "client", None)
    await JSONResponse({"length": length, "client": client})(scope, receive, send)


def ask(
    app: ASGIApp,
    path: str = "/v1/models",
    *,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    parts: tuple[bytes, ...] = (b"",),
    pause: float = 0,
    address: str = "10.0.0.1",
) -> Answer:
    """One request; its body comes in parts, with a pause before each."""
    waiting = list(parts)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.sleep(pause)
        if not waiting:
            return {"type": "http.disconnect"}
        body = waiting.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": raw,
        "client": (address, 1234),
        "server": ("127.0.0.1", 8000),
    }
    asyncio.run(app(scope, receive, send))
    start = sent[0]
    told = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], told, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def file(tmp_path: Path) -> Iterator[KeyFile]:
    with closing(KeyFile(tmp_path)) as file:
        yield file


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# Keys


def test_where_keys_are_required_nobody_passes_without_one(file: KeyFile) -> None:
    guard = KeyGuard(echo, keys=file, required=True)
    _, token = file.add("x")
    for headers in ({}, bearer("wrong"), bearer(token + "x"), {"authorization": token}, {"authorization": "Bearer "}):
        refused = ask(guard, headers=headers)
        assert (refused.status, refused.code) == (401, "invalid_api_key")
        assert refused.headers["www-authenticate"] == "Bearer"
    assert ask(guard, headers=bearer(token)).status == 200


@pytest.mark.parametrize("path", ["/", "/v1/models", "/studio", "/metrics", "/openapi.json", "/jobs", "/nowhere", "/healthz/x"])
def test_every_address_is_guarded(file: KeyFile, path: str) -> None:
    assert ask(KeyGuard(echo, keys=file, required=True), path).status == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/files/abc"])
def test_signs_of_life_and_signed_links_need_no_key(file: KeyFile, path: str) -> None:
    assert ask(KeyGuard(echo, keys=file, required=True), path).status == 200


def test_the_route_hears_the_id_of_the_key_and_not_the_key(file: KeyFile) -> None:
    key, token = file.add("x")
    assert json.loads(ask(KeyGuard(echo, keys=file, required=True), headers=bearer(token)).body)["client"] == key.id


@pytest.mark.parametrize("required", [True, False])
def test_a_revoked_key_is_refused_at_once_even_where_none_is_needed(file: KeyFile, required: bool) -> None:
    guard = KeyGuard(echo, keys=file, required=required)
    key, token = file.add("x")
    assert ask(guard, headers=bearer(token)).status == 200
    file.revoke(key.id)
    assert ask(guard, headers=bearer(token)).status == 401


def test_without_keys_every_token_passes_and_tells_clients_apart(file: KeyFile) -> None:
    guard = KeyGuard(echo, keys=file, required=False)
    clients = [
        json.loads(ask(guard, headers=headers).body)["client"] for headers in ({}, bearer("a"), bearer("b"), bearer("a"))
    ]
    assert clients[1] == clients[3]
    assert len(set(clients)) == 3


def test_a_browser_is_asked_for_a_password_which_is_the_key(file: KeyFile) -> None:
    guard = KeyGuard(echo, keys=file, required=True)
    _, token = file.add("x")
    assert ask(guard, "/studio").headers["www-authenticate"].startswith("Basic ")
    header = base64.b64encode(f"me:{token}".encode()).decode()
    assert ask(guard, "/studio", headers={"authorization": f"Basic {header}"}).status == 200


@pytest.mark.parametrize("header", ["Basic !!!", "Basic gICA", "Basic", "Bearer", "Digest x", "", "Basic " + "A" * 4])
def test_a_header_that_holds_no_key_holds_none(header: str) -> None:
    assert guards.token_of(header) is None


# Limits


def test_a_key_has_so_many_requests_a_minute_and_hears_of_it(file: KeyFile) -> None:
    _, token = file.add("x", requests=2)
    guard = KeyGuard(echo, keys=file, required=True)
    assert [ask(guard, headers=bearer(token)).headers["x-ratelimit-remaining-requests"] for _ in range(2)] == ["1", "0"]
    refused = ask(guard, headers=bearer(token))
    assert (refused.status, refused.code) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    _, other = file.add("y", requests=2)
    assert ask(guard, headers=bearer(other)).status == 200


def test_strangers_share_the_limit_of_their_address_whatever_tokens_they_make_up(file: KeyFile) -> None:
    guard = KeyGuard(echo, keys=file, required=False, requests=3)
    assert [ask(guard, headers=bearer(str(n))).status for n in range(4)] == [200, 200, 200, 429]
    assert ask(guard, address="10.0.0.2").status == 200


def test_pages_are_not_counted_as_requests(file: KeyFile) -> None:
    guard = KeyGuard(echo, keys=file, required=False, requests=1)
    assert [ask(guard, path).status for path in ("/studio/a.js", "/studio/b.js", "/healthz", "/v1/models")] == [200] * 4


def test_pictures_are_taken_from_the_allowance_of_the_key(file: KeyFile) -> None:
    async def draw(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            told = await guards.take_pictures(Request(scope, receive), 2)
            await Response(headers=told)(scope, receive, send)
        except ApiError as error:
            await Response(status_code=error.status, headers=error.headers)(scope, receive, send)

    _, token = file.add("x", pictures=3)
    guard = KeyGuard(draw, keys=file, required=True)
    first, second = (ask(guard, "/v1/images/generations", method="POST", headers=bearer(token)) for _ in range(2))
    assert (first.status, first.headers["x-ratelimit-remaining-pictures"]) == (200, "1")
    assert (second.status, second.headers["retry-after"]) == (429, "20")  # one more at three a minute
    _, free = file.add("y")
    assert ask(guard, "/v1/images/generations", method="POST", headers=bearer(free)).status == 200


# Bodies


FORM = {"content-type": "multipart/form-data; boundary=x"}


def test_a_body_within_the_limit_arrives_whole() -> None:
    assert (
        json.loads(ask(BodyLimit(echo, most=10), method="POST", headers=FORM, parts=(b"12345", b"67890")).body)["length"] == 10
    )


def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError

    refused = ask(BodyLimit(never, most=10), method="POST", headers={**FORM, "content-length": "11"})
    assert (refused.status, refused.code) == (413, "request_too_large")
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("headers", [FORM, {**FORM, "content-length": "5"}, {**FORM, "content-length": "x"}])
def test_a_body_is_cut_off_where_the_limit_is_whatever_its_header_says(headers: dict[str, str]) -> None:
    refused = ask(BodyLimit(echo, most=10), method="POST", headers=headers, parts=(b"12345",) * 1000)
    assert (refused.status, refused.code) == (413, "request_too_large")


def test_an_app_that_swallows_the_interruption_cannot_answer_anything_else() -> None:
    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await echo(scope, receive, send)
        except Exception:  # noqa: BLE001 (as frameworks do)
            await Response(b"never mind", 400)(scope, receive, send)

    assert ask(BodyLimit(stubborn, most=10), method="POST", headers=FORM, parts=(b"12345",) * 5).status == 413


def test_a_body_that_is_no_form_has_a_smaller_limit() -> None:
    long = {"content-type": "application/json", "content-length": str(guards.JSON_LIMIT + 1)}
    assert ask(BodyLimit(echo, most=10**9), method="POST", headers=long).status == 413
    assert ask(BodyLimit(echo, most=10**9), method="POST", headers={**long, **FORM}).status == 200


def test_a_body_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "GRACE", 0.05)
    refused = ask(BodyLimit(echo, most=10**6), method="POST", headers=FORM, parts=(b"x",) * 50, pause=0.03)
    assert (refused.status, refused.code) == (408, "request_timeout")


def test_an_answer_may_take_as_long_as_it_likes_once_the_body_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "GRACE", 0.05)

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await asyncio.sleep(0.1)
        assert (await receive())["type"] == "http.disconnect"
        await Response(b"done")(scope, receive, send)

    assert ask(BodyLimit(slow, most=10), method="POST", parts=(b"x",)).body == b"done"


def test_an_answer_waits_for_a_body_that_nobody_read() -> None:
    read = 0

    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            return message

        async def early(scope: Scope, receive: Receive, send: Send) -> None:
            await Response(b"no", 400)(scope, receive, send)
            assert read == 15  # all had come in before the answer went out

        await BodyLimit(early, most=100)(scope, counted, send)

    assert ask(hasty, method="POST", headers=FORM, parts=(b"12345",) * 3).status == 400
    assert read == 15


def test_a_body_that_is_much_too_long_comes_in_before_it_is_refused() -> None:
    parts = [b"x" * 1000] * 100
    left = list(parts)

    async def upload(scope: Scope, receive: Receive, send: Send) -> None:
        async def counted() -> Message:
            left.pop()
            return await receive()

        await BodyLimit(echo, most=10)(scope, counted, send)

    headers = {**FORM, "content-length": "100000"}
    assert ask(upload, method="POST", headers=headers, parts=tuple(parts)).status == 413
    assert left == []


def test_a_body_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guards, "LINGER", 0.05)

    async def early(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(b"no", 400)(scope, receive, send)

    assert ask(BodyLimit(early, most=10**6), method="POST", headers=FORM, parts=(b"x",) * 50, pause=0.02).status == 400


def test_who_leaves_in_the_middle_of_a_body_is_no_accident() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def never(message: Message) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    asyncio.run(BodyLimit(echo, most=10)(scope, gone, never))


# Hosts, pages, headers


def test_answers_carry_security_headers_unless_a_route_has_its_own() -> None:
    async def own(scope: Scope, receive: Receive, send: Send) -> None:
        await Response(headers={"content-security-policy": "default-src 'self'"})(scope, receive, send)

    told = ask(HouseRules(echo)).headers
    assert told["x-content-type-options"] == "nosniff"
    assert told["x-frame-options"] == "SAMEORIGIN"
    assert told["content-security-policy"].startswith("default-src 'none'")
    assert "'self'" in ask(HouseRules(echo), "/studio/").headers["content-security-policy"]
    assert ask(HouseRules(own)).headers["content-security-policy"] == "default-src 'self'"


@pytest.mark.parametrize(
    ("host", "passes"),
    [
        ("localhost:8000", True),
        ("127.0.0.1", True),
        ("[::1]:8000", True),
        ("LOCALHOST", True),
        ("evil.example", False),
        ("", False),
        (None, True),  # HTTP/1.0, which no browser speaks
    ],
)
def test_a_local_server_answers_to_local_names_only(host: str | None, passes: bool) -> None:
    app = HouseRules(echo, hosts=guards.hosts_of("127.0.0.1", None))
    answer = ask(app, headers={} if host is None else {"host": host})
    assert answer.status == (200 if passes else 421)
    assert passes or answer.headers["x-content-type-options"] == "nosniff"


def test_the_public_name_and_further_ones_are_answered_to() -> None:
    names = guards.hosts_of("127.0.0.1", "https://draw.example.org/x", ("other",))
    assert names == {"localhost", "127.0.0.1", "::1", "draw.example.org", "other"}
    assert guards.hosts_of("0.0.0.0", None) is None
    assert guards.hosts_of("127.0.0.1", None, ("*",)) is None
    assert guards.hosts_of("0.0.0.0", None, ("me",)) == {"localhost", "127.0.0.1", "::1", "0.0.0.0", "me"}


@pytest.mark.parametrize(
    ("method", "origin", "passes"),
    [
        ("POST", None, True),
        ("POST", "http://localhost:8000", True),
        ("POST", "https://friend.example", True),
        ("POST", "https://evil.example", False),
        ("POST", "null", False),
        ("DELETE", "http://localhost:9000", False),
        ("POST", "http://[", False),
        ("GET", "https://evil.example", True),
    ],
)
def test_pages_of_other_sites_may_change_nothing(method: str, origin: str | None, passes: bool) -> None:
    headers = {"host": "localhost:8000"} | ({"origin": origin} if origin else {})
    app = HouseRules(echo, origins=("https://friend.example",))
    assert ask(app, method=method, headers=headers).status == (200 if passes else 403)


def test_an_answer_to_head_has_no_body() -> None:
    refused = ask(HouseRules(echo, hosts={"me"}), method="HEAD", headers={"host": "you"})
    assert (refused.status, refused.body) == (421, b"")


def test_a_websocket_that_may_not_pass_is_closed(file: KeyFile) -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": "/x", "headers": [], "client": None}
    asyncio.run(KeyGuard(echo, keys=file, required=True)(scope, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_the_start_and_end_of_a_server_pass_every_guard(file: KeyFile) -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any: ...

    for guard in (KeyGuard(app, keys=file, required=True), BodyLimit(app, most=1), HouseRules(app, hosts=set())):
        asyncio.run(guard({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"] * 3
    assert file.path.name == keys.FILE
