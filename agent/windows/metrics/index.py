"""Which series have which labels: columns of labels by series, posting lists by name, made when asked for.

A series' labels are numbers in two columns, so that a new series costs a scan of its bytes by a kernel and
no Python object; only a label (name and value together) never seen before is decoded. Posting lists of a
name are made by one counting sort over its column when a matcher first needs them, and again when much has
come since; the series that came after are judged one by one (as in the head of Prometheus' TSDB the lists
ascend, so their union and intersection are merges).

One thread adds while others read: a reader works on the series that were there when it began.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.promql.values import Matcher
from agent.telemetry.frames import I32, I64, U8, U64, Bool
from agent.telemetry.labels import METRIC_NAME, Labels, LabelTable, decode_labels
from agent.telemetry.varint import varint
from agent.windows.metrics import labelscan, matching
from agent.windows.metrics.growing import Growing
from agent.windows.metrics.seriestable import SeriesTable

NO_LABEL = -1
FRESH_SERIES = 4096  # so many, or a sixteenth of the listed ones, are judged one by one
KEPT_VERDICTS_BYTES = 16 << 20
KEPT_STEP = 1 << 16
VALUE_BYTES = 150  # of a distinct value with its string and its place in two tables, about


@dataclass(frozen=True, slots=True)
class _Postings:
    """``ids[begin[c]:begin[c + 1]]`` are the series below ``listed`` that have value ``c``, ascending."""

    begin: I64
    ids: I32
    listed: int


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What a matcher says about a name: which values fit, and whether none at all does."""

    name: int
    fits: Bool
    absent: bool


