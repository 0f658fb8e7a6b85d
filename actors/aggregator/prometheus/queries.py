"""``query``, ``query_range``, ``query_exemplars``, ``format_query``, ``parse_query``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import ParamSpec, TypeVar

import orjson
from aiohttp import web

from actors.aggregator.prometheus.backend import QueryOptions, Scope
from actors.aggregator.prometheus.digits import float_text, time_text
from actors.aggregator.prometheus.doors import Doors, Took
from actors.aggregator.prometheus.faults import located
from actors.aggregator.prometheus.form import Form
from actors.aggregator.prometheus.printing import go_float, pretty
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
from agent.promql.engine import Result
from agent.promql.errors import ParseError
from agent.promql.parse import EVERYTHING, Dialect, parse
from agent.promql.tree import MATRIX, STRING, Expr
from agent.promql.values import Histograms, Matrix, Selection

P = ParamSpec("P")
T = TypeVar("T")

TRUNCATED = "results truncated due to limit"
_TOO_DEEP = "the query is nested too deeply to be shown"
_LONG_TEXT = 2000  # characters; what is made of longer ones is not for the event loop
_NOT_OF_A_RANGE = {MATRIX: "range vector", STRING: "string"}


async def instant(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = limit_parameter(form.one("limit"))
    time_ms = time_parameter("time", form.one("time"), doors.now_ms())
    options, text = _options(doors, form), form.one("query")
    await _parsed(text, doors.engine.dialect)
    found, took = await doors.run(
        request, options, partial(doors.backend.instant, form.tenant, text, time_ms, options)
    )
    return _reply(found, limit, _stats(found, took) if form.one("stats") else b"")


async def over_range(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = limit_parameter(form.one("limit"))
    grid = parse_grid(form.one("start"), form.one("end"), form.one("step"))
    options, text = _options(doors, form), form.one("query")
    kind = (await _parsed(text, doors.engine.dialect)).type
    if kind in _NOT_OF_A_RANGE:
        shown = _NOT_OF_A_RANGE[kind]
        problem = f'invalid expression type "{shown}" for range query, must be Scalar or instant Vector'
        raise invalid_parameter("query", problem)
    found, took = await doors.run(
        request, options, partial(doors.backend.range, form.tenant, text, grid, options)
    )
    return _reply(found, limit, _stats(found, took) if form.one("stats") else b"")


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
    return Reply(Rendered(b"[", iter((text,)), b"]", len(found)))


async def format_query(doors: Doors, request: web.Request, form: Form) -> Reply:
    root = await _parsed(form.one("query"), EVERYTHING)
    try:
        return Reply(await _computed(form.one("query"), pretty, root))
    except RecursionError:
        raise invalid_parameter("query", _TOO_DEEP) from None


async def parse_query(doors: Doors, request: web.Request, form: Form) -> Reply:
    root = await _parsed(form.one("query"), EVERYTHING)
    try:
        return Reply(Rendered(await _computed(form.one("query"), _tree_text, root), iter(()), b"", 0))
    except (RecursionError, orjson.JSONEncodeError):
        raise invalid_parameter("query", _TOO_DEEP) from None


def _reply(found: Result, limit: int, stats: bytes) -> Reply:
    head, pieces, tail = _result(found, limit)
    cut = limit > 0 and isinstance(found.value, Matrix | Selection) and limit < len(found.value)
    head = f'{{"resultType":"{found.type}","result":'.encode() + head
    enclosed = Rendered(head, pieces, tail + stats + b"}", _cells(found))
    return Reply(enclosed, [*found.warnings, TRUNCATED] if cut else found.warnings, found.infos)


def _cells(found: Result) -> int:
    match found.value:
        case Matrix() as matrix:
            return matrix.value.size
        case Selection() as selection:
            return len(selection.value)
    return 1


def _result(found: Result, limit: int) -> tuple[bytes, Iterator[Piece], bytes]:
    """The result, and what stands round its pieces."""
    at = time_text(found.grid.end_ms)
    match found.value:
        case str() as text:
            return b"", iter((f"[{at},".encode() + json_text(text) + b"]",)), b""
        case Selection() as selection:
            return b"[", selection_pieces(_first_series(selection, limit)), b"]"
        case Matrix() as matrix:
            times = found.grid.times.tolist()
            return b"[", matrix_pieces(_first_rows(matrix, limit), times, single=found.type == "vector"), b"]"
        case number:
            return b"", iter((f'[{at},"{go_float(number)}"]'.encode(),)), b""


def _first_rows(matrix: Matrix, limit: int) -> Matrix:
    if not 0 < limit < len(matrix):
        return matrix
    held = None if matrix.histogram is None else matrix.histogram[:limit]
    return Matrix(matrix.labels.take(slice(0, limit)), matrix.value[:limit], matrix.present[:limit], held)


def _first_series(selection: Selection, limit: int) -> Selection:
    if not 0 < limit < len(selection):
        return selection
    end, held = int(selection.offsets[limit]), selection.histograms
    if held is not None:
        last = int(held.offsets[limit])
        held = Histograms(held.offsets[: limit + 1], held.time_ms[:last], held.sample[:last])
    labels = selection.labels.take(slice(0, limit))
    return Selection(
        labels, selection.offsets[: limit + 1], selection.time_ms[:end], selection.value[:end], held
    )


async def _parsed(text: str, dialect: Dialect) -> Expr:
    try:
        return await _computed(text, parse, text, dialect)
    except ParseError as error:
        told = str(await _computed(text, located, error)) if text else f"unknown position: {error}"
        raise invalid_parameter("query", told) from None


async def _computed(query: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function makes of a query, beside the event loop where that may take a while."""
    if len(query) > _LONG_TEXT:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)


def _tree_text(root: Expr) -> bytes:
    return orjson.dumps(tree_json(root))


def _options(doors: Doors, form: Form) -> QueryOptions:
    timeout_s, engine = doors.settings.query_timeout_s, doors.engine
    if text := form.one("timeout"):
        timeout_s = min(timeout_s, duration_parameter("timeout", text) / 1e9)
    if text := form.one("lookback_delta"):
        try:
            lookback_ms = parse_duration_ns(text) // NS_IN_MS
        except ValueError as error:
            raise bad_data(f"error parsing lookback delta duration: {error}") from None
        engine = replace(engine, lookback_ms=lookback_ms) if lookback_ms > 0 else engine
    return QueryOptions(timeout_s, engine)


def _stats(found: Result, took: Took) -> bytes:
    """Times in seconds, and how many samples were read."""
    return (
        f',"stats":{{"timings":{{"evalTotalTime":{took.run_s:.9f},"resultSortTime":0,"queryPreparationTime":0,'
        f'"innerEvalTime":{took.run_s:.9f},"execQueueTime":{took.queued_s:.9f},'
        f'"execTotalTime":{took.queued_s + took.run_s:.9f}}},"samples":{{"totalQueryableSamples":{found.samples}}}}}'
    ).encode()


def _labels(labels: dict[str, str]) -> bytes:
    return b"{" + b",".join(json_text(n) + b":" + json_text(v) for n, v in sorted(labels.items())) + b"}"
