"""The samples that are not sealed yet, by dense series id."""

from __future__ import annotations

import numpy as np
from numba import njit

from agent.promql.values import Times
from agent.telemetry.frames import F64, I32, I64, U64, Bool
from agent.windows.metrics import chunkreads, chunks
from agent.windows.metrics.arena import physical_bytes, reserve
from agent.windows.metrics.seriestable import SeriesTable

FREE_STEP = 1 << 14  # series whose chunks are freed in one go
ROOM_SAMPLES = 1 << 15  # at first
REASONS = {"duplicate": chunks.DUPLICATE, "too_old": chunks.TOO_OLD, "no_room": chunks.NO_ROOM}
_NEVER = int(chunks.NEVER)


@njit(cache=True, nogil=True)
def _free_below(s, first, floor_ms, cut_ms):  # type: ignore[no-untyped-def]
    for i in range(len(floor_ms)):
        if floor_ms[i] > cut_ms:
            chunks.free_before(s, first + i, first + i + 1, floor_ms[i])


class Room:
    """Columns for the samples of some series, used again and again: memory that is touched for the first time costs
    more than to copy samples there."""

    def __init__(self) -> None:
        self._make(ROOM_SAMPLES)

    def double(self) -> None:
        self._make(2 * len(self.value))

    def _make(self, samples: int) -> None:
        self.value: F64 = np.empty(samples, np.float64)
        self.time_ms: I64 = np.empty(samples, np.int64)


