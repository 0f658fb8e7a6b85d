"""OTLP over HTTP: protobuf and JSON, gzip and deflate (OTLP specification 1.x, section OTLP/HTTP)."""

from __future__ import annotations

import asyncio
import hmac
import math
import zlib
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from actors.gateway.room import RateLimited, Room, work
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
READ_S = 60.0  # a body that comes slower holds room for nothing
USUAL_PACKING = 8  # how much larger a body of telemetry is unpacked
# What requests are counted under that were refused for no fault of their bodies.
OVERLOADED, UNAUTHENTICATED_SENDER = "overloaded", "unauthenticated"
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


def otlp_app(settings: GatewaySettings, room: Room, take: Take, refuse: Refuse) -> web.Application:
    """The OTLP/HTTP routes. ``take`` makes a body durable and returns the rows it refused."""

    async def export(request: web.Request) -> web.Response:
        content_type = request.content_type
        try:
            # A body of unknown length may turn out as large as one may be.
            length = request.content_length
            limit = settings.max_body_bytes
            with room.hold(limit if length is None else min(length, limit)):
                body = await _plain_body(request, settings)
            with room.hold(len(body)):
                tenant = request.headers.get("X-Scope-OrgID", "default")
                rejected = await take(PATHS[request.path], body, tenant)
        except BadInput as error:
            refuse(error.reason)
            return _refusal(content_type, error)
        except RateLimited as error:
            return _error(
                content_type, 429, RESOURCE_EXHAUSTED, error.message, retry_after(error.retry_after_s)
            )
        except Overloaded as error:
            refuse(OVERLOADED)
            return _error(content_type, 503, UNAVAILABLE, error.message, retry_after(error.retry_after_s))
        return web.Response(
            body=encode_partial_success(PATHS[request.path], rejected, as_json=content_type == JSON),
            content_type=content_type,
        )

    app = web.Application(
        client_max_size=settings.max_body_bytes,
        middlewares=[_authenticate(settings, refuse)] if settings.auth_token else [],
    )
    for path in PATHS:
        app.router.add_post(path, export)
    return app


async def _plain_body(request: web.Request, settings: GatewaySettings) -> bytes:
    if request.content_type not in (PROTOBUF, JSON):
        raise Unsupported(
            "unknown_content_type",
            f"Content-Type {request.content_type!r} is not spoken here; use {PROTOBUF} or {JSON}",
        )
    packed = await read_body(request, settings)
    encoding = request.headers.get("Content-Encoding", "").strip().lower()
    body = packed
    if encoding:
        body = await work(
            len(packed) * USUAL_PACKING, decompress, packed, encoding, settings.max_decoded_bytes
        )
    if request.content_type == JSON:
        body = await work(len(body), json_to_protobuf, PATHS[request.path], body)
    return body


async def read_body(request: web.Request, settings: GatewaySettings) -> bytes:
    """The body as it was sent. Raises ``Malformed`` when it comes too slowly, ``TooLarge``."""
    try:
        if request.content.is_eof():  # it came with its headers
            return await request.read()
        async with asyncio.timeout(READ_S):
            return await request.read()
    except TimeoutError:
        raise Malformed("slow_body", f"the body did not come within {READ_S:.0f} s") from None
    except web.HTTPRequestEntityTooLarge:
        raise TooLarge(
            "body_too_large",
            f"the body has more than {settings.max_body_bytes} bytes (gateway.max_body_bytes)",
        ) from None


def _refusal(content_type: str, error: BadInput) -> web.Response:
    status = {TooLarge: 413, Unsupported: 415}.get(type(error), 400)
    return _error(content_type, status, INVALID_ARGUMENT, error.message, {})


def retry_after(seconds: float) -> dict[str, str]:
    """The header; in whole seconds, and not before it is time."""
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


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


def shows(expected: bytes, shown: str) -> bool:
    """Whether a header of any bytes is the expected one, in the same time wherever they differ."""
    return hmac.compare_digest(shown.encode(errors="surrogateescape"), expected)


def _authenticate(settings: GatewaySettings, refuse: Refuse) -> Callable[..., Awaitable[web.StreamResponse]]:
    expected = f"Bearer {settings.auth_token.reveal()}".encode()

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if not shows(expected, request.headers.get("Authorization", "")):
            refuse(UNAUTHENTICATED_SENDER)
            message = "Authorization: Bearer <token> is missing or wrong (gateway.auth_token)"
            headers = {"WWW-Authenticate": "Bearer"}
            if request.path not in PATHS:
                return web.Response(status=401, text=message, headers=headers)
            return _error(request.content_type, 401, UNAUTHENTICATED, message, headers)
        return await handler(request)

    return middleware
