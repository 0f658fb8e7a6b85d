"""``info()``: series enriched by the labels of info metrics (target_info, if no other is named) that have the
same ``instance`` and ``job``. Of several info series with the same identity the newest sample counts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from agent.promql.errors import ExecutionError
from agent.promql.labelsets import labels_text
from agent.promql.matchers import fits, selects_all
from agent.promql.selectors import taken
from agent.promql.sets import masked
from agent.promql.values import Matcher, Matrix
from agent.telemetry.frames import Bool
from agent.telemetry.labels import METRIC_NAME, Labels, LabelTable, labels_of

IDENTIFYING = ("instance", "job")
_TARGET_INFO = Matcher(METRIC_NAME, "=", "target_info")
_ANY_INFO = Matcher(METRIC_NAME, "=~", ".+_info")

Fetch = Callable[[tuple[Matcher, ...]], Matrix]


def with_info(base: Matrix, matchers: tuple[Matcher, ...] | None, fetch: Fetch) -> Matrix:
    """``matchers`` are those of the second argument, None without one. ``fetch`` selects series, the time of each
    sample being its value. Raises ExecutionError."""
    by_name = _of_info_metrics(tuple(m for m in matchers or () if m.name == METRIC_NAME))
    data = tuple(m for m in matchers or () if m.name != METRIC_NAME)
    names = base.labels.column(METRIC_NAME)
    ignored = np.array([all(fits(m, name) for m in by_name) for name in names], np.bool_)
    base = replace(base, drop_name=np.empty(0, np.bool_))
    identities = _identities(base.labels.take(np.flatnonzero(~ignored)))
    if not identities:
        return base if selects_all(data) else taken(base, np.flatnonzero(ignored))
    info = fetch((*by_name, *identities, *data))
    return _enriched(base, ignored, _newest(info), data)


def _of_info_metrics(by_name: tuple[Matcher, ...]) -> tuple[Matcher, ...]:
    """What tells info metrics: the matchers of names that are given, completed where these only exclude."""
    if any(matcher.op in ("=", "=~") for matcher in by_name):
        return by_name
    return (_ANY_INFO, *by_name) if by_name else (_TARGET_INFO,)


def _identities(table: LabelTable) -> tuple[Matcher, ...]:
    """Matchers for the identifying labels that the series have."""
    out = []
    for name in IDENTIFYING:
        values = sorted({value for value in table.column(name) if value})
        if values:
            out.append(Matcher(name, "=~", "|".join(_quoted_pattern(value) for value in values)))
    return tuple(out)


def _quoted_pattern(text: str) -> str:
    return re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", text)


@dataclass(frozen=True, slots=True)
class _Info:
    """Info series by the values of their identifying labels; ``shown`` says where each one counts."""

    labels: list[Labels]
    shown: Bool
    by_identity: dict[Labels, list[int]]


def _newest(info: Matrix) -> _Info:
    rows, shown = info.labels.rows(), info.present.copy()
    by_identity: dict[Labels, list[int]] = {}
    rivals: dict[Labels, list[int]] = {}
    for i, labels in enumerate(rows):
        identity = tuple(pair for pair in labels if pair[0] in IDENTIFYING)
        by_identity.setdefault(identity, []).append(i)
        rivals.setdefault((*identity, (METRIC_NAME, dict(labels).get(METRIC_NAME, ""))), []).append(i)
    for group in rivals.values():
        if len(group) > 1:
            _settle(info, rows, group, shown)
    return _Info(rows, shown, by_identity)


def _settle(info: Matrix, rows: list[Labels], group: list[int], shown: Bool) -> None:
    times = np.where(info.present[group], info.value[group], -np.inf)
    latest = times.max(axis=0)
    winners = (times == latest) & info.present[group]
    clash = np.flatnonzero(winners.sum(axis=0) > 1)
    if len(clash):
        first, second = np.flatnonzero(winners[:, clash[0]])[:2].tolist()
        stamp = round(float(latest[clash[0]]) * 1000)
        raise ExecutionError(
            f"found duplicate series for info metric: existing {labels_text(rows[group[first]])} @ {stamp}, "
            f"new {labels_text(rows[group[second]])} @ {stamp}"
        )
    shown[group] = winners


def _enriched(base: Matrix, ignored: Bool, info: _Info, data: tuple[Matcher, ...]) -> Matrix:
    needed = not selects_all(data)
    wanted = {m.name for m in data}
    parts: list[tuple[int, Bool, Labels]] = []
    everywhere = np.ones(base.value.shape[1], np.bool_)
    for i, labels in enumerate(base.labels.rows()):
        if ignored[i]:
            parts.append((i, everywhere, labels))
            continue
        identity = tuple(pair for pair in labels if pair[0] in IDENTIFYING)
        candidates = info.by_identity.get(identity, [])
        for steps, chosen in _constellations(info.shown[candidates]):
            if not chosen and needed:
                continue
            extra = _data_labels([info.labels[candidates[k]] for k in chosen], wanted, dict(labels))
            parts.append((i, steps, labels_of({**extra, **dict(labels)})))
    rows = np.array([i for i, _, _ in parts], np.int64)
    kept = np.array([steps for _, steps, _ in parts], np.bool_).reshape(len(parts), base.value.shape[1])
    return replace(masked(taken(base, rows), kept), labels=LabelTable.of([labels for _, _, labels in parts]))


def _constellations(shown: Bool) -> Iterable[tuple[Bool, list[int]]]:
    """The different sets of rows that are shown together, each with its steps."""
    columns, which = np.unique(shown, axis=1, return_inverse=True)
    for k in range(columns.shape[1]):
        yield which.reshape(-1) == k, np.flatnonzero(columns[:, k]).tolist()


def _data_labels(infos: list[Labels], wanted: set[str], base: dict[str, str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for labels in infos:
        for name, value in labels:
            if name == METRIC_NAME or (wanted and name not in wanted):
                continue
            if out.get(name, value) != value:
                raise ExecutionError(f"conflicting label: {name}")
            if name not in base:
                out[name] = value
    return out
