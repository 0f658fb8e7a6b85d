"""The codes of OTLP over gRPC."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from actors.gateway.otlp_grpc import come_again, otlp_server
from actors.gateway.room import RateLimited, Room, Starting
from agent.errors import Malformed, Overloaded, TooLarge
from agent.settings import GatewaySettings
from tests.unit.gateway.test_otlp_http import Taker

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


async def export(taker: Taker, room: Room | None = None) -> grpc.StatusCode:
    settings = GatewaySettings(otlp_grpc_port=0)
    server, port = otlp_server(settings, room or Room(1000), taker.take, taker.refuse)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            await channel.unary_unary(EXPORT)(b"body", timeout=5)
    except grpc.aio.AioRpcError as error:
        return error.code()
    finally:
        await server.stop(None)
    return grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("error", "code", "refused"),
    [
        (Overloaded("behind"), grpc.StatusCode.RESOURCE_EXHAUSTED, {"overloaded": 1}),
        (Starting("starting"), grpc.StatusCode.UNAVAILABLE, {"overloaded": 1}),
        (Malformed("odd", "no protobuf"), grpc.StatusCode.INVALID_ARGUMENT, {"odd": 1}),
        (TooLarge("big", "too large"), grpc.StatusCode.RESOURCE_EXHAUSTED, {"big": 1}),
        (RateLimited("too many rows"), grpc.StatusCode.RESOURCE_EXHAUSTED, {}),  # by the intake, in rows
    ],
)
async def test_each_refusal_has_its_code_and_is_counted(
    error: Exception, code: grpc.StatusCode, refused: dict[str, int]
) -> None:
    taker = Taker(error)
    assert await export(taker) == code
    assert taker.refused == refused


async def test_a_full_room_is_resource_exhausted() -> None:
    room, taker = Room(3), Taker()
    with room.hold(3):
        assert await export(taker, room) == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await export(taker, room) == grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("after_s", "told_s"), [(5, 5), (4.1, 5), (0.001, 1), (0, 1), (99.5, 100), (40_000, 100)]
)
def test_senders_are_told_when_to_come_again(after_s: float, told_s: int) -> None:
    status = Status.FromString(come_again(Overloaded("behind", retry_after_s=after_s)))
    info = RetryInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message, info.retry_delay.seconds) == (8, "behind", told_s)
