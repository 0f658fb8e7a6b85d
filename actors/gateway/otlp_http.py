"""OTLP over HTTP: protobuf and JSON, gzip and deflate (OTLP specification 1.x, section OTLP/HTTP)."""

from __future__ import annotations

import hmac
import zlib
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from agent.errors import BadInput, Malformed, Overloaded, TooLarge, Unsupported
from agent.settings import GatewaySettings
from agent.telemetry.batch import Reject, Signal
from agent.telemetry.otlp_json import json_to_protobuf
from agent.telemetry.otlp_response import encode_partial_success, encode_status

PROTOBUF, JSON = "application/x-protobuf", "application/json"
PATHS: Mapping[str, Signal] = {
    "/v1/traces": Signal.SPANS,
    "/v1/logs": Signal.LOGS,
    "/v1/metrics": Signal.METRICS,
}
WBITS = {"gzip": 31, "deflate": 15}
# google.rpc codes, which the body of an error carries beside the HTTP status.
INVALID_ARGUMENT, UNAVAILABLE, RESOURCE_EXHAUSTED, UNAUTHENTICATED = 3, 14, 8, 16

Take = Callable[[Signal, bytes, str], Awaitable[dict[Reject, int]]]
Refuse = Callable[[str], None]


def decompress(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """The body as it was before ``Content-Encoding``; never more than ``max_bytes`` are produced."""
    if encoding in ("", "identity"):
        return body
    if encoding not in WBITS:
        raise Unsupported(
            "unknown_encoding", f"Content-Encoding {encoding!r} is not spoken here; use gzip, deflate or none"
        )
    inflate = zlib.decompressobj(WBITS[encoding])
    try:
        plain = inflate.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise Malformed(f"bad_{encoding}", f"the body is not {encoding}: {error}") from None
    if len(plain) > max_bytes:
        raise TooLarge(
            "body_too_large", f"the body unpacks to more than {max_bytes} bytes (gateway.max_decoded_bytes)"
        )
    if not inflate.eof:
        raise Malformed(
            f"truncated_{encoding}", f"the {encoding} body ends too early: {len(body)} bytes came"
        )
    if inflate.unused_data:
        raise Malformed(
            f"bad_{encoding}", f"{len(inflate.unused_data)} bytes follow the end of the {encoding} body"
        )
    return plain


def otlp_app(settings: GatewaySettings, take: Take, refuse: Refuse) -> web.Application:
    """The OTLP/HTTP routes. ``take`` makes a body durable and returns the rows it refused."""

    async def export(request: web.Request) -> web.Response:
        content_type = request.content_type
        try:
            body = await _plain_body(request, settings)
            signal = PATHS[request.path]
            rejected = await take(signal, body, request.headers.get("X-Scope-OrgID", "default"))
        except BadInput as error:
            refuse(error.reason)
            return _refusal(content_type, error)
        except Overloaded as error:
            headers = {"Retry-After": str(max(1, round(error.retry_after_s)))}
            return _error(content_type, 503, UNAVAILABLE, error.message, headers)
        as_json = content_type == JSON
        return web.Response(
            body=encode_partial_success(signal, rejected, as_json=as_json), content_type=content_type
        )

    app = web.Application(client_max_size=settings.max_body_bytes, middlewares=[_authenticate(settings)])
    for path in PATHS:
        app.router.add_post(path, export)
    return app


async def _plain_body(request: web.Request, settings: GatewaySettings) -> bytes:
    if request.content_type not in (PROTOBUF, JSON):
        raise Unsupported(
            "unknown_content_type",
            f"Content-Type {request.content_type!r} is not spoken here; use {PROTOBUF} or {JSON}",
        )
    try:
        packed = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(
            "body_too_large",
            f"the body has more than {settings.max_body_bytes} bytes (gateway.max_body_bytes)",
        ) from None
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    body = decompress(packed, encoding, settings.max_decoded_bytes)
    return json_to_protobuf(PATHS[request.path], body) if request.content_type == JSON else body


def _refusal(content_type: str, error: BadInput) -> web.Response:
    status = {TooLarge: 413, Unsupported: 415}.get(type(error), 400)
    return _error(content_type, status, INVALID_ARGUMENT, error.message, {})


def _error(
    content_type: str, status: int, code: int, message: str, headers: Mapping[str, str]
) -> web.Response:
    as_json = content_type != PROTOBUF
    return web.Response(
        status=status,
        body=encode_status(code, message, as_json=as_json),
        content_type=JSON if as_json else PROTOBUF,
        headers=headers,
    )


def _authenticate(settings: GatewaySettings) -> Callable[..., Awaitable[web.StreamResponse]]:
    expected = f"Bearer {settings.auth_token.reveal()}".encode()

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode()
        if settings.auth_token and not hmac.compare_digest(shown, expected):
            message = "Authorization: Bearer <token> is missing or wrong (gateway.auth_token)"
            return _error(request.content_type, 401, UNAUTHENTICATED, message, {"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return middleware
