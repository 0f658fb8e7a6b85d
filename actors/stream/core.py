"""One stream, free of Ray: a log to follow, a window a tenant, RED series, a live feed, and answers.

Order: rows are applied in the order of the log. Loss: none between acknowledgement and window, but what is
counted in ``left_out``; a record that cannot be applied is logged, counted and passed over. Restart: the constructor's ``recover`` applies the log again from its oldest kept
record, so windows and RED series are as before; readers see a new ``epoch`` and take it from the start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import structlog

from actors.stream.policy_file import load_policy, save_policy
from agent.detection.detectors.resources import watched
from agent.detection.meshred import MeshRed
from agent.detection.red import NO_BINS, RedAccumulator, RedBins
from agent.detection.redstore import RedStore
from agent.errors import NotFound
from agent.settings import StreamSettings
from agent.telemetry.batch import Signal, SpanBatch
from agent.telemetry.frames import MetricFrame, SpanFrame, Telemetry
from agent.telemetry.metric_policy import MetricPolicy
from agent.telemetry.otlp_prometheus_labels import Translation
from agent.telemetry.samples import SAMPLES, Joiner, is_plain
from agent.windows.log import LogReader
from agent.windows.metrics.feed import MetricFeed
from agent.windows.record import Record
from agent.windows.tenant import Applied, TenantWindow

TENANT_IDLE_S = 1800.0
# What fell silent when a window began has left it, and the log below it, after so many windows.
REBUILD_WINDOWS = 1.25
STEP_RECORDS = 16  # so many records, or runs of them, are applied at one watermark
# Of records that are applied together: what they unpack to, 2 MB, stays about in the processor's cache.
STEP_ROWS = 1 << 17


@dataclass(frozen=True, slots=True)
class Increment:
    """What came to one tenant since the increment before, for the detectors. ``red`` is of the services' own
    spans, ``mesh`` of what proxies tell of services, whose spans may lie in other streams."""

    tenant: str
    watermark_ns: int
    red: RedBins
    metrics: MetricFrame
    mesh: RedBins = NO_BINS


@dataclass(slots=True)
class Tenant:
    window: TenantWindow
    mesh: MeshRed
    red: RedAccumulator = field(default_factory=RedAccumulator)
    store: RedStore = field(default_factory=RedStore)
    mesh_store: RedStore = field(default_factory=RedStore)
    last_received_ns: int = 0
    since_ns: int = 0  # event time at which the window began, or was made anew
    patience: int = 1  # after how many windows of event time it may be made anew


class Stream:
    def __init__(
        self,
        number: int,
        settings: StreamSettings,
        reader: LogReader,
        translation: Translation | None = None,
    ) -> None:
        """``translation`` says how OTLP metrics are named as Prometheus series."""
        self.number = number
        self._settings = settings
        self._reader = reader
        self._blocks = reader.folder / "blocks"
        self._policy = MetricPolicy()
        self.policy_version = 0  # of the policy that a restart brings back
        self._translation = translation or Translation()
        self._joiner = Joiner()
        self.tenants: dict[str, Tenant] = {}
        self.position = reader.start()
        self.received_ns = 0
        self.rows: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._touched: set[str] = set()

    @property
    def nbytes(self) -> int:
        return sum(tenant.window.nbytes for tenant in list(self.tenants.values()))

    @property
    def left_out(self) -> Counter[str]:
        windows = [tenant.window for tenant in list(self.tenants.values())]
        counts = [count for window in windows for count in (window.left_out, window.metrics.window.left_out)]
        return sum(counts, self._failed)

    @property
    def red_spans_refused(self) -> int:
        """Spans that no RED series has room for."""
        return sum(tenant.red.spans_refused for tenant in list(self.tenants.values()))

    @property
    def mesh_series_refused(self) -> int:
        """Series of meshes that find no room, at every attempt."""
        return sum(tenant.mesh.refused for tenant in list(self.tenants.values()))

    @property
    def crowded(self) -> bool:
        """Whether so much waits for ``drain`` that it should not wait for a detector."""
        return any(
            tenant.red.crowded or tenant.mesh.crowded or tenant.window.fresh_crowded
            for tenant in self.tenants.values()
        )

    def follow(self, position: int) -> Iterator[tuple[TenantWindow, Applied]]:
        """Apply the log up to ``position``, a record a step, or several of samples; yields what went into which
        window."""
        if position <= self.position:
            return
        for done, records in enumerate(_steps(self._reader.read(self.position, position)), start=1):
            if len(records) > 1 and self._attempt_together(records):
                self.position = records[-1].end
            else:
                for record in records:
                    applied = self._attempt(record)
                    self.position = record.end  # before the yield: whoever follows may stop there
                    if applied:
                        yield applied
            if done % STEP_RECORDS == 0:
                self._advance()
                self._reader.release(self.position)
        self._advance()
        self._reader.release(self.position)
        self._bound()

    def recover(self, on_increments: Callable[[list[Increment]], None] | None = None) -> None:
        """Apply everything that the log still holds, by the policy that was used last. ``on_increments`` takes
        what would not fit if it waited for the first drain; with None it does."""
        self._policy = load_policy(self._reader.folder)
        self.policy_version = self._policy.version
        for folder in sorted(self._blocks.glob("*")):
            self._tenant(folder.name)
        for _ in self.follow(self._reader.end()):
            if on_increments and self.crowded:
                self._advance()
                on_increments(self.drain())

    def window(self, tenant: str) -> TenantWindow:
        """Raises ``NotFound`` for a tenant that sent nothing here."""
        if tenant not in self.tenants:
            raise NotFound(f"tenant {tenant!r} has sent nothing that stream {self.number} holds")
        return self.tenants[tenant].window

    def telemetry(self, tenant: str, start_ns: int, end_ns: int) -> Telemetry | None:
        held = self.tenants.get(tenant)
        return held.window.telemetry(start_ns, end_ns) if held else None

    def drain(self) -> list[Increment]:
        """What came since the last drain, a tenant each; nothing for tenants that were quiet."""
        drained = []
        for name, tenant in self.tenants.items():
            bins, mesh = tenant.red.drain(), tenant.mesh.drain(tenant.window.watermark_ns)
            tenant.store.add(bins)
            tenant.mesh_store.add(mesh)
            if tenant.window.fresh_samples or len(bins) or len(mesh):
                metrics = tenant.window.take_fresh_metrics()
                drained.append(Increment(name, tenant.window.watermark_ns, bins, metrics, mesh))
        return drained

    def outgrown(self) -> list[str]:
        """The tenants whose tables are full, and may hold enough that is gone to be worth making anew."""
        window_ns = int(REBUILD_WINDOWS * self._settings.window_s * 1e9)
        return [
            name
            for name, tenant in self.tenants.items()
            if tenant.window.limited
            and tenant.window.watermark_ns - tenant.since_ns >= tenant.patience * window_ns
        ]

    def use(self, policy: MetricPolicy) -> None:
        """From now on, keep what a policy keeps, also after a restart. Not while records are applied; takes a
        while where there are many series. Raises OSError when the disk refuses to hold it: a restart brings the
        one before then."""
        self._policy = policy
        for tenant in list(self.tenants.values()):
            tenant.window.metrics.window.use(policy)
        save_policy(self._reader.folder, policy)
        self.policy_version = policy.version

    def seals(self) -> list[tuple[MetricFeed, int]]:
        """Whose samples are to be sealed, and up to which time in ms."""
        due = [
            (tenant.window.metrics, tenant.window.metrics.seal_due(tenant.window.watermark_ns))
            for tenant in self.tenants.values()
        ]
        return [(feed, cut_ms) for feed, cut_ms in due if cut_ms is not None]

    def thins(self) -> list[MetricFeed]:
        """Whose blocks may hold samples that are no longer kept."""
        feeds = [tenant.window.metrics for tenant in self.tenants.values()]
        return [feed for feed in feeds if feed.thin_due()]

    def watermarks(self) -> dict[str, int]:
        return {name: tenant.window.watermark_ns for name, tenant in self.tenants.items()}

    def _attempt_together(self, records: Sequence[Record]) -> bool:
        """Records of samples of one tenant; where one of them fails, all are to be applied one by one: a sample that
        is there already is passed over."""
        try:
            batch = self._joiner.joined([record.columns for record in records])
            stretch = records[0].position, records[-1].position
            self._sending(records[-1]).window.apply_samples(batch, stretch)
        except Exception:
            return False
        return True

    def _attempt(self, record: Record) -> tuple[TenantWindow, Applied] | None:
        """One record that cannot be applied must not hold up all that come behind it."""
        try:
            return self._apply(record)
        except Exception:
            self._failed["failed_records"] += 1
            structlog.get_logger().exception(
                "a record of the log cannot be applied; going on behind it",
                stream=self.number,
                position=record.position,
                tenant=record.meta.tenant,
                signal=record.meta.signal,
            )
            return None

    def _apply(self, record: Record) -> tuple[TenantWindow, Applied] | None:
        tenant = self._sending(record)
        applied = tenant.window.apply(record)
        if applied is None:
            return None
        self.rows[applied.signal.value] += len(applied.rows)
        if applied.signal is Signal.SPANS:
            tenant.red.observe(span_frame(tenant.window, applied))
        return tenant.window, applied

    def _sending(self, record: Record) -> Tenant:
        """The tenant of a record that is to be applied."""
        self.received_ns = max(self.received_ns, record.meta.received_ns)
        tenant = self._tenant(record.meta.tenant)
        tenant.last_received_ns = max(tenant.last_received_ns, record.meta.received_ns)
        self._touched.add(record.meta.tenant)
        return tenant

    def _tenant(self, name: str) -> Tenant:
        if name not in self.tenants:
            mesh = MeshRed(name)
            folder = self._blocks / name
            feed = MetricFeed(self._settings, folder, watched, self._translation, mesh.observe)
            feed.window.use(self._policy)
            self.tenants[name] = Tenant(TenantWindow(name, self.number, self._settings, feed), mesh)
        return self.tenants[name]

    def _advance(self) -> None:
        """Move the watermarks of the tenants that sent something."""
        for name in self._touched:
            tenant = self.tenants[name]
            tenant.window.advance()
            tenant.since_ns = tenant.since_ns or tenant.window.watermark_ns
        self._touched.clear()

    def _bound(self) -> None:
        """Keep the windows within their bytes, and the log within what the windows refer to."""
        horizon = self.received_ns - int(TENANT_IDLE_S * 1e9)
        for name in [name for name, tenant in self.tenants.items() if tenant.last_received_ns < horizon]:
            if not self.tenants[name].window.metrics.window.blocks:
                del self.tenants[name]
        while self.nbytes > self._settings.max_window_bytes:
            largest = max(self.tenants.values(), key=lambda tenant: tenant.window.nbytes)
            if not largest.window.evict_oldest():
                break
        lows = [tenant.window.low_position for tenant in self.tenants.values()]
        self._reader.trim(min((low for low in lows if low is not None), default=self.position))


def _steps(records: Iterable[Record]) -> Iterator[list[Record]]:
    """What is applied at once: records of plain samples that follow each other, of one tenant and the same
    definitions, up to STEP_ROWS; any other record alone."""
    run: list[Record] = []
    rows, of = 0, None
    for record in records:
        meta = record.meta
        joins = None
        if meta.signal == SAMPLES and is_plain(record.columns):
            joins = meta.tenant, record.columns["defined_since"].tobytes()
        if run and (joins is None or joins != of or rows + meta.rows > STEP_ROWS):
            yield run
            run, rows = [], 0
        run.append(record)
        rows, of = rows + meta.rows, joins
    if run:
        yield run


def span_frame(window: TenantWindow, applied: Applied) -> SpanFrame:
    batch, rows = applied.batch, applied.rows
    if not isinstance(batch, SpanBatch):
        raise TypeError(f"expected spans, got {applied.signal}")
    return SpanFrame(
        trace_hi=batch.trace_hi[rows], trace_lo=batch.trace_lo[rows], span_id=batch.span_id[rows],
        parent_id=batch.parent_id[rows], start_ns=batch.start_ns[rows], end_ns=batch.end_ns[rows],
        kind=batch.kind[rows], status=batch.status[rows], system=batch.system[rows],
        source=applied.source, name=applied.code, ref=np.full(len(rows), -1, np.int64),
        sources=window.sources.table(), names=window.names.table(),
    )  # fmt: skip
