"""The quick way of a scrape: text to samples, a known series by its text alone.

The first time that a series is seen its labels are read, given to ``resolve`` (target labels, relabelling,
limits) and kept; from then on it costs a hash and a look-up, in compiled code, and the number a conversion. Comments
are known again in the same way, so that metadata are read once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from agent.telemetry import exposition_scan as lines
from agent.telemetry.exposition import canonical_label, comment, milliseconds, series_labels
from agent.telemetry.exposition_number import POWERS, parse_floats, parse_integers
from agent.telemetry.exposition_scan import Table, scan
from agent.telemetry.frames import I64, U8, U64, Bool
from agent.telemetry.labels import Labels, labels_of
from agent.telemetry.openmetrics_lines import exemplar, number
from agent.telemetry.openmetrics_model import BadExposition, Exemplar
from agent.telemetry.scrape_series import Samples, SeriesStore

DROPPED, COMMENT = -1, -2
FORGET_AFTER = 1000  # texts that are known and were not seen, beyond as many as were seen

# The labels of a series as exposed to those it is kept under; None where it is dropped. Raises ``BadInput``.
Resolve = Callable[[Mapping[str, str]], Labels | None]


@dataclass(slots=True)
class Metadata:
    type: str = "unknown"
    help: str = ""
    unit: str = ""


class ExemplarRow(NamedTuple):
    series: int
    exemplar: Exemplar
    time_ms: int


@dataclass(frozen=True, slots=True)
class Scraped:
    """One exposition read. ``exposed`` counts its samples, before any is dropped."""

    samples: Samples
    exposed: int
    exemplars: list[ExemplarRow] = field(default_factory=list)
    histograms: list[tuple[int, bytes]] = field(default_factory=list)  # series, the field of a TimeSeries

    @property
    def kept(self) -> int:
        """Samples of both kinds after relabelling."""
        return len(self.samples) + len(self.histograms)


@dataclass(frozen=True, slots=True)
class Times:
    """``now_ms`` is the time of samples that bring none, and of all where times are not honoured."""

    now_ms: int
    honor: bool = True
    track: bool = False  # whether series with a time of their own get stale markers


class TextCache:
    def __init__(self, store: SeriesStore, resolve: Resolve) -> None:
        self._store, self._resolve = store, resolve
        self._table = Table()
        self._series: I64 = np.empty(512, np.int64)
        self._exemplars: dict[int, bytes] = {}
        self.metadata: dict[str, Metadata] = {}
        self.news: set[str] = set()  # metrics whose metadata are new, until somebody clears it

    def read(self, body: bytes, openmetrics: bool, times: Times) -> Scraped:
        """The samples of an exposition. Raises ``BadExposition``, or what ``resolve`` raises; then nothing of
        it counts."""
        raw = np.frombuffer(body, np.uint8)
        found = np.empty((lines.FIELDS, int(np.count_nonzero(raw == 10)) + 1), np.int64)
        count, error, position = scan(raw, openmetrics, found)
        if error != lines.OK:
            raise BadExposition(body.count(b"\n", 0, position) + 1, lines.ERRORS[error])
        found = found[:, :count]
        entries = self._known(raw, body, found)
        series = self._series[entries]
        exposed, kept = np.flatnonzero(series != COMMENT), np.flatnonzero(series >= 0)
        bits, time_ms, has_time = _numbers(raw, body, found, exposed, openmetrics)
        if len(kept) < len(exposed):  # what is dropped must be readable all the same
            stays = series[exposed] >= 0
            bits, time_ms, has_time = bits[stays], time_ms[stays], has_time[stays]
        if not times.honor:
            has_time = np.zeros_like(has_time)
        samples = Samples(
            series[kept], np.where(has_time, time_ms, times.now_ms), bits, ~has_time | np.bool_(times.track)
        )
        exemplars = self._new_exemplars(body, found, kept, samples) if openmetrics else []
        if self._table.count > 2 * count + FORGET_AFTER:
            self.forget()
        return Scraped(samples, len(exposed), exemplars)

    def resolve(self, labels: Mapping[str, str]) -> int:
        """The series of labels, DROPPED where relabelling drops it."""
        kept = self._resolve(labels)
        return DROPPED if kept is None else self._store.number(kept)

    def describe(self, name: str, known: Metadata) -> None:
        if self.metadata.get(name) != known:
            self.metadata[name] = known
            self.news.add(name)

    def is_new(self, series: int, exemplar: bytes) -> bool:
        """Whether an exemplar is another than the last one of its series, which it becomes."""
        before = self._exemplars.get(series)
        self._exemplars[series] = exemplar
        return before != exemplar

    def forget(self) -> None:
        """Read everything anew at the next scrape."""
        self._table, self._exemplars = Table(), {}

    def _known(self, raw: U8, body: bytes, found: I64) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        entries, hashes = self._table.look_up(raw, found)
        unknown = np.flatnonzero(entries < 0)
        if not len(unknown):
            return entries
        place: dict[bytes, int] = {}
        series, keys = [], []
        for row in unknown.tolist():
            off, length = found[: lines.TEXT_LEN + 1, row].tolist()
            text = body[off : off + length]
            if text not in place:
                try:
                    series.append(self._learn(text))
                except ValueError as error:
                    raise BadExposition(body.count(b"\n", 0, off) + 1, str(error)) from None
                place[text] = len(place)
                keys.append(hashes[row])
            entries[row] = place[text]
        first = self._table.add(list(place), np.asarray(keys, np.uint64))
        entries[unknown] += first
        if self._table.count > len(self._series):
            self._series = np.resize(self._series, 2 * self._table.count)
        self._series[first : self._table.count] = series
        return entries

    def _learn(self, text: bytes) -> int:
        try:
            line = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"the text is not UTF-8 ({error.reason})") from None
        if line.startswith("#"):
            self._learn_metadata(line)
            return COMMENT
        return self.resolve(self._canonical(series_labels(line)))

    def _canonical(self, labels: dict[str, str]) -> dict[str, str]:
        """Bounds of histograms and quantiles of summaries in one form, as Prometheus 3 keeps them, so that
        the format of an exposition does not make other series."""
        name = labels["__name__"]
        for label, family, kind in (
            ("le", name.removesuffix("_bucket"), "histogram"),
            ("quantile", name, "summary"),
        ):
            if label in labels and family in self.metadata and self.metadata[family].type == kind:
                labels[label] = canonical_label(labels[label])
        return labels

    def _learn_metadata(self, line: str) -> None:
        if found := comment(line):
            what, name, text = found
            known = self.metadata.setdefault(name, Metadata())
            setattr(known, what.lower(), "unknown" if what == "TYPE" and text == "untyped" else text)
            self.news.add(name)

    def _new_exemplars(self, body: bytes, found: I64, kept: I64, samples: Samples) -> list[ExemplarRow]:
        """The exemplars that are not those of the last scrape."""
        new = []
        for row in np.flatnonzero(found[lines.EXEMPLAR_LEN, kept] > 0).tolist():
            off, length = found[lines.EXEMPLAR_OFF : lines.EXEMPLAR_LEN + 1, kept[row]].tolist()
            text, series = body[off : off + length], int(samples.series[row])
            if self._exemplars.get(series) == text:
                continue
            try:
                read = exemplar(text.decode("utf-8").removeprefix("#").lstrip(" ").rstrip(" "))
            except ValueError as error:
                raise BadExposition(body.count(b"\n", 0, off) + 1, str(error)) from None
            self._exemplars[series] = text
            time_ms = int(samples.time_ms[row]) if read.time_s is None else int(read.time_s * 1000)
            new.append(ExemplarRow(series, read, time_ms))
        return new


def exemplar_labels(read: Exemplar) -> Labels:
    return labels_of(read.labels)


def _numbers(raw: U8, body: bytes, found: I64, rows: I64, openmetrics: bool) -> tuple[U64, I64, Bool]:
    """``(bits of the value, time in ms, whether there is one)`` of the samples in ``rows``."""
    bits = _floats(raw, body, found[lines.VALUE_OFF, rows], found[lines.VALUE_LEN, rows])
    has_time = found[lines.TIME_LEN, rows] > 0
    time_ms = np.zeros(len(rows), np.int64)
    timed = np.flatnonzero(has_time)
    if len(timed):
        off, length = found[lines.TIME_OFF, rows[timed]], found[lines.TIME_LEN, rows[timed]]
        time_ms[timed] = (
            _seconds(raw, body, off, length) if openmetrics else _integers(raw, body, off, length)
        )
    return bits, time_ms, has_time


def _floats(raw: U8, body: bytes, off: I64, length: I64) -> U64:
    bits, slow = np.empty(len(off), np.uint64), np.empty(len(off), np.int64)
    left = parse_floats(raw, off, length, bits, slow, POWERS)
    values = bits.view(np.float64)
    for row in slow[:left].tolist():
        begin, size = int(off[row]), int(length[row])
        try:
            values[row] = number(body[begin : begin + size].decode("utf-8", "replace"))
        except ValueError as error:
            raise BadExposition(body.count(b"\n", 0, begin) + 1, str(error)) from None
    return bits


def _seconds(raw: U8, body: bytes, off: I64, length: I64) -> I64:
    """Times of OpenMetrics in milliseconds, cut off as Prometheus does it."""
    seconds = _floats(raw, body, off, length).view(np.float64)
    with np.errstate(invalid="ignore"):
        wrong = np.flatnonzero(~(np.abs(seconds) < 9.2e15))
    if len(wrong):
        begin = int(off[wrong[0]])
        raise BadExposition(body.count(b"\n", 0, begin) + 1, "expected a timestamp in seconds")
    return (seconds * 1000.0).astype(np.int64)


def _integers(raw: U8, body: bytes, off: I64, length: I64) -> I64:
    out = np.empty(len(off), np.int64)
    wrong = parse_integers(raw, off, length, out)
    if wrong >= 0:
        begin, size = int(off[wrong]), int(length[wrong])
        try:
            milliseconds(body[begin : begin + size].decode("utf-8", "replace"))
        except ValueError as error:
            raise BadExposition(body.count(b"\n", 0, begin) + 1, str(error)) from None
        raise BadExposition(body.count(b"\n", 0, begin) + 1, "the timestamp lies beyond what can be kept")
    return out
