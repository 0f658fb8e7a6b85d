"""The API over the real engine and a few series in memory."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from typing import Any

import aiohttp
import pytest

from actors.aggregator.aggregator import Aggregator
from agent.telemetry.labels import labels_of
from tests.unit.aggregator.prometheus.memory import MemoryBackend, MemoryStorage
from tests.unit.aggregator.prometheus.test_queries import asked

START_S = 1_700_000_000
SINCE = f"--start={START_S}"
PROMTOOL = shutil.which("promtool")


def series(job: str, slope: float) -> dict[Any, list[tuple[int, float]]]:
    labels = labels_of({"__name__": "requests_total", "job": job})
    return {labels: [((START_S + i * 15) * 1000, slope * i) for i in range(41)]}


@pytest.fixture
def backend() -> MemoryBackend:
    odd = {labels_of({"__name__": "other", "http.method": "GET"}): [(START_S * 1000, 1.0)]}
    return MemoryBackend(MemoryStorage(series("a", 15.0) | series("b", 30.0) | odd))


async def test_a_sum(http: aiohttp.ClientSession) -> None:
    reply = await asked(http, "/api/v1/query", query="sum(requests_total)", time=str(START_S + 600))
    (row,) = reply["data"]["result"]
    assert (row["metric"], row["value"]) == ({}, [START_S + 600, "1800"])


async def test_a_range(http: aiohttp.ClientSession) -> None:
    given = {"start": str(START_S), "end": str(START_S + 60), "step": "30s"}
    reply = await asked(http, "/api/v1/query_range", query="requests_total", **given)
    assert [row["values"] for row in reply["data"]["result"]] == [
        [[START_S, "0"], [START_S + 30, "30"], [START_S + 60, "60"]],
        [[START_S, "0"], [START_S + 30, "60"], [START_S + 60, "120"]],
    ]


async def test_a_scalar_over_a_range_is_a_series_without_labels(http: aiohttp.ClientSession) -> None:
    reply = await asked(http, "/api/v1/query_range", query="time()", start="10", end="11.5", step="0.5")
    assert reply["data"]["result"] == [
        {"metric": {}, "values": [[10, "10"], [10.5, "10.5"], [11, "11"], [11.5, "11.5"]]}
    ]


async def test_utf8_names_in_a_path(http: aiohttp.ClientSession) -> None:
    reply = await asked(http, "/api/v1/label/U__http_2e_method/values")
    assert reply["data"] == ["GET"]


@pytest.mark.parametrize(
    ("query", "place"),
    [("sum(requests_total[5m] offset 1x)", "1:"), ("requests_total{", "1:")],
)
async def test_errors_say_where(http: aiohttp.ClientSession, query: str, place: str) -> None:
    error = (await asked(http, "/api/v1/query", 400, query=query))["error"]
    assert error.startswith(f'invalid parameter "query": {place}')
    assert "parse error: " in error


async def promtool(aggregator: Aggregator, *words: str) -> str:
    """What ``promtool query`` prints; from a thread, as the server runs in this one."""
    if PROMTOOL is None:
        pytest.skip("promtool is not installed")
    kind, *rest = words
    command = [PROMTOOL, "query", kind, *[w for w in rest if w.startswith("--")], aggregator.address]
    command += [w for w in rest if not w.startswith("--")]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=20, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_promtool_instant(aggregator: Aggregator) -> None:
    told = await promtool(aggregator, "instant", f"--time={START_S + 600}", "sum by (job) (requests_total)")
    assert told == f'{{job="a"}} => 600 @[{START_S + 600}]\n{{job="b"}} => 1200 @[{START_S + 600}]\n'


async def test_promtool_scalar(aggregator: Aggregator) -> None:
    assert "2 @[" in await promtool(aggregator, "instant", "1+1")


async def test_promtool_range(aggregator: Aggregator) -> None:
    span = (f"--start={START_S}", f"--end={START_S + 30}", "--step=15s")
    told = await promtool(aggregator, "range", *span, 'sum(requests_total{job="a"})')
    assert told.splitlines() == ["{} =>", f"0 @[{START_S}]", f"15 @[{START_S + 15}]", f"30 @[{START_S + 30}]"]


async def test_promtool_series(aggregator: Aggregator) -> None:
    told = await promtool(aggregator, "series", SINCE, '--match=requests_total{job="a"}')
    assert '__name__="requests_total"' in told
    assert 'job="a"' in told
    assert 'job="b"' not in told


async def test_promtool_labels(aggregator: Aggregator) -> None:
    assert (await promtool(aggregator, "labels", SINCE, "job")).split() == ["a", "b"]