class LabelIndex:
    """Ids are dense: the n-th series added has id n."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._name_place: dict[str, int] = {}
        self._values: list[list[str]] = []
        self._value_place: list[dict[str, int]] = []
        self._labels = SeriesTable()  # hash of a label's bytes -> row of the next two
        self._label_name = Growing(np.dtype(np.int32))
        self._label_code = Growing(np.dtype(np.int32))
        self._text_start = Growing(np.dtype(np.int64))
        self._text_start.extend(np.zeros(1, np.int64))
        self._text = Growing(np.dtype(np.uint8))
        self._start = Growing(np.dtype(np.int64))
        self._start.extend(np.zeros(1, np.int64))
        self._name = Growing(np.dtype(np.int32))
        self._code = Growing(np.dtype(np.int32))
        self._count = 0
        self._postings: dict[int, _Postings] = {}
        self._verdicts: OrderedDict[Matcher, Bool] = OrderedDict()
        self._numbered: tuple[I64, I32] | None = None
        self._lock = threading.Lock()  # of the three above

    def __len__(self) -> int:
        return self._count

    @property
    def nbytes(self) -> int:
        labels = (self._label_name, self._label_code, self._text_start, self._text)
        columns = (self._start, self._name, self._code, *labels)
        listed = sum(p.begin.nbytes + p.ids.nbytes for p in list(self._postings.values()))
        values = VALUE_BYTES * sum(map(len, self._values))
        return sum(c.nbytes for c in columns) + listed + values + self._labels.nbytes

    def add(self, raw: U8, off: I64, size: I64) -> None:
        """More series, by their canonical bytes; ``well_formed`` tells which are fit for it."""
        counts = np.empty(len(off), np.int64)
        labelscan.count_labels(raw, off, size, counts)
        total = int(counts.sum())
        hashes = np.empty(total, np.uint64)
        label_off, label_len = np.empty(total, np.int64), np.empty(total, np.int64)
        labelscan.scan_labels(raw, off, size, hashes, label_off, label_len)
        rows = self._label_rows(raw, hashes, label_off, label_len)
        self._name.extend(self._label_name.view()[rows])
        self._code.extend(self._label_code.view()[rows])
        self._start.extend(self._start.view()[-1] + np.cumsum(counts))
        self._count += len(off)

    def select(self, matchers: Sequence[Matcher]) -> I32:
        """The series that fit all matchers, ascending. Raises ``Malformed`` for a bad expression."""
        count = self._count
        verdicts = self._judge(matchers)
        if verdicts is None:
            return np.empty(0, np.int32)
        if not verdicts:
            return np.arange(count, dtype=np.int32)
        candidates, certain = self._candidates(verdicts, count)
        return candidates if certain else self._filter(candidates, verdicts)

    def label_names(self, ids: I32 | None = None) -> list[str]:
        """The names that the series have, of all series where ``ids`` is None; sorted."""
        if ids is None:
            return sorted(self._names)
        used = np.zeros(len(self._names), np.bool_)
        labelscan.used_names(self._start.view(), self._name.view(), ids, used)
        return sorted(self._names[k] for k in np.flatnonzero(used).tolist())

    def label_values(self, name: str, ids: I32 | None = None) -> list[str]:
        """The values that the series have for a name, of all series where ``ids`` is None; sorted."""
        place = self._name_place.get(name)
        if place is None:
            return []
        values = self._values[place]
        if ids is None:
            return sorted(values)
        codes = np.unique(self._column(place, ids))
        return sorted(values[code] for code in codes.tolist() if code >= 0)

    def labels(self, ids: I32) -> LabelTable:
        """The label sets of series, in the order given; the values are shared with the index."""
        used = np.zeros(len(self._names), np.bool_)
        labelscan.used_names(self._start.view(), self._name.view(), ids, used)
        places = sorted(np.flatnonzero(used).tolist(), key=self._names.__getitem__)
        column = np.zeros(len(used), np.int64)
        column[places] = np.arange(len(places))
        codes = np.full((len(ids), len(places)), NO_LABEL, np.int32)
        labelscan.table(self._start.view(), self._name.view(), self._code.view(), ids, column, codes)
        names = tuple(self._names[k] for k in places)
        return LabelTable(names, codes, tuple(self._values[k] for k in places))

    def label_set(self, series: int) -> Labels:
        return self.labels(np.asarray([series], np.int32)).row(0)

    def codes(self, name: str, ids: I32) -> I32:
        """A number for the value that each series has for a name, -1 where it has none."""
        place = self._name_place.get(name)
        return self._column(place, ids) if place is not None else np.full(len(ids), NO_LABEL, np.int32)

    @property
    def label_count(self) -> int:
        return sum(map(len, self._values))

    def cardinality(self, limit: int) -> Mapping[str, list[tuple[str, int]]]:
        """The most frequent, by kind: series by metric name, values by label name, series by label. How many
        labels there are in all is ``label_count``."""
        postings = {place: self._listed(place, self._count) for place in range(len(self._names))}
        sizes = {place: np.diff(listed.begin) for place, listed in postings.items()}
        metric = self._name_place.get(METRIC_NAME)
        pairs = [
            (f"{self._names[place]}={self._values[place][code]}", int(size[code]))
            for place, size in sizes.items()
            for code in np.argsort(-size, kind="stable")[:limit].tolist()
        ]
        metrics: list[tuple[str, int]] = []
        if metric is not None:
            top = np.argsort(-sizes[metric], kind="stable")[:limit].tolist()
            metrics = [(self._values[metric][code], int(sizes[metric][code])) for code in top]
        values = [(name, len(self._values[place])) for place, name in enumerate(self._names)]
        weights = [(name, sum(map(len, self._values[place]))) for place, name in enumerate(self._names)]
        found = {
            "series_by_metric": metrics, "values_by_name": values, "series_by_label": pairs,
            "bytes_by_name": weights,
        }  # fmt: skip
        return {kind: sorted(rows, key=lambda row: -row[1])[:limit] for kind, rows in found.items()}

    def canonical(self, ids: I32) -> tuple[I64, U8]:
        """The canonical bytes of series: their sizes, and they, one behind the other."""
        columns = (self._start.view(), self._name.view(), self._code.view(), ids, *self._numbering())
        sizes = np.empty(len(ids), np.int64)
        labelscan.canonical_sizes(*columns, self._text_start.view(), sizes)
        out = np.empty(int(sizes.sum()), np.uint8)
        labelscan.canonical(*columns, self._text_start.view(), self._text.view(), out)
        return sizes, out

    def kept(self, ids: I32) -> LabelIndex:
        """Another index of these series alone, with ids from 0 on in the order given."""
        fresh = LabelIndex()
        for some in np.array_split(ids, max(1, len(ids) // KEPT_STEP)):
            sizes, raw = self.canonical(some)
            fresh.add(raw, np.cumsum(sizes) - sizes, sizes)
        return fresh

    def _numbering(self) -> tuple[I64, I32]:
        """``(begin, label_of)``: the label of a name with a code is number ``label_of[begin[name] + code]``."""
        codes = self._label_code.view()  # extended after the names
        names = self._label_name.view()[: len(codes)]
        with self._lock:
            if self._numbered is None or len(self._numbered[1]) != len(codes):
                counts = np.bincount(names, minlength=len(self._names))
                begin = np.cumsum(counts) - counts
                label_of = np.empty(len(codes), np.int32)
                label_of[begin[names] + codes] = np.arange(len(codes))
                self._numbered = begin, label_of
            return self._numbered

    def _label_rows(self, raw: U8, hashes: U64, off: I64, size: I64) -> I32:
        """The row of each label in the tables of labels; what is new is decoded."""
        rows = self._labels.find(hashes)
        missing = np.flatnonzero(rows < 0)
        if not len(missing):
            return rows
        fresh, first, inverse = np.unique(hashes[missing], return_index=True, return_inverse=True)
        at = missing[first]
        messages = [
            raw[o : o + s].tobytes() for o, s in zip(off[at].tolist(), size[at].tolist(), strict=True)
        ]
        pairs = np.asarray([self._code_of(one) for one in messages], np.int32).reshape(-1, 2)
        self._text.extend(np.frombuffer(b"".join(messages), np.uint8))
        self._text_start.extend(self._text_start.view()[-1] + np.cumsum(size[at]))
        self._label_name.extend(pairs[:, 0])
        self._label_code.extend(pairs[:, 1])
        rows[missing] = self._labels.add(fresh)[inverse.reshape(-1)]
        return rows

    def _code_of(self, message: bytes) -> tuple[int, int]:
        (label,) = decode_labels(b"\x0a" + varint(len(message)) + message)
        name, value = label
        if name not in self._name_place:
            self._values.append([])
            self._value_place.append({})
            self._names.append(name)
            self._name_place[name] = len(self._names) - 1
        place = self._name_place[name]
        code = self._value_place[place].get(value)
        if code is None:
            self._values[place].append(value)
            code = self._value_place[place][value] = len(self._values[place]) - 1
        return place, code

    def _judge(self, matchers: Sequence[Matcher]) -> list[_Verdict] | None:
        """What the matchers say; None where no series can fit, and nothing of those that all fit."""
        verdicts = []
        nothing = False
        for matcher in matchers:
            matching.check(matcher)
            absent = matching.takes(matcher, "")
            place = self._name_place.get(matcher.name)
            if place is None:
                nothing |= not absent
                continue
            fits = self._fits(matcher, place)
            nothing |= not absent and not fits.any()
            if not (absent and fits.all()):
                verdicts.append(_Verdict(place, fits, absent))
        return None if nothing else verdicts

    def _fits(self, matcher: Matcher, place: int) -> Bool:
        """Kept for the values known then; only those that came since are judged."""
        values, value_place = self._values[place], self._value_place[place]
        if matching.is_cheap(matcher):
            return matching.fitting(matcher, values, value_place)
        with self._lock:
            kept = self._verdicts.pop(matcher, np.empty(0, np.bool_))
        if len(kept) < len(values):
            kept = np.concatenate([kept, matching.fitting(matcher, values, value_place, len(kept))])
        with self._lock:
            self._verdicts[matcher] = kept
            while sum(map(len, self._verdicts.values())) > KEPT_VERDICTS_BYTES and len(self._verdicts) > 1:
                self._verdicts.popitem(last=False)
        return kept

    def _candidates(self, verdicts: list[_Verdict], count: int) -> tuple[I32, bool]:
        """Series that may fit, ascending, and whether they all do: the shortest union of posting lists,
        and what came after they were made."""
        best: tuple[int, _Verdict, _Postings] | None = None
        for verdict in verdicts:
            if not verdict.absent:
                postings = self._listed(verdict.name, count)
                known = verdict.fits[: len(postings.begin) - 1]
                size = int(np.diff(postings.begin)[: len(known)][known].sum())
                if best is None or size < best[0]:
                    best = size, verdict, postings
        if best is None:
            return np.arange(count, dtype=np.int32), False
        size, verdict, postings = best
        chosen = np.flatnonzero(verdict.fits[: len(postings.begin) - 1])
        ids = np.empty(size, np.int32)
        labelscan.gather(postings.begin, postings.ids, chosen, ids)
        if len(chosen) > 1:
            ids.sort()
        fresh = np.arange(postings.listed, count, dtype=np.int32)
        return np.concatenate([ids[: np.searchsorted(ids, count)], fresh]), len(verdicts) == 1 and not len(
            fresh
        )

    def _filter(self, candidates: I32, verdicts: list[_Verdict]) -> I32:
        out = np.empty(len(candidates), np.int32)
        sizes = [len(verdict.fits) for verdict in verdicts]
        found = labelscan.matching(
            self._start.view(), self._name.view(), self._code.view(), candidates,
            np.asarray([verdict.name for verdict in verdicts], np.int32),
            np.concatenate([verdict.fits for verdict in verdicts]),
            np.cumsum([0, *sizes[:-1]]),
            np.asarray([verdict.absent for verdict in verdicts], np.bool_),
            out,
        )  # fmt: skip
        return out[:found]

    def _listed(self, place: int, count: int) -> _Postings:
        """The posting lists of a name, made anew where much has come since."""
        with self._lock:
            kept = self._postings.get(place)
            if kept and count - kept.listed <= max(FRESH_SERIES, kept.listed // 16):
                return kept
            codes = self._column(place, np.arange(count, dtype=np.int32))
            begin = np.zeros(len(self._values[place]) + 1, np.int64)
            ids = np.empty(int((codes >= 0).sum()), np.int32)
            labelscan.postings(codes, begin, ids)
            made = self._postings[place] = _Postings(begin, ids, count)
            return made

    def _column(self, place: int, ids: I32) -> I32:
        out = np.empty(len(ids), np.int32)
        labelscan.column(self._start.view(), self._name.view(), self._code.view(), ids, place, out)
        return out


def well_formed(raw: U8, off: I64, size: I64) -> Bool:
    """Which of these are label sets that ``add`` can read."""
    counts = np.empty(len(off), np.int64)
    labelscan.count_labels(raw, off, size, counts)
    return counts >= 0