class Head:
    """Not thread-safe: whoever owns it locks. Samples below ``accept_from_ms`` are refused."""

    def __init__(self, max_series: int, like: chunks.Chunks | None = None) -> None:
        self.table = SeriesTable()
        rows = reserve(max_series * chunks.ROW_WORDS * 8)
        self.max_series = min(max_series, len(rows) // chunks.ROW_WORDS)
        if like is None:
            self._chunks = chunks.make_chunks(reserve(physical_bytes()), rows)
        else:
            self._chunks = like._replace(rows=rows.reshape(-1, chunks.ROW_WORDS))
        self.accept_from_ms = _NEVER

    def __len__(self) -> int:
        return len(self.table)

    @property
    def samples(self) -> int:
        return int(self._chunks.state[chunks.SAMPLES])

    @property
    def chunk_count(self) -> int:
        return int(self._chunks.state[chunks.USED] - self._chunks.state[chunks.FREE_CHUNKS])

    @property
    def inserted(self) -> int:
        """Samples that came out of order."""
        return int(self._chunks.state[chunks.INSERTED])

    @property
    def nbytes(self) -> int:
        """What was ever touched: a freed chunk is used again, not given back."""
        used = int(self._chunks.state[chunks.USED]) * chunks.CHUNK_WORDS * 8
        return used + len(self.table) * chunks.ROW_WORDS * 8 + self.table.nbytes

    def refused(self) -> dict[str, int]:
        """Samples left out since the start, by reason."""
        return {reason: int(self._chunks.state[word]) for reason, word in REASONS.items()}

    def add(self, hashes: U64, position: int) -> I64:
        """New series, defined at a log position; returns their ids."""
        ids = self.table.add(hashes)
        chunks.add_rows(self._chunks, len(self.table) - len(ids), len(self.table), position)
        return ids

    def defined(self, ids: I32 | I64, position: int) -> None:
        """Series that the log defines once more."""
        self._chunks.rows[ids, chunks.DEFINED] = position

    def defined_at(self) -> I64:
        """Where the log defined each series last."""
        return self._chunks.rows[: len(self.table), chunks.DEFINED].copy()

    def forgive(self, too_old: int) -> None:
        """Do not count so many of the samples that were refused as too old."""
        self._chunks.state[chunks.TOO_OLD] -= too_old

    def kept(self, ids: I32) -> Head:
        """Another head over the same chunks, of these series alone, with ids from 0 on in the order given.
        This one must not be used any more."""
        kept = np.zeros(len(self), np.bool_)
        kept[ids] = True
        chunks.free_others(self._chunks, len(self), kept)
        fresh = Head(self.max_series, self._chunks)
        fresh.table.add(self.table.keys()[ids])
        fresh._chunks.rows[: len(ids)] = self._chunks.rows[ids]
        fresh.accept_from_ms = self.accept_from_ms
        return fresh

    def seen_between(self, ids: I32, first_ms: I64 | int, last_ms: I64 | int) -> None:
        """Series that have samples elsewhere, from a time to a time."""
        rows = self._chunks.rows
        rows[ids, chunks.FIRST] = np.minimum(rows[ids, chunks.FIRST], first_ms)
        rows[ids, chunks.SEEN] = np.maximum(rows[ids, chunks.SEEN], last_ms)

    def append(self, ids: I32, counts: I32, time_ms: I64, value: F64) -> int:
        """Returns the number of samples that were new."""
        return int(chunks.append(self._chunks, ids, counts, time_ms, value, self.accept_from_ms))

    def touch(self, ids: I32, time_ms: I64) -> None:
        """Series that have a sample which is no float, at a time."""
        rows = self._chunks.rows
        np.maximum.at(rows[:, chunks.SEEN], ids, time_ms)
        np.minimum.at(rows[:, chunks.FIRST], ids, time_ms)

    def lifetimes(self, ids: I32 | I64 | slice) -> tuple[I64, I64]:
        """Times of the first and last sample of each series, sealed ones and histograms among them."""
        rows = self._chunks.rows[: len(self.table)]
        return rows[ids, chunks.FIRST], np.maximum(rows[ids, chunks.LAST], rows[ids, chunks.SEEN])

    def alive(self, since_ms: int) -> int:
        """How many series have brought a float sample since a time."""
        return int(np.count_nonzero(self._chunks.rows[: len(self.table), chunks.LAST] >= since_ms))

    def counts(self, ids: I32, start_ms: int, end_ms: int) -> I64:
        """How many samples each series has in ``[start_ms, end_ms]``."""
        out = np.zeros(len(ids), np.int64)
        chunkreads.count_between(self._chunks, ids, start_ms, end_ms, out)
        return out

    def has_between(self, ids: I32, start_ms: int, end_ms: int) -> Bool:
        """Which series have samples in ``[start_ms, end_ms]``."""
        out = np.empty(len(ids), np.bool_)
        chunkreads.any_between(self._chunks, ids, start_ms, end_ms, out)
        return out

    def copy(
        self, ids: I32, span_ms: tuple[int, int], counts: I64, behind: I64, value: F64
    ) -> tuple[Times, bool]:
        """The samples that ``counts`` are: the values of each series ending before row ``behind[i]`` of ``value``.
        Returns their times, and whether there are stale markers among them."""
        start, time_ms = np.empty(len(ids), np.int64), np.empty(int(counts.sum()), np.int64)
        used, stale = chunkreads.copy_between(
            self._chunks, ids, *span_ms, counts, behind, value.view(np.int64), start, time_ms
        )
        return Times(start, time_ms[:used]), stale > 0

    def take(self, ids: I32, span_ms: tuple[int, int], room: Room) -> tuple[I64, Times, F64] | None:
        """The samples of series in an inclusive range: how many each has, their times and, one series behind the
        other, their values; in ``room``, until that is used again. None where it is too small."""
        counts, start = np.empty(len(ids), np.int64), np.empty(len(ids), np.int64)
        samples, used = chunkreads.take_between(
            self._chunks, ids, *span_ms, counts, room.value.view(np.int64), start, room.time_ms
        )
        if samples < 0:
            return None
        return counts, Times(start, room.time_ms[:used]), room.value[:samples]

    def free_before(self, time_ms: int, first: int, behind: int) -> None:
        """Give the chunks back whose samples are all older, of series ``first`` to ``behind - 1``."""
        chunks.free_before(self._chunks, first, behind, time_ms)

    def free_below(self, floor_ms: I64, first: int, cut_ms: int) -> None:
        """The same of the series from ``first`` on with a time for each; where that is not above ``cut_ms``,
        everything was given back already."""
        _free_below(self._chunks, first, floor_ms, cut_ms)
