"""OTLP over gRPC. The bodies stay bytes: the kernels read them, no message object is made."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from actors.gateway.otlp_http import (
    OVERLOADED,
    RESOURCE_EXHAUSTED,
    UNAUTHENTICATED_SENDER,
    Refuse,
    Take,
    shows,
)
from actors.gateway.room import RateLimited, Room, Starting
from agent.errors import BadInput, Overloaded, SettingsError, TooLarge
from agent.settings import GatewaySettings
from agent.telemetry.batch import Signal
from agent.telemetry.otlp_response import encode_partial_success, encode_status

SERVICES: Mapping[str, Signal] = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.SPANS,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Signal.METRICS,
}
MAX_CONCURRENT_CALLS = 256  # more are refused before their bodies are read
RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"
Export = Callable[[bytes, Any], Awaitable[bytes]]


def otlp_server(settings: GatewaySettings, room: Room, take: Take, refuse: Refuse) -> tuple[Any, int]:
    """A gRPC server, not started, and the port it is bound to. Raises ``SettingsError`` when the port is
    taken."""
    server = grpc.aio.server(
        maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS,
        options=[
            ("grpc.max_receive_message_length", settings.max_decoded_bytes),
            ("grpc.so_reuseport", 0),
        ],
    )
    handlers = [
        grpc.method_handlers_generic_handler(
            service,
            {"Export": grpc.unary_unary_rpc_method_handler(_export(settings, signal, room, take, refuse))},
        )
        for service, signal in SERVICES.items()
    ]
    server.add_generic_rpc_handlers(tuple(handlers))
    address = f"{settings.host}:{settings.otlp_grpc_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        expected = f"a port of {settings.host} that is free ({error})"
        raise SettingsError("gateway.otlp_grpc_port", settings.otlp_grpc_port, expected) from None
    return server, port


def _export(settings: GatewaySettings, signal: Signal, room: Room, take: Take, refuse: Refuse) -> Export:
    expected = f"Bearer {settings.auth_token.reveal()}".encode()

    async def export(body: bytes, context: Any) -> bytes:
        metadata = {key.lower(): value for key, value in context.invocation_metadata() or ()}
        if settings.auth_token and not shows(expected, str(metadata.get("authorization", ""))):
            refuse(UNAUTHENTICATED_SENDER)
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "authorization: Bearer <token> is missing or wrong (gateway.auth_token)",
            )
        try:
            with room.hold(len(body)):
                rejected = await take(signal, body, str(metadata.get("x-scope-orgid", "default")))
        except BadInput as error:
            refuse(error.reason)
            exhausted = isinstance(error, TooLarge)
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if exhausted else grpc.StatusCode.INVALID_ARGUMENT
            await context.abort(code, error.message)
        except Starting as error:
            refuse(OVERLOADED)
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        except Overloaded as error:
            if not isinstance(error, RateLimited):
                refuse(OVERLOADED)
            details = (("grpc-status-details-bin", come_again(error)),)
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message, details)
        return encode_partial_success(signal, rejected, as_json=False)

    return export


def come_again(error: Overloaded) -> bytes:
    """google.rpc.Status with a RetryInfo: without one a sender takes RESOURCE_EXHAUSTED as final and drops
    the body (OTLP specification 1.x, section OTLP/gRPC failures)."""
    seconds = min(100, max(1, math.ceil(error.retry_after_s)))  # one byte as a varint
    delay = _field(1, b"\x08" + bytes([seconds]))
    detail = _field(3, _field(1, RETRY_INFO) + _field(2, delay))
    return encode_status(RESOURCE_EXHAUSTED, error.message, as_json=False) + detail


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of fewer than 128 bytes."""
    return bytes([number << 3 | 2, len(content)]) + content
