"""Errors as HTTP says them: one place decides status, code and hint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from actors.aggregator.models import Problem
from actors.aggregator.reading import BadRequest
from agent.errors import BadInput, NotFound, Overloaded, StoreError, TooLarge, Unsupported

RETRY_S = 2.0


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    problem: Problem
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal_of(error: Exception) -> Refusal:
    """What a client is told. What is not known here is ours: its text stays inside."""
    match error:
        case web.HTTPException():
            return _of_http(error)
        case TooLarge():
            return Refusal(413, Problem(error.reason, error.message))
        case Unsupported():
            return Refusal(415, Problem(error.reason, error.message))
        case BadRequest():
            return Refusal(400, Problem(error.reason, error.message, error.hint))
        case BadInput():
            return Refusal(400, Problem(error.reason, error.message))
        case NotFound():
            return Refusal(404, Problem("not_found", str(error)))
        case Overloaded():
            return _later("overloaded", error.message, error.retry_after_s)
        case StoreError():
            return _later("store_away", str(error), RETRY_S)
        case TimeoutError():
            hint = "ask again, name a service, or raise aggregator.ask_timeout_s"
            return Refusal(504, Problem("timeout", "it took longer than the settings allow", hint))
    return Refusal(500, Problem("internal", "an error of the layer itself", "its log has the details"))


def _later(code: str, message: str, retry_after_s: float) -> Refusal:
    after = str(max(1, math.ceil(retry_after_s)))
    return Refusal(503, Problem(code, message, f"try again in {after} s"), {"Retry-After": after})


_HTTP_CODES = {
    401: "unauthorized",
    403: "forbidden",
    404: "no_such_route",
    405: "method_not_allowed",
    413: "too_large",
}
_HTTP_HINTS = {
    401: "send the header Authorization: Bearer <aggregator.auth_token>",
    404: "/api/v1/docs lists the routes",
    413: "the body of a request is a small JSON object",
}


def _of_http(error: web.HTTPException) -> Refusal:
    kept = {
        name: value
        for name, value in error.headers.items()
        if name in ("Allow", "WWW-Authenticate", "Retry-After")
    }
    hint = f"allowed here: {kept['Allow']}" if "Allow" in kept else _HTTP_HINTS.get(error.status, "")
    code = _HTTP_CODES.get(error.status, f"http_{error.status}")
    return Refusal(error.status, Problem(code, error.text or error.reason, hint), kept)
