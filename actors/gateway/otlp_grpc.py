"""OTLP over gRPC. The bodies stay bytes: the kernels read them, no message object is made."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from actors.gateway.otlp_http import Refuse, Take
from agent.errors import BadInput, Overloaded, TooLarge
from agent.settings import GatewaySettings
from agent.telemetry.batch import Signal
from agent.telemetry.otlp_response import encode_partial_success

SERVICES: Mapping[str, Signal] = {
    "opentelemetry.proto.collector.trace.v1.TraceService": Signal.SPANS,
    "opentelemetry.proto.collector.logs.v1.LogsService": Signal.LOGS,
    "opentelemetry.proto.collector.metrics.v1.MetricsService": Signal.METRICS,
}
Export = Callable[[bytes, Any], Awaitable[bytes]]


def otlp_server(settings: GatewaySettings, take: Take, refuse: Refuse) -> tuple[Any, int]:
    """A gRPC server, not started, and the port it is bound to. Raises ``OSError`` when the port is taken."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", settings.max_decoded_bytes),
            ("grpc.so_reuseport", 0),
        ]
    )
    handlers = [
        grpc.method_handlers_generic_handler(
            service, {"Export": grpc.unary_unary_rpc_method_handler(_export(settings, signal, take, refuse))}
        )
        for service, signal in SERVICES.items()
    ]
    server.add_generic_rpc_handlers(tuple(handlers))
    address = f"{settings.host}:{settings.otlp_grpc_port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: {error}") from None
    return server, port


def _export(settings: GatewaySettings, signal: Signal, take: Take, refuse: Refuse) -> Export:
    expected = f"Bearer {settings.auth_token.reveal()}".encode()

    async def export(body: bytes, context: Any) -> bytes:
        metadata = {key.lower(): value for key, value in context.invocation_metadata() or ()}
        shown = str(metadata.get("authorization", "")).encode()
        if settings.auth_token and not hmac.compare_digest(shown, expected):
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "authorization: Bearer <token> is missing or wrong (gateway.auth_token)",
            )
        try:
            rejected = await take(signal, body, str(metadata.get("x-scope-orgid", "default")))
        except BadInput as error:
            refuse(error.reason)
            exhausted = isinstance(error, TooLarge)
            code = grpc.StatusCode.RESOURCE_EXHAUSTED if exhausted else grpc.StatusCode.INVALID_ARGUMENT
            await context.abort(code, error.message)
        except Overloaded as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, error.message)
        return encode_partial_success(signal, rejected, as_json=False)

    return export
