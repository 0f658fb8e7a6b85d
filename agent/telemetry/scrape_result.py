"""One target over its scrapes: expositions become write requests, with the report series and stale markers.

The rules are Prometheus' (scrape loop): what an exposition that is refused brings is as nothing; a series that
is missing in a scrape, and every series of a target that fails or vanishes, gets a stale marker once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from agent.errors import BadInput, Malformed, TooLarge, Unsupported
from agent.telemetry.labels import METRIC_NAME, Labels, labels_of
from agent.telemetry.relabel import relabel
from agent.telemetry.scrape_cache import (
    ExemplarRow,
    Metadata,
    Resolve,
    Scraped,
    TextCache,
    Times,
    exemplar_labels,
)
from agent.telemetry.scrape_config import JobConfig, Limits, Protocol
from agent.telemetry.scrape_protobuf import ProtobufCache
from agent.telemetry.scrape_series import (
    Samples,
    SeriesStore,
    exemplar_field,
    metadata_field,
    series_message,
)
from agent.telemetry.scrape_target import Target

EXPORTED = "exported_"
FORGET_AFTER = 1000  # series that are gone, beyond as many as are there
REPORTS = (
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
)
METADATA_TYPES = (
    "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset",
)  # fmt: skip
FORMATS = {
    "application/openmetrics-text": Protocol.OPENMETRICS_1,
    "text/plain": Protocol.TEXT_0,
    "application/vnd.google.protobuf": Protocol.PROTOBUF,
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """``body`` is what goes to the gateway; ``error`` is empty where the target is up."""

    body: bytes
    samples: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    up: bool
    exposed: int = 0
    kept: int = 0
    added: int = 0


def format_of(content_type: str, fallback: Protocol | None) -> Protocol:
    """The format that a Content-Type announces. Raises ``Unsupported`` where it announces none that is
    known, and the configuration names none for that case."""
    found = FORMATS.get(content_type.partition(";")[0].strip().lower()) or fallback
    if found is None:
        raise Unsupported(
            "unknown_content_type",
            f"the target sends Content-Type {content_type!r}, and no fallback_scrape_protocol is configured",
        )
    return found


def series_resolver(job: JobConfig, target: Labels, external: Mapping[str, str]) -> Resolve:
    """What a series as it is exposed is kept under: target labels, ``metric_relabel_configs``, limits and, last,
    external labels."""

    def resolve(exposed: Mapping[str, str]) -> Labels | None:
        merged = with_target_labels(exposed, target, job.honor_labels)
        labels = relabel(merged, job.metric_relabel) if job.metric_relabel else merged
        if not labels:
            return None
        if not labels.get(METRIC_NAME):
            raise Malformed("no_name", "a series has no metric name after metric_relabel_configs")
        _check_limits(labels, job.limits)
        return labels_of({**external, **labels})

    return resolve


def with_target_labels(exposed: Mapping[str, str], target: Labels, honor: bool) -> dict[str, str]:
    """The labels of a target beside those of a series. With ``honor`` those of the series stay, also empty
    ones; else they make room as ``exported_<name>``."""
    if honor:
        merged = {**dict(target), **exposed}
        return {name: value for name, value in merged.items() if value}
    merged = {name: value for name, value in exposed.items() if value}
    in_the_way = [(name, merged[name]) for name, _ in target if name in merged]
    merged |= dict(target)
    for name, value in sorted(in_the_way, key=lambda pair: len(pair[0])):
        free = EXPORTED + name
        while free in merged:
            free = EXPORTED + free
        merged[free] = value
    return merged


def _check_limits(labels: Mapping[str, str], limits: Limits) -> None:
    metric = labels[METRIC_NAME][:50]
    if limits.labels and len(labels) > limits.labels:
        raise TooLarge(
            "label_limit",
            f"label_limit exceeded (metric: {metric}, number of labels: {len(labels)}, limit: {limits.labels})",
        )
    for name, value in labels.items():
        for key, text, limit in (
            ("label_name_length_limit", name, limits.label_name_length),
            ("label_value_length_limit", value, limits.label_value_length),
        ):
            if limit and len(text.encode("utf-8", "surrogateescape")) > limit:
                raise TooLarge(
                    key, f"{key} exceeded (metric: {metric}, label name: {name[:50]}, limit: {limit})"
                )


class TargetScrapes:
    """The state of one target between its scrapes."""

    def __init__(self, job: JobConfig, target: Target, external: Mapping[str, str]) -> None:
        self._job = job
        self._resolve = series_resolver(job, target.labels, external)
        self._round = 0
        self._begin_anew()
        self._reports = SeriesStore()
        for name in REPORTS:
            own = with_target_labels({METRIC_NAME: name}, target.labels, honor=False)
            self._reports.number(labels_of({**external, **own}))

    @property
    def metadata(self) -> Mapping[str, Metadata]:
        return self._cache.metadata

    def taken(self, body: bytes, content_type: str, now_ms: int, took_s: float) -> Outcome:
        """What a response of the target comes to."""
        try:
            scraped = self._read(body, content_type, now_ms)
            if self._job.limits.samples and scraped.kept > self._job.limits.samples:
                raise TooLarge("sample_limit", "sample limit exceeded")
        except BadInput as error:
            return self.failed(error.message, now_ms, took_s)
        self._round += 1
        kept, added = self._store.take(scraped.samples, self._round)
        added += sum(self._store.see(series, self._round) for series, _ in scraped.histograms)
        gone = self._store.vanished(self._round)
        self._store.end(gone)
        parts = [self._store.encode(kept), self._store.encode(self._store.stale(gone, now_ms))]
        parts += self._others(scraped)
        report = Report(True, scraped.exposed, scraped.kept, added)
        parts.append(self._report(report, now_ms, took_s))
        self._forget(len(kept))
        return Outcome(b"".join(parts), len(kept) + len(gone) + len(REPORTS) + len(scraped.histograms))

    def failed(self, error: str, now_ms: int, took_s: float) -> Outcome:
        """What a scrape without a usable answer comes to."""
        stale = self._end_all(now_ms)
        report = self._report(Report(False), now_ms, took_s)
        return Outcome(self._store.encode(stale) + report, len(stale) + len(REPORTS), error)

    def gone(self, now_ms: int) -> Outcome:
        """What the end of the target comes to: nothing of it is current any more."""
        stale = self._end_all(now_ms)
        reports = self._reports.stale(np.arange(len(REPORTS)), now_ms)
        return Outcome(self._store.encode(stale) + self._reports.encode(reports), len(stale) + len(REPORTS))

    def _read(self, body: bytes, content_type: str, now_ms: int) -> Scraped:
        found = format_of(content_type, self._job.fallback_protocol)
        times = Times(now_ms, self._job.honor_timestamps, self._job.track_timestamps_staleness)
        if found is Protocol.PROTOBUF:
            return self._protobuf.read(body, times)
        openmetrics = found in (Protocol.OPENMETRICS_1, Protocol.OPENMETRICS_0)
        return self._cache.read(body, openmetrics, times)

    def _begin_anew(self) -> None:
        self._store = SeriesStore()
        self._cache = TextCache(self._store, self._resolve)
        self._protobuf = ProtobufCache(self._cache, self._job.classic_histograms)

    def _forget(self, live: int) -> None:
        """Series that are long gone must not add up: those that are tracked move to a new store."""
        if len(self._store) <= 2 * live + FORGET_AFTER:
            return
        before, tracked = self._store, self._store.tracked()
        metadata = self._cache.metadata
        self._begin_anew()
        self._cache.metadata.update(metadata)
        self._store.move(before, tracked, self._round)

    def _end_all(self, now_ms: int) -> Samples:
        stale = self._store.stale(self._store.tracked(), now_ms)
        self._store.end(stale.series)
        return stale

    def _others(self, scraped: Scraped) -> list[bytes]:
        """Exemplars, native histograms and new metadata."""
        parts = [self._exemplar(row) for row in scraped.exemplars]
        parts += [
            series_message(self._store.canonical(row), [message]) for row, message in scraped.histograms
        ]
        for name in sorted(self._cache.news):
            known = self._cache.metadata[name]
            kind = METADATA_TYPES.index(known.type) if known.type in METADATA_TYPES else 0
            parts.append(metadata_field(name, kind, known.help, known.unit))
        self._cache.news.clear()
        return parts

    def _exemplar(self, row: ExemplarRow) -> bytes:
        read = row.exemplar
        field = exemplar_field(exemplar_labels(read), read.value, row.time_ms)
        return series_message(self._store.canonical(row.series), [field])

    def _report(self, report: Report, now_ms: int, took_s: float) -> bytes:
        values = np.asarray([report.up, took_s, report.exposed, report.kept, report.added], np.float64)
        rows = np.arange(len(REPORTS))
        samples = Samples(
            rows, np.full(len(rows), now_ms, np.int64), values.view(np.uint64), np.zeros(len(rows), np.bool_)
        )
        return self._reports.encode(samples)
