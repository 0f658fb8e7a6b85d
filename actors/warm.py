"""Compiles all kernels once, by sending a little telemetry the whole way from wire to answer.

    python -m actors.warm

Numba keeps what it compiled beside the sources (or in ``NUMBA_CACHE_DIR``), so every later start loads it. A
marker file beside the package, named after the state of the sources, tells that this was done.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import agent

if TYPE_CHECKING:
    from actors.stream.core import Stream
    from agent.telemetry.remote_write import Packed

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
SERVICES = ("front", "cart")
MINUTES = 6
NO_MATTER = 1_000_000  # rows a second, never reached
CUMULATIVE: Any = 2  # AGGREGATION_TEMPORALITY_CUMULATIVE


def is_warm() -> bool:
    """Whether the kernels of these sources were compiled; cheap, and imports nothing heavy."""
    return _marker().exists()


def warm_in_subprocess() -> None:
    """Compile in a process of its own; the memory that compiling takes goes with it."""
    subprocess.run([sys.executable, "-m", "actors.warm"], check=True, stdout=subprocess.DEVNULL)


def _marker() -> Path:
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(agent.__file__).parent / "__pycache__")
    sources = sorted(Path(agent.__file__).parent.rglob("*.py"))
    state = hashlib.blake2b(digest_size=8)
    for source in sources:
        state.update(f"{source.name} {source.stat().st_mtime_ns} {source.stat().st_size}\n".encode())
    return folder / f"warm-{sys.implementation.cache_tag}-{state.hexdigest()}"


def compile_all() -> None:
    from actors.aggregator.prometheus.series import load_kernels
    from actors.scraper.warm import load_scrape
    from agent.correlation.topology import Topology
    from agent.detection.bank import DetectorBank
    from agent.rootcause.baseline import Baseline
    from agent.rootcause.engine import analyse
    from agent.rootcause.question import Scope
    from agent.rootcause.settings import RootCauseSettings

    load_kernels()
    load_queries()
    load_scrape()
    bank, topology, baseline = DetectorBank(), Topology(), Baseline()
    for minute, stream in _fed(MINUTES):
        for increment in stream.drain():
            bank.observe_metrics(increment.metrics)
            bank.advance(increment.red, increment.watermark_ns)
        held = stream.telemetry("warm", START_NS + minute * 60 * NS, START_NS + (minute + 1) * 60 * NS)
        if held is not None:
            topology.observe(held.spans)
            if minute < MINUTES - 1:
                baseline.learn(held)
            else:
                analyse(Scope("why is latency up?"), held, baseline, RootCauseSettings())


def load_ingest() -> None:
    """Load the kernels of the way in, so that the first sender waits for none of them. The gateway and the
    streams call it before they are ready; from the cache it takes a fraction of a second."""
    for _, stream in _fed(1):
        stream.drain()


def load_queries() -> None:
    """Load the kernels of queries: those of the functions, and of the window that is read."""
    from agent.promql.functions import classic, warmup
    from agent.telemetry import native_wire
    from agent.windows.metrics.loading import load_kernels

    load_kernels()
    warmup.warm_up()
    classic.warm_up()
    native_wire.warm_up()


def _fed(minutes: int) -> Iterator[tuple[int, Stream]]:
    """A stream that is fed minute by minute the way a body goes; yields it after each, the sixth is slow."""
    from actors.gateway.intake import Intake
    from actors.stream.core import Stream
    from agent.settings import GatewaySettings, StreamSettings
    from agent.telemetry.batch import Signal
    from agent.windows.log import LogReader, LogWriter
    from agent.windows.sampleintake import SampleIntake
    from agent.windows.seriestable import SMALLEST, SeriesTable

    SeriesTable("warm", 1, SMALLEST, SMALLEST, rated=True).make_room(SMALLEST, 0)  # with many series it grows
    with tempfile.TemporaryDirectory() as folder:
        settings = GatewaySettings(max_rows_per_source_per_s=NO_MATTER)  # the limit has kernels too
        intake, ways = Intake(settings, 1), (SampleIntake(settings, 1), SampleIntake(GatewaySettings(), 1))
        writer = LogWriter(Path(folder), 1 << 20)
        stream = Stream(0, StreamSettings(), LogReader(Path(folder)))
        for minute in range(minutes):
            for signal, body in _bodies(START_NS + minute * 60 * NS, slow=minute == MINUTES - 1):
                for _, buffers in intake.accept(Signal(signal), body, "warm", START_NS + 3600 * NS).writes:
                    writer.append(buffers)
            for packed in _sample_bodies(START_NS // 10**6 + minute * 60_000):
                for samples in ways:
                    for _, buffers in samples.take("warm", [packed], START_NS + 3600 * NS, [0]).writes:
                        writer.append(buffers)
            for _ in stream.follow(writer.position):
                pass
            yield minute, stream
        writer.close()


def _sample_bodies(start_ms: int) -> Iterator[Packed]:
    """Remote write of both versions, with values that pack well and others."""
    from agent.telemetry.labels import labels_of
    from agent.telemetry.remote_write import Packed, Version
    from agent.telemetry.remote_write_client import (
        WriteSeries,
        encode_write_request,
        encode_write_request_v2,
    )

    for number, (fraction, version) in enumerate([(0.0, 1), (0.123456789, 1), (0.0, 2), (0.0, 1)]):
        at_ms = start_ms + number * 15_000
        up = labels_of({"__name__": "up", "job": "warm", "instance": "1"})
        requests = labels_of({"__name__": "requests_total", "job": "warm", "instance": "1"})
        rows = [(up, [(at_ms, 1.0)]), (requests, [(at_ms + i, i + fraction) for i in range(4)])]
        if version == 1:
            yield Packed(encode_write_request(rows))
            continue
        exemplars = ((labels_of({"trace_id": "a"}), 1.0, at_ms),)
        told = [WriteSeries(labels, tuple(points), (), exemplars, "gauge", "help") for labels, points in rows]
        yield Packed(encode_write_request_v2(told), Version.V2)


def _bodies(start_ns: int, *, slow: bool) -> Iterator[tuple[str, bytes]]:
    """A minute of a front that calls a cart that calls a database, with logs and metrics."""
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    spans, logs, metrics = (
        ExportTraceServiceRequest(),
        ExportLogsServiceRequest(),
        ExportMetricsServiceRequest(),
    )
    for number, service in enumerate(SERVICES):
        blocks = (spans.resource_spans.add(), logs.resource_logs.add(), metrics.resource_metrics.add())
        for block in blocks:
            block.resource.attributes.add(key="service.name").value.string_value = service
            block.resource.attributes.add(key="service.instance.id").value.string_value = f"{service}-1"
        of_spans = blocks[0].scope_spans.add().spans
        of_logs = blocks[1].scope_logs.add().log_records
        for request in range(60):
            at_ns = start_ns + request * NS
            trace_id = (start_ns + request).to_bytes(16, "big")
            root, call, served, query = (
                (start_ns + request * 8 + i + 1).to_bytes(8, "big") for i in range(4)
            )
            took_ns = (400 if slow else 10) * 10**6
            common = {"trace_id": trace_id, "start_time_unix_nano": at_ns}
            if number == 0:
                of_spans.add(
                    span_id=root, name="GET /", kind=2, end_time_unix_nano=at_ns + took_ns + 3000, **common
                )
                of_spans.add(
                    span_id=call,
                    parent_span_id=root,
                    name="GET",
                    kind=3,
                    end_time_unix_nano=at_ns + took_ns + 2000,
                    **common,
                )
            else:
                of_spans.add(
                    span_id=served,
                    parent_span_id=call,
                    name="GET /cart",
                    kind=2,
                    end_time_unix_nano=at_ns + took_ns + 1000,
                    **common,
                )
                db = of_spans.add(
                    span_id=query,
                    parent_span_id=served,
                    name="SELECT",
                    kind=3,
                    end_time_unix_nano=at_ns + took_ns,
                    **common,
                )
                db.attributes.add(key="db.system").value.string_value = "postgresql"
            record = of_logs.add(
                time_unix_nano=at_ns + 1,
                severity_number=9,
                trace_id=trace_id,
                span_id=root if number == 0 else served,
            )
            record.body.string_value = f"request {request} served in {took_ns} ns"
        scope = blocks[2].scope_metrics.add()
        for second in range(0, 60, 10):
            at = {"time_unix_nano": start_ns + second * NS, "start_time_unix_nano": START_NS}
            scope.metrics.add(name="process.cpu.utilization").gauge.data_points.add(
                as_double=0.9 if slow else 0.1, **at
            )
            total = scope.metrics.add(name="http.requests").sum
            total.aggregation_temporality = CUMULATIVE
            total.is_monotonic = True
            total.data_points.add(as_int=second, **at)
            histogram = scope.metrics.add(name="http.duration").histogram
            histogram.aggregation_temporality = CUMULATIVE
            histogram.data_points.add(count=3, sum=1.0, explicit_bounds=[1.0], bucket_counts=[2, 1], **at)
    yield "spans", spans.SerializeToString()
    yield "logs", logs.SerializeToString()
    yield "metrics", metrics.SerializeToString()


def main() -> None:
    compile_all()
    marker = _marker()
    marker.parent.mkdir(parents=True, exist_ok=True)
    for old in marker.parent.glob("warm-*"):
        old.unlink(missing_ok=True)
    marker.touch()


if __name__ == "__main__":
    main()
