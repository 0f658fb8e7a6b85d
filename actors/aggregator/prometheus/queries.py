"""``query``, ``query_range``, ``query_exemplars``, ``format_query``, ``parse_query``."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np
from aiohttp import web

from actors.aggregator.prometheus.backend import QueryOptions, QueryResult, Scope
from actors.aggregator.prometheus.digits import float_text, time_text
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.form import Form
from actors.aggregator.prometheus.printing import pretty
from actors.aggregator.prometheus.problems import bad_data, invalid_parameter
from actors.aggregator.prometheus.reading import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    NS_IN_MS,
    duration_parameter,
    limit_parameter,
    parse_duration_ns,
    parse_grid,
    time_parameter,
)
from actors.aggregator.prometheus.replies import NO_CONTENT, Rendered, Reply
from actors.aggregator.prometheus.selectors import selectors_in
from actors.aggregator.prometheus.series import Piece, json_text, matrix_pieces, selection_pieces
from actors.aggregator.prometheus.syntax import tree_json
from agent.promql.errors import ParseError
from agent.promql.parse import parse
from agent.promql.tree import Expr
from agent.promql.values import Grid, Matrix, Selection
from agent.telemetry.labels import LabelTable

TRUNCATED = "results truncated due to limit"


async def instant(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = limit_parameter(form.one("limit"))
    time_ms = time_parameter("time", form.one("time"), doors.now_ms())
    options, text = _options(doors, form), form.one("query")
    _parsed(text)
    began = time.perf_counter()
    found, queued_s = await doors.run(
        request, options, lambda: doors.backend.instant(form.tenant, text, time_ms, options)
    )
    grid = Grid(time_ms, time_ms, 0)
    kind, head, pieces, truncated = rendered(found, grid, limit, instant=True)
    return _reply(found, (kind, head, pieces, truncated), _stats(form, began, queued_s))


async def over_range(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = limit_parameter(form.one("limit"))
    grid = parse_grid(form.one("start"), form.one("end"), form.one("step"))
    options, text = _options(doors, form), form.one("query")
    _parsed(text)
    began = time.perf_counter()
    found, queued_s = await doors.run(
        request, options, lambda: doors.backend.range(form.tenant, text, grid, options)
    )
    return _reply(found, rendered(found, grid, limit, instant=False), _stats(form, began, queued_s))


async def exemplars(doors: Doors, request: web.Request, form: Form) -> Reply:
    start_ms = time_parameter("start", form.one("start"), MIN_TIME_MS)
    end_ms = time_parameter("end", form.one("end"), MAX_TIME_MS)
    if end_ms < start_ms:
        raise bad_data("end timestamp must not be before start timestamp")
    selectors = selectors_in(form.one("query"))
    if not selectors:
        return NO_CONTENT
    found = await doors.backend.exemplars(form.tenant, Scope(selectors, start_ms, end_ms))
    text = b",".join(
        b'{"seriesLabels":' + _labels(one.series) + b',"exemplars":['
        + b",".join(
            b'{"labels":' + _labels(e["labels"])
            + f',"value":"{float_text(e["value"])}","timestamp":{time_text(e["timestamp_ms"])}}}'.encode()
            for e in one.exemplars
        )
        + b"]}"
        for one in found
    )  # fmt: skip
    return Reply(Rendered(b"[", iter((text,)), b"]"))


async def format_query(doors: Doors, request: web.Request, form: Form) -> Reply:
    return Reply(pretty(_parsed(form.one("query"))))


async def parse_query(doors: Doors, request: web.Request, form: Form) -> Reply:
    return Reply(tree_json(_parsed(form.one("query"))))


def rendered(
    found: QueryResult, grid: Grid, limit: int, *, instant: bool
) -> tuple[str, bytes, Iterator[Piece], bool]:
    """``(resultType, what encloses it: "[", "" , the pieces, whether the limit cut it)``."""
    value = found.value
    if isinstance(value, str):
        return "string", b"", iter((f"[{time_text(grid.end_ms)},".encode() + json_text(value) + b"]",)), False
    if isinstance(value, np.ndarray):
        if instant:
            text = f'[{time_text(grid.start_ms)},"{float_text(float(value[0]))}"]'
            return "scalar", b"", iter((text.encode(),)), False
        row = np.ascontiguousarray(value, np.float64).reshape(1, -1)
        value = Matrix(LabelTable.empty(1), row, np.ones(row.shape, np.bool_))
    cut = 0 < limit < len(value)
    if isinstance(value, Selection):
        shown = _first_series(value, limit) if cut else value
        return "matrix", b"[", selection_pieces(shown), cut
    shown_matrix = _first_rows(value, limit) if cut else value
    kind = "vector" if instant else "matrix"
    return kind, b"[", matrix_pieces(shown_matrix, grid.times.tolist(), single=instant), cut


def _first_rows(matrix: Matrix, limit: int) -> Matrix:
    held = None if matrix.histogram is None else matrix.histogram[:limit]
    return Matrix(matrix.labels.take(slice(0, limit)), matrix.value[:limit], matrix.present[:limit], held)


def _first_series(selection: Selection, limit: int) -> Selection:
    end = int(selection.offsets[limit])
    labels = selection.labels.take(slice(0, limit))
    held = selection.histograms
    if held is not None:
        last = int(held.offsets[limit])
        held = type(held)(held.offsets[: limit + 1], held.time_ms[:last], held.sample[:last])
    return Selection(
        labels, selection.offsets[: limit + 1], selection.time_ms[:end], selection.value[:end], held
    )


def _reply(found: QueryResult, shown: tuple[str, bytes, Iterator[Piece], bool], stats: bytes) -> Reply:
    kind, bracket, pieces, cut = shown
    head = f'{{"resultType":"{kind}","result":'.encode() + bracket
    tail = (b"]" if bracket else b"") + stats + b"}"
    warnings = [*found.warnings, *([TRUNCATED] if cut else [])]
    return Reply(Rendered(head, pieces, tail), warnings, found.infos)


def _parsed(text: str) -> Expr:
    try:
        return parse(text)
    except ParseError as error:
        raise invalid_parameter("query", str(error) if text else f"unknown position: {error}") from None


def _options(doors: Doors, form: Form) -> QueryOptions:
    settings = doors.settings
    timeout_s = settings.query_timeout_s
    if text := form.one("timeout"):
        timeout_s = min(timeout_s, duration_parameter("timeout", text) / 1e9)
    lookback_ms = round(settings.query_lookback_s * 1000)
    if text := form.one("lookback_delta"):
        try:
            lookback_ms = parse_duration_ns(text) // NS_IN_MS
        except ValueError as error:
            raise bad_data(f"error parsing lookback delta duration: {error}") from None
        if lookback_ms <= 0:
            lookback_ms = round(settings.query_lookback_s * 1000)
    return QueryOptions(timeout_s, settings.query_max_samples, lookback_ms)


def _stats(form: Form, began: float, queued_s: float) -> bytes:
    """Times of the query in seconds, where they are asked for."""
    if not form.one("stats"):
        return b""
    took_s = time.perf_counter() - began
    run_s = max(0.0, took_s - queued_s)
    return (
        f',"stats":{{"timings":{{"evalTotalTime":{run_s:.9f},"resultSortTime":0,"queryPreparationTime":0,'
        f'"innerEvalTime":{run_s:.9f},"execQueueTime":{queued_s:.9f},"execTotalTime":{took_s:.9f}}}}}'
    ).encode()


def _labels(labels: dict[str, str]) -> bytes:
    return b"{" + b",".join(json_text(n) + b":" + json_text(v) for n, v in sorted(labels.items())) + b"}"
