from __future__ import annotations

import gzip
import math
from typing import Any

import aiohttp
import numpy as np
import pytest

from agent.promql.errors import QueryLimit, QueryTimeout
from agent.promql.values import Selection
from tests.unit.aggregator.prometheus.canned import CannedBackend, matrix, result, table

QUERY, RANGE = "/api/v1/query", "/api/v1/query_range"
STEPS = {"query": "up", "start": "1435781430.781", "end": "1435781460.781", "step": "15"}


async def asked(http: aiohttp.ClientSession, path: str, status: int = 200, /, **form: str) -> Any:
    async with http.get(path, params=form) as response:
        assert response.status == status, await response.text()
        return await response.json()


async def test_scalar(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    reply = await asked(http, QUERY, query="1+1", time="1435781451.781")
    assert reply == {"status": "success", "data": {"resultType": "scalar", "result": [1435781451.781, "2"]}}
    tenant, text, time_ms, _ = backend.asked[0]
    assert (tenant, text, time_ms) == ("default", "1+1", 1_435_781_451_781)


@pytest.mark.parametrize(("value", "text"), [(1e-7, "0.0000001"), (1e21, "1" + "0" * 21), (-0.0, "-0")])
async def test_a_scalar_has_no_exponent(
    http: aiohttp.ClientSession, backend: CannedBackend, value: float, text: str
) -> None:
    backend.found = result(value)
    assert (await asked(http, QUERY, query="1", time="1"))["data"]["result"] == [1, text]


async def test_string(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.found = result('say "hi"')
    reply = await asked(http, QUERY, query='"x"', time="1")
    assert reply["data"] == {"resultType": "string", "result": [1, 'say "hi"']}


async def test_vector(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.found = result(
        matrix({"__name__=up,job=a": [1.5], "job=b": [None], "": [math.inf]}), ["w"], ["i"]
    )
    reply = await asked(http, QUERY, query="up", time="2015-07-01T20:10:51.781Z")
    assert reply["data"]["resultType"] == "vector"
    assert reply["data"]["result"] == [
        {"metric": {"__name__": "up", "job": "a"}, "value": [1435781451.781, "1.5"]},
        {"metric": {}, "value": [1435781451.781, "+Inf"]},
    ]
    assert (reply["warnings"], reply["infos"]) == (["w"], ["i"])


async def test_matrix(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.found = result(matrix({"job=a": [1, None, 3], "job=b": [None, None, None]}))
    reply = await asked(http, RANGE, **STEPS)
    assert reply["data"] == {
        "resultType": "matrix",
        "result": [{"metric": {"job": "a"}, "values": [[1435781430.781, "1"], [1435781460.781, "3"]]}],
    }
    assert backend.asked[0][2].step_ms == 15_000


async def test_raw_samples(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    value = np.array([1, 0x7FF0000000000002, 0x3FF8000000000000], np.uint64)
    value[0] = np.float64(2.0).view(np.uint64)
    backend.found = result(
        Selection(
            table("job=a", "job=b"), np.array([0, 3, 3]), np.array([1000, 2500, 3000]), value.view(np.float64)
        )
    )
    reply = await asked(http, QUERY, query="up[5m]", time="3")
    assert reply["data"]["result"] == [{"metric": {"job": "a"}, "values": [[1, "2"], [3, "1.5"]]}]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"query": ""},
            'invalid parameter "query": unknown position: parse error: no expression found in input',
        ),
        (
            {"query": "up", "time": "x"},
            'invalid parameter "time": Invalid time value for \'time\': cannot parse "x" to a valid timestamp',
        ),
        (
            {"query": "up", "timeout": "x"},
            'invalid parameter "timeout": cannot parse "x" to a valid duration',
        ),
        ({"query": "up", "limit": "-1"}, 'invalid parameter "limit": limit must be non-negative'),
        (
            {"query": "up", "limit": "x"},
            'invalid parameter "limit": strconv.Atoi: parsing "x": invalid syntax',
        ),
        (
            {"query": "up", "lookback_delta": "x"},
            'error parsing lookback delta duration: cannot parse "x" to a valid duration',
        ),
    ],
)
async def test_bad_instant(http: aiohttp.ClientSession, given: dict[str, str], told: str) -> None:
    reply = await asked(http, QUERY, 400, **given)
    assert reply == {"status": "error", "errorType": "bad_data", "error": told}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"end": "1435781430"}, 'invalid parameter "end": end timestamp must not be before start time'),
        (
            {"step": "0"},
            'invalid parameter "step": zero or negative query resolution step widths are not accepted. Try a positive integer',
        ),
        ({"step": "-15s"}, 'invalid parameter "step": cannot parse "-15s" to a valid duration'),
        ({"start": ""}, 'invalid parameter "start": cannot parse "" to a valid timestamp'),
        (
            {"start": "0", "end": "3155760000", "step": "0.001"},
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
    ],
)
async def test_bad_range(http: aiohttp.ClientSession, given: dict[str, str], told: str) -> None:
    assert (await asked(http, RANGE, 400, **STEPS | given))["error"] == told


