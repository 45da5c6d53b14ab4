"""Every answer with an id, every request with a line in the log, every accident as an envelope."""

from __future__ import annotations

import secrets
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.serving import envelopes
from limner.serving.metrics import LOGGER, log


class Tracing:
    """The outermost layer, plain ASGI: gives x-request-id, logs, and turns what nobody caught into a 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        name = f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = name
        began, status = time.monotonic(), 0

        async def named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["x-request-id"] = name
                headers.setdefault("openai-processing-ms", str(round(1000 * (time.monotonic() - began))))
            await send(message)

        try:
            await self.app(scope, receive, named)
        except Exception:
            LOGGER.exception("accident", extra={"facts": {"request": name}})
            if status:  # the answer has begun: only breaking it off tells the client
                raise
            error = envelopes.failed(f"Something went wrong here; the server's log has it under {name}.")
            await envelopes.answer(error)(scope, receive, named)
        finally:
            seconds = round(time.monotonic() - began, 4)
            client = scope["state"].get("client")
            log("request", request=name, method=scope["method"], path=scope["path"], status=status, s=seconds, client=client)
