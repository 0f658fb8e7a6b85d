"""Rows of the detectors' columns: one for each operation, and one for its service as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from agent.detection.anomaly import ServiceKey, Side
from agent.detection.red import RedKey
from agent.telemetry.frames import F64, I32, I64


class Unit(NamedTuple):
    """What a row stands for. ``operation`` None is the whole service."""

    where: ServiceKey
    side: Side
    operation: str | None


@dataclass(frozen=True, slots=True)
class BinBlock:
    """All that one bin holds, one line a unit that had requests: operations first, then services.

    ``rows`` are distinct. ``buckets`` belongs to the operations only (``operations`` lines); a service's
    latency is judged through its operations."""

    start_ns: int
    operations: int
    rows: I64
    count: F64
    errors: F64
    buckets: I32


class UnitTable:
    """The columns are when a unit was first and last seen, how many requests it had, and the row of its
    service (-1: it is one; -2: the row is free). Hands out rows, at most ``max_units``; a row whose unit fell silent is handed out again."""

    def __init__(self, max_units: int) -> None:
        self.max_units = max_units
        self.units: list[Unit | None] = []
        self.parent = np.zeros(0, np.int64)
        self.first_ns = np.zeros(0, np.int64)
        self.last_ns = np.zeros(0, np.int64)
        self.requests = np.zeros(0)
        self._row_of: dict[Unit, int] = {}
        self._rows_of_key: dict[RedKey, tuple[int, int]] = {}
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.units)

    def rows(self, key: RedKey, now_ns: int) -> tuple[int, int]:
        """``(row of the operation, row of its service)``; -1 where the table is full."""
        rows = self._rows_of_key.get(key)
        if rows is None:
            where = ServiceKey(key.tenant, key.namespace, key.service)
            side = Side(key.kind.value)
            service = self._row(Unit(where, side, None), -1, now_ns)
            rows = (
                -1 if service < 0 else self._row(Unit(where, side, key.operation), service, now_ns),
                service,
            )
            if rows[0] >= 0:
                self._rows_of_key[key] = rows
        return rows

    def unknown(self, keys: Iterable[RedKey]) -> list[RedKey]:
        """Those that have no rows yet, sorted."""
        return sorted(key for key in keys if key not in self._rows_of_key)

    def unit(self, row: int) -> Unit:
        unit = self.units[row]
        if unit is None:
            raise KeyError(f"row {row} is free")
        return unit

    def children(self, service: int) -> I64:
        return np.flatnonzero(self.parent == service)

    def forget(self, silent_since_ns: int) -> I64:
        """Frees the rows of units last seen before; returns them, for their columns to be cleared."""
        parents = set(self.parent[: len(self.units)].tolist())
        old = [
            row
            for row, unit in enumerate(self.units)
            if unit is not None and self.last_ns[row] < silent_since_ns and row not in parents
        ]
        for row in old:
            del self._row_of[self.unit(row)]
            self.units[row] = None
            self.parent[row] = -2
            self._free.append(row)
        if old:
            self._rows_of_key.clear()
        return np.asarray(old, np.int64)

    def _row(self, unit: Unit, parent: int, now_ns: int) -> int:
        row = self._row_of.get(unit)
        if row is not None:
            return row
        if self._free:
            row = self._free.pop()
            self.units[row] = unit
        elif len(self.units) < self.max_units:
            row = len(self.units)
            self.units.append(unit)
            if row >= len(self.parent):
                self._grow(max(256, 2 * row))
        else:
            return -1
        self._row_of[unit] = row
        self.parent[row], self.first_ns[row], self.last_ns[row], self.requests[row] = (
            parent,
            now_ns,
            now_ns,
            0,
        )
        return row

    def _grow(self, capacity: int) -> None:
        more = capacity - len(self.parent)
        self.parent = np.append(self.parent, np.full(more, -2, np.int64))
        self.first_ns = np.append(self.first_ns, np.zeros(more, np.int64))
        self.last_ns = np.append(self.last_ns, np.zeros(more, np.int64))
        self.requests = np.append(self.requests, np.zeros(more))

    @property
    def capacity(self) -> int:
        return len(self.parent)
