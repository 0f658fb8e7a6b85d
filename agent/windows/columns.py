"""A window of rows in columns, bounded by age and by bytes.

Rows are kept in chunks that grow up to an equal size; a chunk knows the range of its event times, so that a
query skips the chunks outside and eviction drops whole ones. A chunk takes rows for a limited stretch of
event time only: a slow signal would otherwise hold the chunk, and with it the log that it was read from,
for days. Appending copies a row once, and once more when its chunk grows. One thread may append while others
query: a query sees the rows that were there when it reached their chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Columns = Mapping[str, npt.NDArray[Any]]
CHUNK_ROWS = 16_384
FIRST_ROWS = 64
# Rows with a clock that is ahead age at the latest so many spans after their chunk was closed.
AHEAD_SPANS = 8


class _Chunk:
    __slots__ = ("columns", "first_ns", "last_ns", "low_position", "opened_ns", "rows")

    def __init__(self, schema: Mapping[str, Any], rows: int, position: int, opened_ns: int) -> None:
        self.columns = {name: np.empty(rows, dtype) for name, dtype in schema.items()}
        self.rows = 0
        self.first_ns = np.iinfo(np.int64).max
        self.last_ns = np.iinfo(np.int64).min
        self.low_position = position
        self.opened_ns = opened_ns

    @property
    def nbytes(self) -> int:
        return sum(column.nbytes for column in self.columns.values())

    def reserve(self, rows: int, most: int) -> None:
        """Make room. A reader that took ``rows`` before ``columns`` finds them in either set of columns."""
        have = len(next(iter(self.columns.values())))
        if rows <= have:
            return
        grown = {name: np.empty(min(most, max(rows, 2 * have)), c.dtype) for name, c in self.columns.items()}
        for name, column in self.columns.items():
            grown[name][: self.rows] = column[: self.rows]
        self.columns = grown


class ColumnWindow:
    """``time`` names the int64 column of event time in ns that ages the rows; ``span_ns`` is how much event
    time passes at most while one chunk is filled."""

    def __init__(
        self, schema: Mapping[str, Any], time: str, span_ns: int, chunk_rows: int = CHUNK_ROWS
    ) -> None:
        self._schema = dict(schema)
        self._time = time
        self._span_ns = span_ns
        self._chunk_rows = chunk_rows
        self._chunks: deque[_Chunk] = deque()

    def __len__(self) -> int:
        return sum(chunk.rows for chunk in list(self._chunks))

    @property
    def nbytes(self) -> int:
        return sum(chunk.nbytes for chunk in list(self._chunks))

    @property
    def low_position(self) -> int | None:
        """The lowest log position that a row of the window was read from; None when it is empty."""
        return min((chunk.low_position for chunk in list(self._chunks)), default=None)

    def append(self, rows: Columns, position: int, now_ns: int) -> None:
        """Add rows that were read from the log record at ``position``. ``now_ns`` is how far event time has
        come; 0 where that is not known yet."""
        count, done = len(rows[self._time]), 0
        while done < count:
            now_ns = now_ns or int(rows[self._time].min())
            chunk = self._open(position, now_ns)
            take = min(count - done, self._chunk_rows - chunk.rows)
            chunk.reserve(chunk.rows + take, self._chunk_rows)
            for name, column in chunk.columns.items():
                column[chunk.rows : chunk.rows + take] = rows[name][done : done + take]
            times = rows[self._time][done : done + take]
            chunk.first_ns = min(chunk.first_ns, int(times.min()))
            chunk.last_ns = max(chunk.last_ns, int(times.max()))
            chunk.rows += take
            done += take

    def evict_before(self, time_ns: int) -> int:
        """Drop the chunks whose rows are all older; returns the number of rows dropped."""
        old = [chunk for chunk in self._chunks if self._ages_ns(chunk) < time_ns]
        if old:
            self._chunks = deque(chunk for chunk in self._chunks if self._ages_ns(chunk) >= time_ns)
        return sum(chunk.rows for chunk in old)

    def evict_oldest(self) -> int:
        """Drop the oldest chunk; returns the number of rows dropped."""
        return self._chunks.popleft().rows if self._chunks else 0

    def _open(self, position: int, now_ns: int) -> _Chunk:
        """The chunk to append to. Event time opens a new one, not the rows' own times: rows that come late,
        or from a clock that is ahead, would open one each."""
        last = self._chunks[-1] if self._chunks else None
        if last is None or last.rows == self._chunk_rows or abs(now_ns - last.opened_ns) > self._span_ns:
            last = _Chunk(self._schema, min(FIRST_ROWS, self._chunk_rows), position, now_ns)
            self._chunks.append(last)
        return last

    def _ages_ns(self, chunk: _Chunk) -> int:
        """The event time that a chunk counts as: its newest, unless that is far ahead of all the others."""
        return min(chunk.last_ns, chunk.opened_ns + (1 + AHEAD_SPANS) * self._span_ns)

    def between(
        self, start_ns: int, end_ns: int, names: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """The rows with ``start_ns <= time < end_ns``, as copies, in the order of arrival."""
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names or self._schema}
        for chunk in list(self._chunks):
            rows = chunk.rows
            if chunk.last_ns < start_ns or chunk.first_ns >= end_ns:
                continue
            columns = chunk.columns
            times = columns[self._time][:rows]
            mask = (times >= start_ns) & (times < end_ns)
            for name, part in parts.items():
                part.append(columns[name][:rows][mask])
        return {
            name: np.concatenate([np.empty(0, self._schema[name]), *part]) for name, part in parts.items()
        }

    def where(self, **equal: Any) -> dict[str, npt.NDArray[Any]]:
        """The rows whose named columns equal the values given, as copies."""
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in self._schema}
        for chunk in list(self._chunks):
            rows, columns = chunk.rows, chunk.columns
            mask = np.ones(rows, np.bool_)
            for name, value in equal.items():
                mask &= columns[name][:rows] == value
            for name, part in parts.items():
                part.append(columns[name][:rows][mask])
        return {
            name: np.concatenate([np.empty(0, self._schema[name]), *part]) for name, part in parts.items()
        }
