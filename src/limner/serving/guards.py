"""What every request passes before a route sees it, written as plain ASGI so that nothing is buffered on the way.

From the outside in: `HouseRules` (security headers, foreign hosts and pages), `BodyLimit` (bytes and time of a body while it
comes in), `KeyGuard` (keys, requests a minute). `take_pictures` is for routes, which know how many are asked for.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from anyio import to_thread
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.serving import limits
from limner.serving.envelopes import ApiError
from limner.serving.keys import Key, KeyFile, stranger

LOCAL = ("localhost", "127.0.0.1", "::1")
OPEN = ("/healthz", "/readyz", "/files/")  # without a key: signs of life, and links that are signed themselves
PAGES = "/studio"  # for browsers, which ask people for a password: the key
COUNTED = ("/v1/", "/images/", "/jobs")  # requests that a limit of requests is about
SAFE = ("GET", "HEAD", "OPTIONS")

JSON_LIMIT = 2**20  # bytes of a body that is no form; Python needs some twenty times this to hold the worst of them
LINGER = 20.0  # seconds that a body nobody reads may take before the answer to it is sent
LINGER_BYTES = 64 * 2**20
GRACE = 30.0  # seconds that a body may take to begin with
SLOWEST = 16 * 1024  # bytes a second; whoever sends slower holds a place that others need

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "SAMEORIGIN",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_NOTHING = "default-src 'none'; frame-ancestors 'none'; sandbox"
_STUDIO = "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'self'; object-src 'none'"


class _Pass(NamedTuple):
    """Who asks, and how much they may."""

    client: str
    owner: str  # whose bucket pays
    requests: int | None
    pictures: int | None


class HouseRules:
    """Security headers on every answer; no answer for names this server does not have, nor for other sites' pages.

    A page of another site may make a browser send a form to 127.0.0.1, and a name that is made to point there (DNS
    rebinding) would let it read the answer. Programs send no Origin and are not concerned.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None = None, origins: Sequence[str] = ()) -> None:
        """`hosts`: names this server answers to, without ports; None = any. `origins`: foreign pages that may call it."""
        self.app = app
        self.hosts = None if hosts is None else {host.lower().strip("[]") for host in hosts}
        self.origins = {origin.lower().rstrip("/") for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        policy = _STUDIO if scope["path"].startswith(PAGES) else _NOTHING

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in (_HEADERS | {"content-security-policy": policy}).items():
                    headers.setdefault(name, value)
            await send(message)

        error = self._fault(scope, Headers(scope=scope))
        if error is not None:
            await refuse(error, scope, dressed)
        else:
            await self.app(scope, receive, dressed)

    def _fault(self, scope: Scope, headers: Headers) -> ApiError | None:
        host = headers.get("host", "")
        # A browser always says which name it followed; HTTP/1.0, as watchers still speak it, may leave it out.
        if self.hosts is not None and "host" in headers and _bare(host) not in self.hosts:
            return ApiError(421, "This server does not answer to that Host; see --allowed-host.", code="unknown_host")
        origin = headers.get("origin", "").lower().rstrip("/")
        asks = scope["type"] == "http" and scope["method"] in SAFE
        if asks or not origin or "*" in self.origins or origin in self.origins:
            return None
        try:
            same = urlsplit(origin).netloc == host.lower()
        except ValueError:
            same = False
        return None if same else ApiError(403, "Pages of other sites may not call this server.", code="foreign_origin")


class KeyGuard:
    """Nobody passes without a key where keys are required; elsewhere a key still tells clients apart and has its limits.

    Everything is guarded but `OPEN`, so that a route added later cannot be forgotten. What it finds is in `request.state`:
    `client` (see `keys.client_of`) and what `take_pictures` needs.
    """

    def __init__(
        self, app: ASGIApp, *, keys: KeyFile, required: bool, requests: int | None = None, pictures: int | None = None
    ) -> None:
        """`requests` and `pictures` a minute hold for keys without limits of their own, and for strangers by address."""
        self.app = app
        self.keys = keys
        self.required = required
        self.requests = requests
        self.pictures = pictures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        path: str = scope["path"]
        if path in OPEN or path.startswith("/files/"):
            scope.setdefault("state", {})["client"] = stranger(None, _address(scope))
            await self.app(scope, receive, send)
            return
        try:
            # Reading the file of keys may wait for a process that writes it; others must not wait with it.
            passed, budget = await to_thread.run_sync(self._admit, scope)
        except ApiError as error:
            await refuse(error, scope, send)
            return
        scope.setdefault("state", {}).update(client=passed.client, passed=passed, keys=self.keys)
        told = budget.headers() if budget else {}

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in told.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, counted if told else send)

    def _admit(self, scope: Scope) -> tuple[_Pass, limits.Budget | None]:
        path: str = scope["path"]
        token = token_of(Headers(scope=scope).get("authorization", ""))
        passed = self._passed(self.keys.find(token or ""), token, scope)
        if not path.startswith(COUNTED):
            return passed, None
        budget = limits.spend(self.keys, passed.owner, passed.requests)
        if budget is not None and not budget.taken:
            raise _too_many(budget)
        return passed, budget

    def _passed(self, key: Key | None, token: str | None, scope: Scope) -> _Pass:
        wall = {"www-authenticate": 'Basic realm="limner", charset="UTF-8"' if scope["path"].startswith(PAGES) else "Bearer"}
        if key is not None and key.revoked is not None:
            raise ApiError(401, "This API key was revoked.", code="invalid_api_key", headers=wall)
        if key is not None:
            requests, pictures = key.requests or self.requests, key.pictures or self.pictures
            return _Pass(key.id, key.id, requests, pictures)
        if self.required:
            message = "Incorrect API key provided." if token else "You did not provide an API key."
            raise ApiError(401, message + " Send one as `Authorization: Bearer KEY`.", code="invalid_api_key", headers=wall)
        address = _address(scope)
        return _Pass(stranger(token, address), f"from {address}", self.requests, self.pictures)