@pytest.mark.parametrize(("query", "kind"), [("up[5m]", "range vector"), ('"x"', "string")])
async def test_no_range_of_these(http: aiohttp.ClientSession, query: str, kind: str) -> None:
    told = f'invalid parameter "query": invalid expression type "{kind}" for range query, must be Scalar or instant Vector'
    assert (await asked(http, RANGE, 400, **STEPS | {"query": query}))["error"] == told


async def test_exactly_eleven_thousand_steps_are_allowed(
    http: aiohttp.ClientSession, backend: CannedBackend
) -> None:
    backend.found = result(matrix({}))
    await asked(http, RANGE, query="up", start="0", end="11000", step="1s")
    await asked(http, RANGE, 400, query="up", start="0", end="11001", step="1s")


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (
            QueryLimit("query processing would load too many samples into memory in query execution"),
            422,
            "execution",
        ),
        (QueryTimeout(), 503, "timeout"),
        (RuntimeError("secret"), 500, "internal"),
    ],
)
async def test_errors_of_the_engine(
    http: aiohttp.ClientSession, backend: CannedBackend, error: Exception, status: int, kind: str
) -> None:
    backend.error = error
    reply = await asked(http, QUERY, status, query="up")
    assert reply["status"] == "error"
    assert reply["errorType"] == kind
    assert "secret" not in reply["error"]


async def test_time_out(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.takes_s = 30.0
    reply = await asked(http, QUERY, 503, query="up", timeout="50ms")
    assert reply["errorType"] == "timeout"
    assert backend.cancelled == 1


async def test_a_form_goes_before_the_address(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    async with http.post(QUERY, data={"query": "1+2", "time": "1"}, params={"query": "up"}) as response:
        assert response.status == 200
    assert backend.asked[0][1] == "1+2"


async def test_limit(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.found = result(matrix({"job=a": [1], "job=b": [2]}))
    reply = await asked(http, QUERY, query="up", limit="1")
    assert len(reply["data"]["result"]) == 1
    assert reply["warnings"] == ["results truncated due to limit"]


async def test_large_answers_come_in_pieces(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    rows = {f"job={i}": [float(i * j) for j in range(240)] for i in range(1200)}
    backend.found = result(matrix(rows))
    given = {"query": "up", "start": "0", "end": "239", "step": "1"}
    async with http.get(RANGE, params=given, headers={"Accept-Encoding": "identity"}) as response:
        assert response.headers["Transfer-Encoding"] == "chunked"
        shown = (await response.json())["data"]["result"]
    assert len(shown) == 1200
    assert shown[7]["values"][9] == [9, "63"]


@pytest.mark.parametrize("series", [20, 1200])
async def test_gzip(http: aiohttp.ClientSession, backend: CannedBackend, series: int) -> None:
    backend.found = result(matrix({f"job={i}": [float(j) for j in range(240)] for i in range(series)}))
    given = {"query": "up", "start": "0", "end": "239", "step": "1"}
    async with (
        aiohttp.ClientSession(http._base_url, auto_decompress=False) as raw,
        raw.get(RANGE, params=given, headers={"Accept-Encoding": "gzip"}) as response,
    ):
        assert response.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await response.read()).endswith(b"]}}")


async def test_stats(http: aiohttp.ClientSession) -> None:
    reply = await asked(http, QUERY, query="1+1", stats="all")
    assert reply["data"]["stats"]["timings"]["execTotalTime"] >= 0


async def test_many_warnings_are_cut(http: aiohttp.ClientSession, backend: CannedBackend) -> None:
    backend.found = result(1.0, [f"w{i}" for i in range(12)])
    reply = await asked(http, QUERY, query="1")
    assert len(reply["warnings"]) == 11
    assert reply["warnings"][-1] == "2 more warning annotations omitted"


@pytest.mark.parametrize("path", [QUERY, "/api/v1/format_query", "/api/v1/parse_query"])
@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("(" * 10_000 + "1" + ")" * 10_000, 400),
        ("-" * 10_000 + "1", 400),
        ("^".join(["1"] * 10_000), 400),
        ("(" * 150 + "1" + ")" * 150, 200),
        ("1 + " * 300 + "1", 200),
        ("a + on (b) " * 5_000 + "a", 200),
        ("+".join(["1"] * 30_000), 400),
    ],
    ids=[
        "parentheses",
        "signs",
        "powers",
        "150 parentheses",
        "300 operators",
        "5000 operators",
        "29999 operators",
    ],
)
async def test_deep_and_long_queries_are_answered(
    http: aiohttp.ClientSession, path: str, query: str, status: int
) -> None:
    async with http.post(path, data={"query": query}) as response:
        text = await response.text()
    assert (response.status, text[11:16]) == (status, "succe" if status == 200 else "error")
