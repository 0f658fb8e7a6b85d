"""What the gateway does with a body, free of transport: decode, screen, split by owning stream.

A body that is malformed or too large is refused whole (``BadInput``); rows that are out of bounds are
refused one by one and told to the sender as a partial success. A body with a source over its rate is refused whole
(``RateLimited``): a sender repeats nothing of a partial success, and a batch that is refused for now it does repeat.
Nothing here touches the disk or the net. Bodies are taken in several threads at once.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from actors.gateway.room import RateLimited
from agent.errors import Malformed, TooLarge
from agent.settings import GatewaySettings
from agent.telemetry.allowance import Allowances
from agent.telemetry.batch import Batch, Reject, Signal, columns, drop_rejected, take_blocks
from agent.telemetry.otlp_attributes import resource_attributes
from agent.telemetry.otlp_logs import decode_logs
from agent.telemetry.otlp_metrics import decode_metrics
from agent.telemetry.otlp_spans import decode_spans
from agent.telemetry.remote_write_labels import Fault
from agent.telemetry.samples import SAMPLES
from agent.telemetry.screen import Limits, screen
from agent.telemetry.source import Source
from agent.windows import record
from agent.windows.placement import owner
from agent.windows.refusals import Outcome

Buffers = list[bytes | memoryview]
Decoder = Callable[[bytes], Any]

TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
TENANT_IDLE_NS = 3600 * 10**9  # who sent nothing for so long gives the place to another
MAX_REMEMBERED_RESOURCES = 100_000
RATE_LIMITED = Fault.RATE_LIMITED.reason  # what rows are counted under, whichever protocol brings them
DECODERS: Mapping[Signal, Decoder] = {
    Signal.SPANS: decode_spans,
    Signal.LOGS: decode_logs,
    Signal.METRICS: decode_metrics,
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """``writes`` are the records to make durable, a stream and its buffers each; ``rejected`` counts the
    rows refused, by reason."""

    rows: int
    rejected: dict[Reject, int]
    writes: tuple[tuple[int, Buffers], ...]


@dataclass(slots=True)
class Counts:
    """What came in, in rows, and what was refused, by reason; since the gateway started."""

    accepted: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    bytes: int = 0


class Intake:
    def __init__(self, settings: GatewaySettings, streams: int) -> None:
        self._settings = settings
        self._streams = streams
        self._limits = Limits(
            max_past_s=settings.max_past_s,
            max_future_s=settings.max_future_s,
            max_name_bytes=settings.max_name_bytes,
            max_row_bytes=settings.max_row_bytes,
        )
        self._seen_ns: dict[str, int] = {}  # when each tenant sent last
        self._owners: dict[tuple[str, bytes], tuple[Source, int]] = {}
        self._allowances = (
            Allowances[Source](settings.max_rows_per_source_per_s)
            if settings.max_rows_per_source_per_s
            else None
        )
        self._lock = threading.Lock()
        self.counts = Counts()

    def accept(self, signal: Signal, body: bytes, tenant: str, now_ns: int) -> Accepted:
        """What is to be written for a body. Raises ``BadInput`` or ``RateLimited``."""
        self._check(body, tenant)
        batch, rejected = drop_rejected(screen(DECODERS[signal](body), now_ns, self._limits))
        rows = self._rows_by_source(batch, tenant) if self._allowances else {}
        with self._lock:
            self._admit(tenant, now_ns)
            self._spend(rows, now_ns)
            self.counts.requests += 1
            self.counts.bytes += len(body)
            self.counts.accepted[signal.value] += len(batch)
            for reject, n in rejected.items():
                self.counts.refused[reject.reason] += n
        return Accepted(len(batch), rejected, tuple(self._records(signal, batch, tenant, now_ns)))

    def refuse(self, reason: str) -> None:
        """Count a body that was refused whole."""
        with self._lock:
            self.counts.refused[reason] += 1

    def admit(self, tenant: str, now_ns: int) -> None:
        """A place for a tenant that sends remote write. Raises ``BadInput``."""
        self._check_tenant(tenant)
        with self._lock:
            self._admit(tenant, now_ns)

    def count_samples(self, outcome: Outcome, size_bytes: int) -> None:
        """Count what became of a body of remote write."""
        with self._lock:
            self.counts.requests += 1
            self.counts.bytes += size_bytes
            self.counts.accepted[SAMPLES] += outcome.samples + outcome.histograms
            for fault, n in outcome.refused.items():
                self.counts.refused[fault.reason] += n

    def _check(self, body: bytes, tenant: str) -> None:
        if len(body) > self._settings.max_decoded_bytes:
            raise TooLarge(
                "body_too_large",
                f"the body has {len(body)} bytes, at most {self._settings.max_decoded_bytes} are taken "
                "(gateway.max_decoded_bytes): send smaller batches",
            )
        self._check_tenant(tenant)

    def _check_tenant(self, tenant: str) -> None:
        if tenant not in self._seen_ns and not TENANT.fullmatch(tenant):
            raise Malformed(
                "bad_tenant",
                "X-Scope-OrgID must be 1 to 64 letters, digits, '.', '_', ':' or '-', beginning with a letter or digit",
            )

    def _admit(self, tenant: str, now_ns: int) -> None:
        """A place for a tenant whose body is good. Raises ``TooLarge`` when all are in use."""
        if tenant not in self._seen_ns and len(self._seen_ns) >= self._settings.max_tenants:
            since_ns = now_ns - TENANT_IDLE_NS
            self._seen_ns = {name: at_ns for name, at_ns in self._seen_ns.items() if at_ns > since_ns}
            if len(self._seen_ns) >= self._settings.max_tenants:
                raise TooLarge(
                    "too_many_tenants",
                    f"{self._settings.max_tenants} tenants send already (gateway.max_tenants)",
                )
        self._seen_ns[tenant] = now_ns

    def _rows_by_source(self, batch: Any, tenant: str) -> Counter[Source]:
        """How many rows a body has of each source."""
        rows: Counter[Source] = Counter()
        for block, n in enumerate(np.bincount(batch.block).tolist()):
            if n:
                rows[self._owner(batch, block, tenant)[0]] += n
        return rows

    def _spend(self, rows: Mapping[Source, int], now_ns: int) -> None:
        """Take the rows from what their sources may send, or none of them and raise ``RateLimited``."""
        short = self._allowances.spend(rows, now_ns) if self._allowances else None
        if short is None:
            return
        self.counts.refused[RATE_LIMITED] += sum(rows.values())
        source = short.source
        raise RateLimited(
            f"service {source.service!r}, instance {source.instance!r} sends more rows a second than are accepted "
            "(gateway.max_rows_per_source_per_s): send the body again later",
            short.wait_ns / 1e9,
        )

    def _records(self, signal: Signal, batch: Any, tenant: str, now_ns: int) -> list[tuple[int, Buffers]]:
        if not len(batch):
            return []
        present = np.unique(batch.block)
        owners = np.asarray([self._owner(batch, int(block), tenant)[1] for block in present])
        writes = []
        for stream in np.unique(owners).tolist():
            part = take_blocks(batch, present[owners == stream])
            writes.append((stream, record.encode(signal.value, tenant, len(part), now_ns, columns(part))))
        return writes

    def _owner(self, batch: Batch, block: int, tenant: str) -> tuple[Source, int]:
        """The source of a block, as far as it counts for the rate, and the stream that owns it."""
        off, length = int(batch.resource_off[block]), int(batch.resource_len[block])
        key = tenant, batch.raw[off : off + length].tobytes()
        found = self._owners.get(key)
        if found is None:
            source = Source.of(resource_attributes(batch.raw, off, length), tenant)
            found = replace(source, version="", node=""), owner(source.placement_key, self._streams)
            if len(self._owners) >= MAX_REMEMBERED_RESOURCES:
                self._owners = {}  # another thread may still read the old one
            self._owners[key] = found
        return found
