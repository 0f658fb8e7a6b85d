"""Single processes of the shop, and what is left of them when things end badly."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path

import aiohttp
import grpc
import psutil
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from demo.shop.process import REPOSITORY, ChildProcess, ProcessFailed
from tests.integration.demo.watching import alive, postgres_in, until

QUICK = {"OTEL_BSP_SCHEDULE_DELAY": "100", "OTEL_BLRP_SCHEDULE_DELAY": "100"}


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


def model(folder: Path, port: int, **environment: str) -> ChildProcess:
    return ChildProcess(
        "model", ["model"], {"SHOP_PORT": str(port), **QUICK, **environment}, folder / "model.log"
    )


async def ask_for_models(port: int) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/v1/models") as response,
    ):
        return response.status


async def test_a_service_serves_and_stays_quiet_where_the_endpoint_is_away(tmp_path: Path) -> None:
    port = free_port()
    child = model(tmp_path, port, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    await child.start()
    for _ in range(8):
        assert await ask_for_models(port) == 200
        await asyncio.sleep(0.1)
    began_s = time.monotonic()
    await child.stop(grace_s=5)
    assert time.monotonic() - began_s < 4
    assert len((tmp_path / "model.log").read_text().splitlines()) <= 2


async def test_telemetry_goes_by_grpc_where_it_is_told_to(tmp_path: Path) -> None:
    got: list[trace_service_pb2.ExportTraceServiceRequest] = []

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        async def Export(  # noqa: N802 - the protocol's name
            self, request: trace_service_pb2.ExportTraceServiceRequest, context: object
        ) -> trace_service_pb2.ExportTraceServiceResponse:
            got.append(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)  # type: ignore[no-untyped-call]
    endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    port = free_port()
    child = model(tmp_path, port, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    await child.start()
    await ask_for_models(port)
    await until(lambda: bool(got), 5)
    await child.stop(grace_s=5)
    await server.stop(None)
    assert got[0].resource_spans[0].scope_spans[0].spans[0].name == "GET /v1/models"


async def test_a_process_that_cannot_start_says_why(tmp_path: Path) -> None:
    child = ChildProcess("model", ["model"], {"SHOP_PORT": "soon"}, tmp_path / "model.log")
    with pytest.raises(ProcessFailed, match="SHOP_PORT: got 'soon', expected a port"):
        await child.start()


async def test_ended_while_its_database_is_made_the_shop_leaves_nothing(tmp_path: Path) -> None:
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.shop", "up", "--otlp", "http://127.0.0.1:9", "--data-dir", str(tmp_path),
        stdout=asyncio.subprocess.DEVNULL, cwd=REPOSITORY,
    )  # fmt: skip
    await until((tmp_path / "database" / "cluster.new").exists, 20)
    family = psutil.Process(up.pid).children(recursive=True)
    up.terminate()
    assert await up.wait() == 0
    await until(lambda: not alive(family), 15)
    assert not postgres_in(tmp_path)
