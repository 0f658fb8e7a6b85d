"""What the log brings to a tenant's metric window: samples of Prometheus as they are, OTLP translated.

One feed serves a tenant for good: a hot window that is made anew from the log goes on with the same one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.settings import StreamSettings
from agent.telemetry.batch import MetricBatch
from agent.telemetry.frames import I32, I64
from agent.telemetry.native import decode_histograms
from agent.telemetry.otlp_prometheus import OtlpSeries
from agent.telemetry.otlp_prometheus_labels import Translation
from agent.telemetry.samples import SampleBatch
from agent.windows.metrics.owners import NS_PER_MS, Register, SeriesOwners
from agent.windows.metrics.upkeep import MetricLimits
from agent.windows.metrics.window import MetricWindow
from agent.windows.sources import Sources

# Whoever follows the samples of a window: gets it, the ids of a record's series, negative for those that were
# left out, and the record, also where nothing of it is new to the window.
Follower = Callable[[MetricWindow, I32, SampleBatch], None]

DESCRIBED_NS = 3600 * 1_000_000_000  # a series of OTLP is described again after so much event time


class MetricFeed:
    """``folder`` is where the blocks lie; those that are there already are taken in. ``watches`` tells by the
    name of a metric whether the detectors look at it; ``follower`` is given all samples."""

    def __init__(
        self,
        settings: StreamSettings,
        folder: Path,
        watches: Callable[[str], bool],
        translation: Translation,
        follower: Follower,
    ) -> None:
        self._watches = watches
        self._follower = follower
        limits = MetricLimits(
            max_series=settings.max_series,
            block_ms=round(settings.metric_block_s * 1000),
            retention_ms=round(settings.metric_retention_s * 1000),
        )
        self.window = MetricWindow(limits, decode_histograms)
        self._folder = folder
        self._otlp = OtlpSeries(settings.max_series, translation)
        self._described_ns = 0
        if folder.exists():
            self.window.open(folder)

    def take(
        self, batch: SampleBatch, stretch: tuple[int, int], owners: SeriesOwners, *, replayed: bool
    ) -> I32:
        """Samples of remote write, scraping and rules, from a stretch of the log (positions of its first and last
        record). The ids of their series, which ``owners`` has learnt; none where nothing of it is new, unless it is
        replayed."""
        appended = self.window.append(batch, *stretch)
        if not replayed:
            self._follower(self.window, appended.series, batch)
        if not appended.samples and not replayed:
            return appended.series[:0]
        if len(batch.time_ms):
            owners.learn(appended.series, batch)
        return appended.series

    def translate(self, batch: MetricBatch, rows: I64, position: int) -> None:
        """Rows of OTLP. Reading them again defines their series again: they need no older definitions, and
        say nothing about those that series of Prometheus need."""
        translated = self._otlp.translate(batch, rows, position)
        samples = replace(translated, defined_since=translated.defined_since[:0])
        self._follower(self.window, self.window.append(samples, position).series, samples)

    def owners(self, sources: Sources, register: Register) -> SeriesOwners:
        return SeriesOwners(self.window, sources, self._watches, register)

    def advance(self, watermark_ns: int) -> None:
        """Let go of what is older than it is kept."""
        if watermark_ns - self._described_ns > DESCRIBED_NS:
            self._described_ns = watermark_ns
            self._otlp.forget()
        if watermark_ns > 0:  # else nothing has come yet
            self.window.advance(watermark_ns // NS_PER_MS)

    def seal_due(self, watermark_ns: int) -> int | None:
        """Up to which time, in ms, ``seal`` should be asked to; None where nothing is due."""
        return self.window.seal_due(watermark_ns // NS_PER_MS)

    def thin_due(self) -> bool:
        return self.window.thin_due()

    def thin(self) -> None:
        """Take what is no longer kept out of the blocks. As for ``seal``."""
        self.window.thin()

    def seal(self, cut_ms: int) -> None:
        """Write what is older to a block. Takes seconds and lets records be applied meanwhile; raises
        OSError when the disk refuses, and may be tried again."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.window.seal(cut_ms, self._folder)
