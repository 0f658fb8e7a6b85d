"""Runs a script against the engine: every eval as it is, and an instant eval also with ``@`` on all selectors at
other times, and as the middle step of a range query, as Prometheus' own runner does."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from agent.promql.engine import Engine, Query, Result
from agent.promql.errors import QueryError
from agent.promql.options import EngineOptions
from agent.promql.parse import EVERYTHING
from agent.promql.preprocess import STEP_DEPENDENT
from agent.promql.pushdown import StreamsEvaluation
from agent.promql.tree import At, Call, Expr, MatrixSelector, Subquery, VectorSelector, walk, with_children
from tests.promql.compare import annotations_difference, difference
from tests.promql.divided import DividedStorage
from tests.promql.nhcb import natives
from tests.promql.script import Broken, Clear, Eval, Load, read
from tests.promql.storage import MemoryStorage

OPTIONS = EngineOptions(delayed_name_removal=True, dialect=EVERYTHING)
_MINUTE_MS = 60_000
_QUERY_EDGES = re.compile(r"(start|end|range|step)\(\)")


@dataclass(frozen=True)
class Outcome:
    file: str
    line: int
    query: str
    reason: str | None

    @property
    def passed(self) -> bool:
        return self.reason is None


def run_file(path: Path, *, divided: bool = False) -> list[Outcome]:
    """``divided``: with the series in several places, as in the streams of a layer."""
    text = path.read_text("utf-8")
    if divided:
        engine = Engine(OPTIONS, StreamsEvaluation)
        return list(run(text, path.name, engine, lambda: DividedStorage(OPTIONS)))
    return list(run(text, path.name, Engine(OPTIONS), MemoryStorage))


def run(text: str, name: str, engine: Engine, make: Callable[[], MemoryStorage]) -> Iterator[Outcome]:
    """One outcome an eval, and one for every command that cannot be read."""
    storage = make()
    for command in read(text):
        match command:
            case Clear():
                storage = make()
            case Broken():
                yield Outcome(name, command.line, command.text, command.reason)
            case Load():
                _load(command, storage)
            case Eval():
                yield Outcome(name, command.line, command.query, _judged(command, engine, storage))


def _load(command: Load, storage: MemoryStorage) -> None:
    for labels, points in command.series:
        storage.load(labels, points, command.gap_ms)
    if command.with_nhcb:
        for labels, time_ms, histogram in natives(command.series, command.gap_ms):
            storage.append(labels, time_ms, histogram)


def _judged(command: Eval, engine: Engine, storage: MemoryStorage) -> str | None:
    try:
        if not command.instant:
            return _range(command, engine, storage)
        return _instant(command, engine, storage)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _range(command: Eval, engine: Engine, storage: MemoryStorage) -> str | None:
    try:
        result = engine.range(command.query, command.start_ms, command.end_ms, command.step_ms, storage)
    except QueryError as error:
        return _failure(command, error)
    return _checked(command, result)


def _checked(command: Eval, result: Result) -> str | None:
    if command.fail:
        return "expected a failure, got none"
    return annotations_difference(command, result) or difference(command, result)


def _failure(command: Eval, error: QueryError) -> str | None:
    if not command.fail:
        return f"{type(error).__name__}: {error}"
    wrong = [one for one in command.failures if not one.fits(str(error))]
    return f"expected the failure {str(wrong[0])!r}, got {str(error)!r}" if wrong else None


def _instant(command: Eval, engine: Engine, storage: MemoryStorage) -> str | None:
    try:
        query = engine.prepare(command.query)
    except QueryError as error:
        return _failure(command, error)
    at = command.window[1] if command.window else command.start_ms
    problem = _once(command, engine, storage, query, at)
    if problem:
        return problem
    for moved in _moved_times(query, at):
        problem = _once(command, engine, storage, Query(query.text, _pinned(query.root, at)), moved)
        if problem:
            return f"with @ {at / 1000}, at {moved / 1000}: {problem}"
    return None


def _once(command: Eval, engine: Engine, storage: MemoryStorage, query: Query, at: int) -> str | None:
    try:
        result = engine.instant(query, at, storage)
    except QueryError as error:
        return _failure(command, error)
    problem = _checked(command, result)
    if problem or command.window or command.text is not None or _QUERY_EDGES.search(query.text):
        return problem
    ranged = engine.range(query, at - _MINUTE_MS, at + _MINUTE_MS, _MINUTE_MS, storage)
    if command.ordered:
        return None
    problem = difference(command, ranged, at_ms=at)
    return f"in range mode: {problem}" if problem else None


def _moved_times(query: Query, at: int) -> list[int]:
    """At which the query with ``@`` on its selectors must give the same."""
    moving = STEP_DEPENDENT | {"start", "end", "info"}
    if any(isinstance(node, Call) and node.name in moving for node in walk(query.root)):
        return []
    return [-10 * at, 0, at // 5, at, 10 * at] if at else [-1000, 0, 1000]


def _pinned(node: Expr, at: int) -> Expr:
    """With ``@`` on the outermost selectors and subqueries that have none."""
    match node:
        case VectorSelector(at=None):
            return replace(node, at=At(at))
        case MatrixSelector(selector=selector):
            return node if selector.at else replace(node, selector=replace(selector, at=At(at)))
        case Subquery():
            return node if node.at else replace(node, at=At(at))
    return with_children(node, lambda child: _pinned(child, at))
