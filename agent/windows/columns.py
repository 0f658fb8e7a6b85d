"""A window of rows in columns, bounded by age and by bytes.

Rows are kept in chunks of equal size; a chunk knows the range of its event times, so that a query skips
the chunks outside and eviction drops whole ones. Appending copies a row once, into its chunk. One thread
may append while others query: a query sees the rows that were there when it reached their chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Columns = Mapping[str, npt.NDArray[Any]]
CHUNK_ROWS = 16_384


class _Chunk:
    __slots__ = ("columns", "first_ns", "last_ns", "low_position", "nbytes", "rows")

    def __init__(self, schema: Mapping[str, Any], rows: int) -> None:
        self.columns = {name: np.empty(rows, dtype) for name, dtype in schema.items()}
        self.rows = 0
        self.first_ns = np.iinfo(np.int64).max
        self.last_ns = np.iinfo(np.int64).min
        self.low_position = -1
        self.nbytes = sum(column.nbytes for column in self.columns.values())


class ColumnWindow:
    """``time`` names the int64 column of event time in ns that ages the rows."""

    def __init__(self, schema: Mapping[str, Any], time: str, chunk_rows: int = CHUNK_ROWS) -> None:
        self._schema = dict(schema)
        self._time = time
        self._chunk_rows = chunk_rows
        self._chunks: deque[_Chunk] = deque()

    def __len__(self) -> int:
        return sum(chunk.rows for chunk in self._chunks)

    @property
    def nbytes(self) -> int:
        return sum(chunk.nbytes for chunk in self._chunks)

    @property
    def low_position(self) -> int | None:
        """The lowest log position that a row of the window was read from; None when it is empty."""
        return min((chunk.low_position for chunk in self._chunks), default=None)

    def append(self, rows: Columns, position: int) -> None:
        """Add rows that were read from the log record at ``position``."""
        count, done = len(rows[self._time]), 0
        while done < count:
            if not self._chunks or self._chunks[-1].rows == self._chunk_rows:
                self._chunks.append(_Chunk(self._schema, self._chunk_rows))
            chunk = self._chunks[-1]
            take = min(count - done, self._chunk_rows - chunk.rows)
            for name, column in chunk.columns.items():
                column[chunk.rows : chunk.rows + take] = rows[name][done : done + take]
            times = rows[self._time][done : done + take]
            chunk.first_ns = min(chunk.first_ns, int(times.min()))
            chunk.last_ns = max(chunk.last_ns, int(times.max()))
            if chunk.low_position < 0:
                chunk.low_position = position
            chunk.rows += take
            done += take

    def evict_before(self, time_ns: int) -> int:
        """Drop the leading chunks whose rows are all older; returns the number of rows dropped."""
        dropped = 0
        while self._chunks and self._chunks[0].last_ns < time_ns:
            dropped += self._chunks.popleft().rows
        return dropped

    def evict_oldest(self) -> int:
        """Drop the oldest chunk; returns the number of rows dropped."""
        return self._chunks.popleft().rows if self._chunks else 0

    def between(
        self, start_ns: int, end_ns: int, names: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        """The rows with ``start_ns <= time < end_ns``, as copies, in the order of arrival."""
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in names or self._schema}
        for chunk in list(self._chunks):
            rows = chunk.rows
            if chunk.last_ns < start_ns or chunk.first_ns >= end_ns:
                continue
            times = chunk.columns[self._time][:rows]
            mask = (times >= start_ns) & (times < end_ns)
            for name, part in parts.items():
                part.append(chunk.columns[name][:rows][mask])
        return {
            name: np.concatenate([np.empty(0, self._schema[name]), *part]) for name, part in parts.items()
        }

    def where(self, **equal: Any) -> dict[str, npt.NDArray[Any]]:
        """The rows whose named columns equal the values given, as copies."""
        parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in self._schema}
        for chunk in list(self._chunks):
            rows = chunk.rows
            mask = np.ones(rows, np.bool_)
            for name, value in equal.items():
                mask &= chunk.columns[name][:rows] == value
            for name, part in parts.items():
                part.append(chunk.columns[name][:rows][mask])
        return {
            name: np.concatenate([np.empty(0, self._schema[name]), *part]) for name, part in parts.items()
        }
