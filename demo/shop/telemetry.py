"""The OpenTelemetry SDK and its auto-instrumentation, as any Python service would set them up.

Defaults are given as OpenTelemetry's own environment variables, so that whoever starts a service can
change each of them. Telemetry is sent in the background; where the endpoint is away the exporters
retry, then drop, and say so once a minute on stderr and never in the telemetry itself.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import zlib
from dataclasses import dataclass

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.instrumentation.aiohttp_server import AioHttpServerInstrumentor
from opentelemetry.instrumentation.asyncpg import AsyncPGInstrumentor
from opentelemetry.instrumentation.logging import LoggingInstrumentor
from opentelemetry.instrumentation.system_metrics import SystemMetricsInstrumentor
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

DEFAULTS = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    "OTEL_BSP_SCHEDULE_DELAY": "500",
    "OTEL_BLRP_SCHEDULE_DELAY": "500",
    "OTEL_METRIC_EXPORT_INTERVAL": "2000",
    "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
}
# What a process knows of itself; the node's own figures are for an agent of the node.
PROCESS_METRICS: dict[str, list[str] | None] = {
    "process.cpu.time": ["user", "system"],
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "process.memory.virtual": None,
    "process.thread.count": None,
    "process.open_file_descriptor.count": None,
    "process.context_switches": ["involuntary", "voluntary"],
    "cpython.gc.collections": None,
    "cpython.gc.collected_objects": None,
}
COMPLAINT_INTERVAL_S = 60.0


@dataclass(frozen=True, slots=True)
class Telemetry:
    """The three providers of a running service."""

    tracers: TracerProvider
    meters: MeterProvider
    loggers: LoggerProvider

    def flush(self, within_s: float = 1.5) -> None:
        """Send what is left. The SDK's own time limits do not cover a retry under way; a thread that
        nobody waits for does."""
        sending = threading.Thread(target=self._flush, daemon=True)
        sending.start()
        sending.join(within_s)

    def _flush(self) -> None:
        self.tracers.force_flush()
        self.loggers.force_flush()
        self.meters.force_flush()


def instance_id(service: str, version: str) -> str:
    """Like a pod's name: the service, a hash of what it runs, and what tells this process apart."""
    return f"{service}-{zlib.crc32(version.encode()) & 0xFFFF:04x}-{os.getpid()}"


def start_telemetry(service: str, version: str) -> Telemetry:
    """Call before any application or client session is made: the instrumentation replaces classes."""
    for key, value in DEFAULTS.items():
        os.environ.setdefault(key, value)
    instance = instance_id(service, version)
    resource = Resource.create(
        {
            "service.name": service,
            "service.namespace": "shop",
            "service.version": version,
            "service.instance.id": instance,
            "k8s.pod.name": instance,
            "host.name": socket.gethostname(),
        }
    )
    spans, samples, records = _exporters(os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"])
    tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
    tracers.add_span_processor(BatchSpanProcessor(spans))
    trace.set_tracer_provider(tracers)
    meters = MeterProvider(
        [PeriodicExportingMetricReader(samples)], resource=resource, shutdown_on_exit=False
    )
    metrics.set_meter_provider(meters)
    loggers = LoggerProvider(resource=resource, shutdown_on_exit=False)
    loggers.add_log_record_processor(BatchLogRecordProcessor(records))
    set_logger_provider(loggers)
    _set_up_logging()
    _instrument()
    return Telemetry(tracers, meters, loggers)


def _exporters(protocol: str) -> tuple[SpanExporter, MetricExporter, LogRecordExporter]:
    # Only one of the two is imported: the gRPC library alone costs 20 MB a process.
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc import _log_exporter, metric_exporter, trace_exporter

        return (
            trace_exporter.OTLPSpanExporter(insecure=True),
            metric_exporter.OTLPMetricExporter(insecure=True),
            _log_exporter.OTLPLogExporter(insecure=True),
        )
    if protocol != "http/protobuf":
        raise ValueError(f"OTEL_EXPORTER_OTLP_PROTOCOL: got {protocol!r}, expected http/protobuf or grpc")
    from opentelemetry.exporter.otlp.proto import http
    from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_logs
    from opentelemetry.exporter.otlp.proto.http import metric_exporter as http_metrics
    from opentelemetry.exporter.otlp.proto.http import trace_exporter as http_traces

    compression = http.Compression.NoCompression
    return (
        http_traces.OTLPSpanExporter(compression=compression),
        http_metrics.OTLPMetricExporter(compression=compression),
        http_logs.OTLPLogExporter(compression=compression),
    )


class _Seldom(logging.Filter):
    """Lets one record through in each interval."""

    def __init__(self, interval_s: float) -> None:
        super().__init__()
        self._interval_s, self._next_s = interval_s, 0.0

    def filter(self, record: logging.LogRecord) -> bool:
        now_s = time.monotonic()
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._interval_s
        return True


def _set_up_logging() -> None:
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    console.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(console)
    # The exporters' own complaints must not become telemetry: that would feed itself.
    complaints = logging.getLogger("opentelemetry")
    complaints.propagate = False
    seldom = logging.StreamHandler(sys.stderr)
    seldom.addFilter(_Seldom(COMPLAINT_INTERVAL_S))
    complaints.addHandler(seldom)


def _instrument() -> None:
    LoggingInstrumentor().instrument()
    AioHttpServerInstrumentor().instrument()
    AioHttpClientInstrumentor().instrument()
    AsyncPGInstrumentor().instrument()  # type: ignore[no-untyped-call]
    SystemMetricsInstrumentor(config=PROCESS_METRICS).instrument()
