"""The OpenAPI 3.1 document of the table of routes."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from actors.aggregator.models import ErrorReply
from actors.aggregator.prometheus.routes import PASSED
from actors.aggregator.prometheus.routes import ROUTES as PROMETHEUS_ROUTES
from actors.aggregator.reading import TIME_HINT
from actors.aggregator.routes import LIVE_PATH, METRICS_PATH, PATH_DOCS, PREFIX, ROUTES, Parameter, Route

_IN_PATH = re.compile(r"{(\w+)}")

ERRORS = {
    "400": "The request is refused; `hint` says what would be right.",
    "401": "A token is asked for: `Authorization: Bearer <token>`.",
    "404": "There is no such thing, or it is no longer kept.",
    "413": "The request is larger than a limit.",
    "503": "Not now; `Retry-After` says when.",
    "504": "It took longer than `aggregator.ask_timeout_s`.",
}


def document(version: str) -> dict[str, Any]:
    kinds = [kind for route in ROUTES for kind in (route.reply, route.body) if kind is not None] + [
        ErrorReply
    ]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    _allow_null(components)
    schema_of = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "KubeChat observability layer",
            "version": version,
            "description": f"Telemetry, incidents and answers. Times are taken as {TIME_HINT}; NaN is null.",
        },
        "paths": paths | _others() | _prometheus(),
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _allow_null(components: dict[str, Any]) -> None:
    """NaN is written as null, which the types do not say."""
    for schema in components.values():
        for property_ in schema.get("properties", {}).values():
            if property_.get("items") == {"type": "number"}:
                property_["items"] = {"type": ["number", "null"]}


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": schema_of[repr(ErrorReply)]}}}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route.method, route.path),
        "summary": route.summary,
        "parameters": _parameters(route),
        "security": [] if route.open else [{}, {"token": []}],
        "responses": {
            "200": {
                "description": route.summary,
                "content": {"application/json": {"schema": schema_of[repr(route.reply)]}},
            },
            **{code: {"description": text, **error} for code, text in ERRORS.items()},
        },
    }
    if route.body is not None:
        content = {"application/json": {"schema": schema_of[repr(route.body)]}}
        operation["requestBody"] = {"content": content, "required": route.path == PREFIX + "/ask"}
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    in_query = [_in_query(parameter) for parameter in route.parameters]
    tenant = {
        "name": "X-Scope-OrgID",
        "in": "header",
        "description": "The tenant; `?tenant=` says the same.",
        "schema": {"type": "string", "default": "default"},
    }
    return _path_parameters(route.path) + in_query + ([tenant, _in_query(TENANT)] if route.by_tenant else [])


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": PATH_DOCS[name],
            "schema": {"type": "string"},
        }
        for name in _IN_PATH.findall(path)
    ]


TENANT = Parameter("tenant", "The tenant; without it the header `X-Scope-OrgID` counts.", default="default")


def _in_query(parameter: Parameter) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": parameter.kind}
    if parameter.choices:
        schema["enum"] = list(parameter.choices)
    if parameter.default:
        schema["default"] = parameter.default if parameter.kind == "string" else float(parameter.default)
    return {"name": parameter.name, "in": "query", "description": parameter.doc, "schema": schema}


def _operation_id(method: str, path: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", path.removeprefix(PREFIX))])


def _others() -> dict[str, Any]:
    text = {"text/plain": {"schema": {"type": "string"}}}
    return {
        METRICS_PATH: {
            "get": {
                "operationId": "get_metrics",
                "summary": "The layer's own metrics, for Prometheus.",
                "responses": {"200": {"description": "Prometheus' or OpenMetrics' text.", "content": text}},
            }
        },
        LIVE_PATH: {
            "get": {
                "operationId": "get_live",
                "summary": "WebSocket: telemetry and incidents as they come in (docs/api.md has the messages).",
                "parameters": [
                    _in_query(Parameter("signals", "Of spans, logs, metrics and incidents, joined by commas.", default="spans,logs,metrics,incidents")),
                    _in_query(Parameter("services", "Only these, joined by commas.")),
                    _in_query(Parameter("severity", "Only log records of this level and above.", choices=("trace", "debug", "info", "warn", "error", "fatal"))),
                    _in_query(TENANT),
                ],
                "responses": {
                    "101": {"description": "The feed begins."},
                    "403": {"description": "A browser's page of another origin."},
                    "503": {"description": "`aggregator.max_live_clients` are connected."},
                },
            }
        },
    }  # fmt: skip


def _prometheus() -> dict[str, Any]:
    """Prometheus' API has a description of its own; here are its routes by name."""
    paths: dict[str, Any] = {}
    described = "As Prometheus documents it."
    for route in PROMETHEUS_ROUTES:
        for method in route.methods:
            paths.setdefault(route.path, {})[method.lower()] = {
                "operationId": _operation_id(method, route.path),
                "summary": route.summary,
                "parameters": _path_parameters(route.path),
                "security": [] if route.open else [{}, {"token": []}],
                "responses": {"200": {"description": described}},
            }
    for path, summary in PASSED.items():
        operation = {"operationId": _operation_id("POST", path), "summary": summary}
        paths[path] = {"post": {**operation, "responses": {"2XX": {"description": "The gateway has it."}}}}
    return paths