class BodyLimit:
    """Counts a body while it comes in, whatever its Content-Length says, and stops it when it is too long or too slow.

    Answers wait until a body that nobody wanted to read has come in (`LINGER`): closed earlier, the connection would be
    reset, and the client would see that instead of the answer.
    """

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        """`most`: bytes of a form with its files; other bodies may have `JSON_LIMIT`."""
        self.app = app
        self.most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        form = headers.get("content-type", "").lower().startswith("multipart/form-data")
        most = self.most if form else min(self.most, JSON_LIMIT)
        declared = headers.get("content-length", "")
        waits = "expect" in headers  # for a word before it sends its body; then there is nothing to wait for here
        gate = _Gate(most, receive, send, linger=0.0 if waits else LINGER)
        if declared.isdecimal() and int(declared[:20]) > most:
            gate.error = _too_large(most)
        else:
            with contextlib.suppress(_Stop, ClientDisconnect):  # whoever left in the middle of a body gets no answer
                await self.app(scope, gate.receive, gate.send)
        if gate.error is not None and not gate.answered:
            await gate.drain()
            await refuse(gate.error, scope, send)


class _Stop(Exception):  # noqa: N818 (control flow, never seen outside)
    """The body is not read any further."""


class _Gate:
    """One request's way in and out: what comes in is counted, and what goes out is held back once that was too much."""

    def __init__(self, most: int, receive: Receive, send: Send, *, linger: float) -> None:
        self.error: ApiError | None = None
        self.answered = False
        self._most, self._linger = most, linger
        self._receive, self._send = receive, send
        self._seen = 0
        self._ended = False
        self._began = time.monotonic()

    async def receive(self) -> Message:
        """The next part of the body; when it has ended, whatever comes next, however long that takes."""
        if self.error is not None:
            raise _Stop
        if self._ended:
            return await self._receive()
        try:
            async with asyncio.timeout(self._began + GRACE + self._seen / SLOWEST - time.monotonic()):
                message = await self._next()
        except TimeoutError:
            self.error = ApiError(408, "The body came too slowly; send it again.", code="request_timeout")
            raise _Stop from None
        if self._seen > self._most:
            self.error = _too_large(self._most)
            raise _Stop
        return message

    async def send(self, message: Message) -> None:
        """Pass an answer on, unless it is one to a body that was cut off here."""
        if self.error is not None and not self.answered:
            return
        if not self.answered:
            await self.drain()
        self.answered = True
        await self._send(message)

    async def drain(self) -> None:
        """Let the rest of the body come in, unseen and unkept, for a while and up to a bound."""
        end = self._seen + LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._linger):
                while not self._ended and self._seen < end:
                    await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._seen += len(message.get("body", b""))
        self._ended = message["type"] != "http.request" or not message.get("more_body", False)
        return message


async def take_pictures(request: Request, count: int) -> dict[str, str]:
    """Take some pictures from the allowance of who asks; the headers that tell how many are left.

    Raises: ApiError 429 when there are not enough.
    """
    passed: _Pass = request.state.passed
    keys: KeyFile = request.state.keys
    budget = await to_thread.run_sync(
        lambda: limits.spend(keys, passed.owner, passed.pictures, kind="pictures", cost=count),
    )
    if budget is None:
        return {}
    if not budget.taken:
        raise _too_many(budget, count)
    return budget.headers()


def token_of(header: str) -> str | None:
    """The key in an Authorization header: a bearer's, or the password a browser asked for."""
    scheme, _, rest = header.partition(" ")
    rest = rest.strip()
    match scheme.lower():
        case "bearer":
            return rest or None
        case "basic":
            try:
                return base64.b64decode(rest, validate=True).decode("utf-8").partition(":")[2] or None
            except (binascii.Error, ValueError):
                return None
    return None


def hosts_of(host: str, public_url: str | None, more: Sequence[str] = ()) -> set[str] | None:
    """The names a server answers to: its own machine's when nobody else can reach it, else any (None).

    Units: `host` is the address it is bound to; `more` are further names, "*" any.
    """
    if "*" in more or (host not in LOCAL and not more):
        return None
    public = urlsplit(public_url).hostname if public_url else None
    return {*LOCAL, host, *more, *([public] if public else [])}


async def refuse(error: ApiError, scope: Scope, send: Send) -> None:
    """Answer with an envelope, and end the connection: a body that is still coming is not waited for."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": ""})
        return
    body = json.dumps(error.body).encode()
    headers: Mapping[str, str] = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        "connection": "close",
        **error.headers,
    }
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _too_many(budget: limits.Budget, wanted: int = 1) -> ApiError:
    return ApiError(429, budget.refusal(wanted), type="rate_limit_error", code="rate_limit_exceeded", headers=budget.headers())


def _too_large(most: int) -> ApiError:
    return ApiError(
        413, f"The body has more than {most:,} bytes; send less.", code="request_too_large", headers={"x-should-retry": "false"}
    )


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else "unknown"


def _bare(host: str) -> str:
    """A Host header without its port."""
    host = host.lower()
    if host.startswith("["):
        return host.partition("]")[0].strip("[")
    return host.partition(":")[0]
