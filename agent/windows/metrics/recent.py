"""What records of the log bring, until it is sealed: series, floats, histograms, exemplars, metadata."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np

from agent.telemetry.frames import I32, I64, U8, U64
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.head import Head
from agent.windows.metrics.index import LabelIndex, well_formed
from agent.windows.metrics.lists import TimedLists
from agent.windows.metrics.positions import LogPositions
from agent.windows.metrics.retention import Retention

EXEMPLARS_A_SERIES = 128
UNKNOWN, OUT = -1, -2  # in place of an id: no such series; one that the policy keeps out


class Recent:
    """Not thread-safe, but for reading ``index``. ``retention`` is on the series of that."""

    def __init__(self, max_series: int, retention: Retention) -> None:
        self.head = Head(max_series)
        self.index = LabelIndex()
        self.histograms = TimedLists()
        self.exemplars = TimedLists(EXEMPLARS_A_SERIES)
        self.positions = LogPositions()
        self.metadata: dict[str, dict[str, str]] = {}
        self.min_time_ms: int | None = None  # of all that came, also where it was refused
        self.max_time_ms: int | None = None
        self._left_out: Counter[str] = Counter()
        self.retention = retention

    @property
    def nbytes(self) -> int:
        parts = (self.head, self.index, self.histograms, self.exemplars, self.retention)
        return sum(part.nbytes for part in parts)

    @property
    def left_out(self) -> Counter[str]:
        """Samples that were not taken, by reason; repeated ones do not count."""
        head = self.head.refused()
        return self._left_out + Counter(too_old=head["too_old"], no_room=head["no_room"])

    def append(self, batch: SampleBatch, position: int, *, count_old: bool) -> tuple[I32, int]:
        """``(ids of the record's series, samples that were new)``. ``count_old``: samples that are too old
        count as left out; those of a record that was sealed before a restart do not."""
        old = self.head.refused()["too_old"]
        self._define(batch, position)
        ids = self.head.table.find(batch.series_hash)
        self.retention.learn(self.index)
        if self.retention.mutes:
            ids = self._kept_in(batch, ids)
        added = self.head.append(ids, batch.sample_count, batch.time_ms, batch.value)
        if (ids < 0).any():
            self._refuse(batch, ids)
        if len(batch.histogram_time_ms):
            added += self._append_histograms(batch, ids, count_old)
        if len(batch.exemplar_series):
            self._append_exemplars(batch, ids)
        if len(batch.metadata_off):
            self._append_metadata(batch)
        if not count_old:
            self.head.forgive(self.head.refused()["too_old"] - old)
        self._note(batch, position)
        return ids, added

    def adopt(self, hashes: U64, raw: U8, off: I64, size: I64) -> I32:
        """The ids of series that a block tells of; new ones are added while there is room, else -1."""
        ids = self.head.table.find(hashes)
        rows = np.flatnonzero(ids < 0)
        rows = rows[: max(0, self.head.max_series - len(self.head))]
        if len(rows):
            self.index.add(raw, off[rows], size[rows])
            ids[rows] = self.head.add(hashes[rows], 0)
        return ids

    def outlived(self, time_ms: I64) -> I32:
        """The series that have something since a time each, or whose definition the log will not repeat."""
        every = np.arange(len(self.head), dtype=np.int32)
        _, last = self.head.lifetimes(every)
        return every[(last >= time_ms) | (self.head.defined_at() >= self.positions.defined_since)]

    def keep(self, ids: I32) -> None:
        """Forget the other series; those kept get ids from 0 on, in the order given."""
        places = [(int(old), new) for new, old in enumerate(ids.tolist())]
        self.index = self.index.kept(ids)
        self.head = self.head.kept(ids)
        self.retention = self.retention.moved(ids)
        self.histograms.move(places)
        self.exemplars.move(places)
        known = set(self.index.label_values(METRIC_NAME))
        families = known | {name.rpartition("_")[0] for name in known}  # x_total, x_bucket: metadata of x
        self.metadata = {metric: entry for metric, entry in self.metadata.items() if metric in families}

    def _define(self, batch: SampleBatch, position: int) -> None:
        """Take in the series that this record defines and that are not known yet."""
        if not len(batch.define_hash):
            return
        ids = self.head.table.find(batch.define_hash)
        self.head.defined(ids[ids >= 0], position)
        _, first = np.unique(batch.define_hash, return_index=True)
        rows = np.sort(first[ids[first] < 0])
        rows = rows[well_formed(batch.raw, batch.define_off[rows], batch.define_len[rows])]
        rows = rows[: max(0, self.head.max_series - len(self.head))]
        if len(rows):
            self.index.add(batch.raw, batch.define_off[rows], batch.define_len[rows])
            self.head.add(batch.define_hash[rows], position)

    def _kept_in(self, batch: SampleBatch, ids: I32) -> I32:
        out = self.retention.muted(ids)
        self._left_out["disabled"] += int(batch.sample_count[out].sum() + batch.histogram_count[out].sum())
        return np.where(out, np.int32(OUT), ids)

    def _refuse(self, batch: SampleBatch, ids: I32) -> None:
        missing = ids == UNKNOWN
        lost = int(batch.sample_count[missing].sum() + batch.histogram_count[missing].sum())
        full = len(self.head) >= self.head.max_series
        self._left_out["series_limit" if full else "unknown_series"] += lost

    def _append_histograms(self, batch: SampleBatch, ids: I32, count_old: bool) -> int:
        owner = np.repeat(ids, batch.histogram_count)
        keep = (owner >= 0) & (batch.histogram_time_ms >= self.head.accept_from_ms)
        if count_old:
            self._left_out["too_old"] += int(((owner >= 0) & ~keep).sum())
        added = 0
        for row in np.flatnonzero(keep).tolist():
            content = _cut(batch.raw, batch.histogram_off[row], batch.histogram_len[row])
            added += self.histograms.add(int(owner[row]), int(batch.histogram_time_ms[row]), content)
        self.head.touch(owner[keep], batch.histogram_time_ms[keep])
        return added

    def _append_exemplars(self, batch: SampleBatch, ids: I32) -> None:
        for row, at in enumerate(batch.exemplar_series.tolist()):
            time_ms = int(batch.exemplar_time_ms[row])
            if ids[at] >= 0 and time_ms >= self.head.accept_from_ms:
                labels = _cut(batch.raw, batch.exemplar_off[row], batch.exemplar_len[row])
                value = batch.exemplar_value[row : row + 1].tobytes()
                self.exemplars.add(int(ids[at]), time_ms, value + labels)

    def _append_metadata(self, batch: SampleBatch) -> None:
        for off, size in zip(batch.metadata_off.tolist(), batch.metadata_len.tolist(), strict=True):
            entry = json.loads(_cut(batch.raw, off, size))
            self.metadata[entry["metric"]] = {key: entry.get(key, "") for key in ("type", "help", "unit")}

    def _note(self, batch: SampleBatch, position: int) -> None:
        times = [t for t in (batch.time_ms, batch.histogram_time_ms) if len(t)]
        youngest = max((int(t.max()) for t in times), default=None)
        since = int(batch.defined_since[0]) if len(batch.defined_since) else None
        if youngest is not None:
            oldest = min(int(t.min()) for t in times)
            self.min_time_ms = oldest if self.min_time_ms is None else min(oldest, self.min_time_ms)
            self.max_time_ms = max(youngest, self.max_time_ms or youngest)
            youngest = youngest if youngest >= self.head.accept_from_ms else None
        self.positions.add(position, since, youngest)


def _cut(raw: U8, off: int, size: int) -> bytes:
    return raw[off : off + size].tobytes()
