from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from actors.ports import Health, Status
from actors.ruler_port import LayerRulePort, written
from agent.errors import BadInput, Overloaded
from agent.promql.rule_groups import RuleSample, RuleWrite
from agent.secret import Secret
from agent.telemetry.native import CounterReset, FloatHistogram, Side, encode_histogram
from agent.telemetry.remote_write import Packed, Scan, Version

A = RuleSample((("__name__", "a"),), 1.0)


class Supervisor:
    def __init__(self, url: str) -> None:
        self.url = url

    async def status(self) -> Status:
        actor = Health("a", "a", 1, 0, "ready", listens={"otlp/http": self.url} if self.url else {})
        return Status("ready", "1", (actor,), {}, {"default": 5_000_000_000})


class Queries:
    async def rule_query(self, tenant: str, expr: str, time_ms: int) -> list[RuleSample]:
        return [RuleSample((("tenant", tenant), ("expr", expr)), float(time_ms))]


@asynccontextmanager
async def gateway(status: int, seen: list[web.Request]) -> AsyncIterator[LayerRulePort]:
    async def answer(request: web.Request) -> web.Response:
        seen.append(request)
        await request.read()
        return web.Response(status=status, text="said")

    app = web.Application()
    app.router.add_post("/api/v1/write", answer)
    async with TestServer(app) as server:
        port = LayerRulePort(Supervisor(str(server.make_url("")).rstrip("/")), Queries(), Secret("t0ken"))
        yield port
        await port.close()


async def test_a_query_goes_to_the_aggregator() -> None:
    port = LayerRulePort(Supervisor(""), Queries(), Secret(""))
    assert await port.query("t", "up", 7) == [RuleSample((("tenant", "t"), ("expr", "up")), 7.0)]
    assert await port.now_ms("default") == 5_000
    assert await port.now_ms("other") == 0


async def test_a_write_goes_to_the_gateway_with_token_and_tenant() -> None:
    seen: list[web.Request] = []
    async with gateway(204, seen) as port:
        await port.write("t", RuleWrite(1, (A,)))
    (request,) = seen
    assert (request.headers["Authorization"], request.headers["X-Scope-OrgID"]) == ("Bearer t0ken", "t")


@pytest.mark.parametrize(("status", "error"), [(400, BadInput), (429, Overloaded), (503, Overloaded)])
async def test_what_the_gateway_does_not_take(status: int, error: type[Exception]) -> None:
    async with gateway(status, []) as port:
        with pytest.raises(error, match="said"):
            await port.write("t", RuleWrite(1, (A,)))


async def test_a_gateway_that_is_away_is_waited_for() -> None:
    with pytest.raises(Overloaded, match="nothing serves"):
        await LayerRulePort(Supervisor(""), Queries(), Secret("")).write("t", RuleWrite(1, (A,)))
    gone = LayerRulePort(Supervisor("http://127.0.0.1:9"), Queries(), Secret(""))
    with pytest.raises(Overloaded, match="does not answer"):
        await gone.write("t", RuleWrite(1, (A,)))
    await gone.close()


def test_floats_are_remote_write_1() -> None:
    headers, body = written(RuleWrite(7, (A,)))
    scan = Scan(1 << 20)
    scan.add(Packed(body), 0)
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert (scan.time_ms.tolist(), scan.bits.view(np.float64).tolist()) == ([7], [1.0])


def test_histograms_are_remote_write_2_and_gauges() -> None:
    histogram = FloatHistogram(count=3.0, sum=2.0, positive=Side.at(1, np.asarray([1.0, 2.0])))
    headers, body = written(RuleWrite(7, (A, RuleSample((("__name__", "h"),), 0.0, histogram))))
    scan = Scan(1 << 20)
    scan.add(Packed(body, Version.V2), 0)
    assert headers["X-Prometheus-Remote-Write-Version"] == "2.0.0"
    assert scan.time_ms.tolist() == [7]
    assert encode_histogram(histogram.hinted(CounterReset.GAUGE), 7) in scan.text.tobytes()
