from __future__ import annotations

import math

import cramjam
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from actors.ports import Health, Status
from actors.ruler_http import HttpRulePort, read_answer
from agent.errors import BadInput, Overloaded
from agent.promql.errors import ExecutionError
from agent.promql.rule_groups import RuleSample, RuleWrite
from agent.settings import Settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            b'{"status":"success","data":{"resultType":"vector","result":'
            b'[{"metric":{"job":"a"},"value":[1,"2.5"]},{"metric":{},"value":[1,"+Inf"]}]}}',
            [RuleSample((("job", "a"),), 2.5), RuleSample((), math.inf)],
        ),
        (b'{"status":"success","data":{"resultType":"scalar","result":[1,"3"]}}', [RuleSample((), 3.0)]),
    ],
)
def test_answers(text: bytes, expected: list[RuleSample]) -> None:
    assert read_answer(text) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'{"status":"error","errorType":"bad_data","error":"parse error"}', "parse error"),
        (b'{"status":"success","data":{"resultType":"string","result":[1,"x"]}}', "not a vector or scalar"),
        (
            b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"histogram":[]}]}}',
            "native",
        ),
        (b"<html>", "not one of a query"),
        (b"{}", "not one of a query"),
    ],
)
def test_answers_that_are_none(text: bytes, problem: str) -> None:
    with pytest.raises(ExecutionError, match=problem):
        read_answer(text)


class Supervisor:
    def __init__(self, url: str) -> None:
        self.url = url

    async def status(self) -> Status:
        listens = {"http": self.url, "otlp/http": self.url} if self.url else {}
        actor = Health("a", "a", 1, 0, "ready", listens=listens)
        return Status("ready", "1", (actor,), {}, {"default": 5_000_000_000})


async def test_queries_and_writes_go_to_their_doors() -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append((request.path, dict(request.headers), await request.read()))
        if request.path == "/api/v1/query":
            return web.json_response(
                {"status": "success", "data": {"resultType": "scalar", "result": [1, "1"]}}
            )
        bad = b"bad" in bytes(cramjam.snappy.decompress_raw(seen[-1][2]))
        return web.Response(status=400, text="out of bounds") if bad else web.Response(status=204)

    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    async with TestServer(app) as server:
        port = HttpRulePort(Settings(), Supervisor(str(server.make_url("")).rstrip("/")))
        assert await port.query("t", "1", 1_500) == [RuleSample((), 1.0)]
        await port.write("t", RuleWrite(1, (RuleSample((("__name__", "a"),), 1.0),)))
        with pytest.raises(BadInput, match="out of bounds"):
            await port.write("t", RuleWrite(1, (RuleSample((("__name__", "bad"),), 1.0),)))
        assert await port.now_ms("default") == 5_000
        await port.close()
    assert [path for path, _, _ in seen] == ["/api/v1/query", "/api/v1/write", "/api/v1/write"]
    assert seen[0][2] == b"query=1&time=1.500"
    assert seen[0][1]["X-Scope-OrgID"] == "t"


async def test_a_layer_that_is_away_is_waited_for() -> None:
    port = HttpRulePort(Settings(), Supervisor(""))
    with pytest.raises(Overloaded, match="nothing serves http yet"):
        await port.query("t", "1", 1)
    gone = HttpRulePort(Settings(), Supervisor("http://127.0.0.1:9"))
    with pytest.raises(Overloaded, match="does not answer"):
        await gone.query("t", "1", 1)
    await gone.close()
