"""Every failure as the OpenAI API says it: `{"error": {"message", "type", "param", "code"}}`, with a status and headers.

`ApiError` is what routes raise. The handlers turn everything else into one: limner's own errors, bodies that do not fit,
unknown addresses. `x-should-retry: false` tells clients not to send again what would fail again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from limner.errors import CheckpointError, ConfigError, InputError, LimnerError, MemoryLimitError, UnsupportedError
from limner.serving.orders import Full
from limner.serving.safety import REFUSED, Refused

INVALID = "invalid_request_error"
NO_RETRY = {"x-should-retry": "false"}
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_MESSAGE = 2000  # characters of a message
_PARAMS = ("prompt", "size", "seed", "steps", "guidance", "sampler", "negative", "strength", "soft", "mask", "picture", "model")
_CODES = {
    400: "invalid_form",
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    413: "request_too_large",
}


class ErrorDetail(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None = Field(description="The field that does not fit.")
    code: str | None


class ErrorBody(BaseModel):
    """Every answer that is not a success."""

    error: ErrorDetail


class ApiError(Exception):
    """A failure with its status; `param` names the field of the request that does not fit."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str = INVALID,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.headers = dict(headers or {})

    @property
    def body(self) -> dict[str, Any]:
        """The envelope."""
        return {
            "error": {"message": self.message[:_MESSAGE], "type": self.type, "param": self.param, "code": self.code},
        }


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The envelope under each status, for the description of a route."""
    return {status: {"model": ErrorBody} for status in statuses}


def invalid(message: str, *, param: str | None = None, code: str = "invalid_value") -> ApiError:
    """A request that does not fit."""
    return ApiError(400, message, code=code, param=param)


def busy(message: str, retry_after: float, *, status: int = 429) -> ApiError:
    """Too much to do; the client shall come again after so many seconds."""
    type_, code = ("rate_limit_error", "rate_limit_exceeded") if status == 429 else ("server_error", "server_overloaded")
    return ApiError(status, message, type=type_, code=code, headers={"retry-after": str(max(1, round(retry_after)))})


def refused(message: str, *, code: str = "content_policy_violation") -> ApiError:
    """What the server's policy does not let pass; gpt-image names have the code `moderation_blocked`."""
    return ApiError(400, message, type=REFUSED, code=code, headers=NO_RETRY)


def failed(message: str, *, code: str | None = None) -> ApiError:
    """The server could not do what it had accepted, and would fail again."""
    return ApiError(500, message, type="server_error", code=code, headers=NO_RETRY)


def of_limner(error: LimnerError) -> ApiError:
    """limner's own errors: what the user can change is a 400, what the server lacks a 500."""
    match error:
        case Full():
            return busy(str(error), error.retry_after)
        case Refused():
            return refused(str(error))
        case UnsupportedError():
            return invalid(str(error), param="model", code="unsupported")
        case InputError() | ConfigError():
            return invalid(str(error), param=_param(str(error)))
        case MemoryLimitError():
            return failed(str(error), code="out_of_memory")
        case CheckpointError():
            return failed(str(error), code="model_unusable")
    return failed(str(error))


def of_validation(errors: Sequence[Any]) -> ApiError:
    """The first thing in a body or address that does not fit, as pydantic tells it."""
    first = errors[0]
    path = [str(part) for part in first["loc"] if part not in ("body", "query", "path", "header")]
    param = ".".join(path[:1]) or None
    kind, said = first["type"], first["msg"].removeprefix("Value error, ")  # pydantic's word for what we found ourselves
    if kind == "missing":
        return invalid(f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")
    if kind == "extra_forbidden":
        name = ".".join(path)[:80]
        return invalid(f"Unknown parameter: '{name}'.", param=name, code="unknown_parameter")
    if kind == "json_invalid":
        return invalid("The body is not JSON.", code="invalid_json")
    wrong_type = kind.endswith(("_type", "_parsing", "_unicode"))
    where = f"Invalid {'type' if wrong_type else 'value'} for '{param}': " if param else ""
    code = "invalid_type" if wrong_type else "string_above_max_length" if kind == "string_too_long" else "invalid_value"
    return invalid(f"{where}{said}.", param=param, code=code)


def answer(error: ApiError) -> Response:
    """The response of a failure; plain ASCII, so that no character of a request can break it."""
    return Response(json.dumps(error.body), error.status, error.headers, "application/json")


def install(app: FastAPI) -> None:
    """Let every failure of an app leave as an envelope."""

    async def api(request: Request, error: Exception) -> Response:
        return answer(error if isinstance(error, ApiError) else failed(str(error)))

    async def own(request: Request, error: Exception) -> Response:
        return answer(of_limner(error) if isinstance(error, LimnerError) else failed(str(error)))

    async def fields(request: Request, error: Exception) -> Response:
        return answer(of_validation(error.errors()) if isinstance(error, RequestValidationError) else failed(str(error)))

    async def http(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            return answer(failed(str(error)))
        status = error.status_code
        where = f": {request.method} {request.url.path[:200]}" if status in (404, 405) else ""
        headers = {"allow": _allowed(request)} if status == 405 else error.headers
        return answer(ApiError(status, f"{error.detail}{where}", code=_CODES.get(status), headers=headers))

    app.add_exception_handler(ApiError, api)
    app.add_exception_handler(LimnerError, own)
    app.add_exception_handler(RequestValidationError, fields)
    app.add_exception_handler(HTTPException, http)


def _allowed(request: Request) -> str:
    """The methods that an address has; the route that refused knows of its own alone."""
    routes = request.app.router.routes
    asked = [(method, {**request.scope, "method": method}) for method in _METHODS]
    return ", ".join(method for method, scope in asked if any(route.matches(scope)[0] is Match.FULL for route in routes))


def _param(message: str) -> str | None:
    """The field that a message of limner begins with: "size: 7 is ..."."""
    word = message.partition(":")[0]
    return word if word in _PARAMS else None
