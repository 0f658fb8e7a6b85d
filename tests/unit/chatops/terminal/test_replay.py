"""A small recorded day through a gateway and an API of which only the far sides are made up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit.chatops.terminal.conftest import Served, command

NS = 1_000_000_000
START_S = 1_674_982_200  # 2023-01-29 08:50:00 UTC
FAULT_S = START_S + 60
POD = "cart-1-1"  # as the made-up correlator names it: cart-1 of cart


@pytest.fixture
def day(tmp_path: Path) -> Path:
    """A span a second of two pods for five minutes, a metric each minute, a fault after one minute."""
    for folder in ("trace", "log", "metric"):
        (tmp_path / folder).mkdir()
    rows = ["TraceID,SpanID,ParentID,PodName,OperationName,StartTimeUnixNano,EndTimeUnixNano,Duration"]
    for i in range(300):
        start = (START_S + i) * NS
        rows.append(f"{i + 1:032x},{i + 1:016x},root,{POD},GET /,{start},{start + 5_000_000},5000")
    (tmp_path / "trace" / "08_50_trace.csv").write_text("\n".join(rows))
    cells = ["Time,PodName,CpuUsage(m)"]
    cells += [f"2023-01-29 08:{50 + m}:00 +0000 UTC,{POD},{100 + m}" for m in range(5)]
    (tmp_path / "metric" / f"{POD}_metric.csv").write_text("\n".join(cells))
    fault = {
        "inject_time": "2023-01-29 08:51:00 +0000 UTC",
        "inject_pod": POD,
        "inject_type": "cpu_contention",
    }
    (tmp_path / "2023-01-29-fault_list.json").write_text(json.dumps({"08": [fault]}))
    return tmp_path


class FakeGateway:
    def __init__(self, layer: Served) -> None:
        self.received: list[tuple[str, int]] = []  # the signal, and how many questions were asked before
        self.span_starts: list[int] = []
        self._layer = layer

    async def take(self, request: web.Request) -> web.Response:
        body, asked = await request.read(), len(self._layer.shop.correlator.asked)
        signal = request.match_info["signal"]
        self.received.append((signal, asked))
        if signal == "traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.span_starts += [s.start_time_unix_nano for s in resource.scope_spans[0].spans]
        else:
            ExportMetricsServiceRequest.FromString(body)
        return web.Response()


@pytest.fixture
def gateway(layer: Served) -> Iterator[tuple[FakeGateway, str]]:
    fake = FakeGateway(layer)

    async def open_server() -> TestServer:
        app = web.Application()
        app.router.add_post("/v1/{signal}", fake.take)
        server = TestServer(app)
        await server.start_server()
        return server

    server = layer.wait(open_server())
    yield fake, str(server.make_url("")).rstrip("/")
    layer.wait(server.close())


def replayed(day: Path, layer: Served, gateway_url: str, *words: str) -> Any:
    result = command("replay", str(day), "--url", layer.url, "--gateway", gateway_url, "--json", *words)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_everything_is_sent_in_event_time(day: Path, layer: Served, gateway: tuple[FakeGateway, str]) -> None:
    fake, url = gateway
    found = replayed(day, layer, url)
    assert found["rows"] == {"spans": 300, "logs": 0, "metrics": 5}
    assert fake.span_starts == sorted(fake.span_starts)
    assert len(fake.span_starts) == 300


def test_a_question_knows_all_before_it_and_nothing_after(
    day: Path, layer: Served, gateway: tuple[FakeGateway, str]
) -> None:
    fake, url = gateway
    found = replayed(day, layer, url, "--ask-after", "90,120")
    asked = layer.shop.correlator.asked
    assert [(at_ns // NS - FAULT_S, tenant) for _, _, at_ns, tenant in asked] == [
        (90, "nezha-2023-01-29"),
        (120, "nezha-2023-01-29"),
    ]
    before = sum(asked_before == 0 for signal, asked_before in fake.received if signal == "traces")
    assert before == 75  # 150 spans, two a step
    assert (found["after_s"], found["cases"], len(found["questions"])) == (120.0, 1, 2)


def test_a_pod_that_is_not_named_is_a_miss_and_its_service_is_found(
    day: Path, layer: Served, gateway: tuple[FakeGateway, str]
) -> None:
    found = replayed(day, layer, gateway[1])
    assert found["questions"][0]["pod_rank"] is None
    assert found["questions"][0]["service_rank"] == 1
    assert found["pods"] == {"AS@1": 0.0, "AS@3": 0.0, "AS@5": 0.0}
    assert found["services"]["AS@1"] == 100.0


def test_warmup_goes_first(day: Path, layer: Served, gateway: tuple[FakeGateway, str]) -> None:
    fake, url = gateway
    replayed(day, layer, url, "--warmup", str(day))
    assert fake.span_starts == sorted(fake.span_starts)
    assert (len(fake.span_starts), min(fake.span_starts) < START_S * NS) == (600, True)


def test_a_tenant_that_is_used_is_refused(day: Path, layer: Served, gateway: tuple[FakeGateway, str]) -> None:
    result = command("replay", str(day), "--url", layer.url, "--gateway", gateway[1], "--tenant", "default")
    assert result.exit_code == 1
    assert "--tenant" in result.stderr


def test_the_table_shows_scores_and_floor(day: Path, layer: Served, gateway: tuple[FakeGateway, str]) -> None:
    result = command("replay", str(day), "--url", layer.url, "--gateway", gateway[1])
    assert result.exit_code == 0
    for text in ("AS@1", "floor, pods", "cpu_contention (1)"):
        assert text in result.stdout


def test_what_is_no_recording(tmp_path: Path, layer: Served) -> None:
    result = command("replay", str(tmp_path / "none"), "--url", layer.url)
    assert result.exit_code == 1
    assert "no recorded day" in result.stderr
