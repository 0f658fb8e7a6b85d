"""Single processes of the shop, and what is left of them when things end badly."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import grpc
import psutil
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from demo.shop.process import REPOSITORY, ChildProcess, ProcessFailed
from demo.shop.supervisor import Shop


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


async def until(condition: Callable[[], bool], within_s: float) -> None:
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {within_s} s"
        await asyncio.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running_in(folder: Path) -> list[psutil.Process]:
    """PostgreSQL's processes with their data in ``folder``; they are nobody's children."""
    return [
        p for p in psutil.process_iter(["cmdline"]) if str(folder / "postgres") in (p.info["cmdline"] or ())
    ]


def model(folder: Path, port: int, **environment: str) -> ChildProcess:
    return ChildProcess("model", ["model"], {"SHOP_PORT": str(port), **environment}, folder / "model.log")


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
    for _ in range(20):
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


async def test_a_shop_can_be_stopped_in_the_middle_of_a_rollout(tmp_path: Path) -> None:
    shop = Shop(tmp_path, "http://127.0.0.1:9")
    await shop.start()
    rollout = asyncio.create_task(shop.inject("bad-deploy"))
    await asyncio.sleep(0.1)
    family = psutil.Process().children(recursive=True)
    await shop.stop()
    await asyncio.gather(rollout, return_exceptions=True)
    assert len(family) > 12
    assert not [process for process in family if alive(process.pid)]
    assert not shop.members()


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_outlives_the_supervisor(tmp_path: Path, death: signal.Signals) -> None:
    up = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "demo.shop", "up", "--otlp", "http://127.0.0.1:9", "--data-dir", str(tmp_path),
        stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY,
    )  # fmt: skip
    assert up.stdout is not None
    # SIGTERM comes in the middle of the start, SIGKILL when all is up.
    awaited = b"open at" if death is signal.SIGKILL else b"front"
    while awaited not in await asyncio.wait_for(up.stdout.readline(), 40):
        pass
    family = psutil.Process(up.pid).children(recursive=True)
    os.kill(up.pid, death)
    while await up.stdout.readline():
        pass
    await up.wait()
    family += running_in(tmp_path)
    await until(lambda: not [process for process in family if alive(process.pid)], 12)
    assert not running_in(tmp_path)
