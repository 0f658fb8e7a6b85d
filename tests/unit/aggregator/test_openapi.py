from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.aggregator.aggregator import Aggregator
from actors.aggregator.openapi import document
from actors.aggregator.prometheus.routes import PASSED
from actors.aggregator.prometheus.routes import ROUTES as PROMETHEUS_ROUTES
from actors.aggregator.routes import LIVE_PATH, METRICS_PATH, OTHER_ROUTES, ROUTES

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
EVERY = [
    *((route.method, route.path) for route in ROUTES),
    *(("GET", path) for path in (LIVE_PATH, METRICS_PATH)),
    *((method, route.path) for route in PROMETHEUS_ROUTES for method in route.methods),
    *(("POST", path) for path in PASSED),
]


@pytest.mark.parametrize(("method", "path"), EVERY)
def test_every_route_is_in_the_document(method: str, path: str) -> None:
    operation = document("1")["paths"][path][method.lower()]
    assert operation["summary"]


@pytest.mark.parametrize(("method", "path"), [*EVERY, *(("GET", path) for path in OTHER_ROUTES)])
def test_every_route_is_in_the_docs(method: str, path: str) -> None:
    assert f"`{method} {path}`" in DOCS.read_text()


def test_every_parameter_is_in_the_docs() -> None:
    text = DOCS.read_text()
    assert [p.name for route in ROUTES for p in route.parameters if f"`{p.name}`" not in text] == []


def test_operation_ids_are_unique() -> None:
    ids = [o["operationId"] for path in document("1")["paths"].values() for o in path.values()]
    assert len(ids) == len(set(ids))


def test_references_point_at_schemas() -> None:
    found = document("1")
    schemas = found["components"]["schemas"]

    def references(node: Any) -> list[str]:
        if isinstance(node, list):
            return [r for entry in node for r in references(entry)]
        if not isinstance(node, dict):
            return []
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for entry in node.values() for r in references(entry)]

    assert {r.rsplit("/", 1)[1] for r in references(found)} <= set(schemas)


def test_figures_may_be_null() -> None:
    series = document("1")["components"]["schemas"]["RedSeries"]["properties"]
    assert series["p95_ms"]["items"]["type"] == ["number", "null"]


async def test_it_is_served(http: aiohttp.ClientSession, aggregator: Aggregator) -> None:
    async with http.get("/api/v1/openapi.json") as response:
        assert json.loads(await response.text())["openapi"] == "3.1.0"
    async with http.get("/api/v1/docs") as response:
        assert f"GET {LIVE_PATH}" in (await response.json())["routes"]
