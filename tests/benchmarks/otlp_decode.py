"""Rows a CPU second from OTLP bodies to columns, beside the protobuf package doing the same.

    python -m tests.benchmarks.otlp_decode

Bodies: 512 spans of 12 attributes; 512 log records of 6; 100 metrics of 10 points with 5 attributes, a
tenth of them histograms of 15 buckets. The package parses the body and reads the same fields in Python. Each
figure is the best of ROUNDS, since the machine is shared. Compiling or loading the kernels is timed
apart: ``first_s`` is import and the first body of each signal, with whatever the cache holds.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Sized

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit.telemetry.requests import (
    NOW_NS,
    attributes,
    counter,
    histogram,
    log_record,
    logs_body,
    metrics_body,
    number,
    span,
    trace_body,
)

ROUNDS, ROUND_S = 7, 0.2
SPAN_KEYS = (
    "http.request.method", "http.route", "url.scheme", "url.path", "server.address", "user_agent.original",
    "network.peer.address", "network.protocol.version", "app.cart.id", "app.user.id", "thread.name",
    "code.function.name",
)  # fmt: skip


def bodies(chance: random.Random) -> dict[str, bytes]:
    def labels(keys: tuple[str, ...]) -> dict[str, object]:
        return {key: f"{key[-4:]}-{chance.randrange(10**9):09d}" for key in keys}

    spans = [
        span(
            trace_id=chance.randbytes(16), span_id=chance.randbytes(8), parent_span_id=chance.randbytes(8),
            name=f"GET /products/{i % 20}", kind=2, attributes=attributes(labels(SPAN_KEYS)),
            end_time_unix_nano=NOW_NS + i,
        )
        for i in range(512)
    ]  # fmt: skip
    records = [
        log_record(
            trace_id=chance.randbytes(16), span_id=chance.randbytes(8), severity_number=9,
            body={"string_value": f"order {i} of user {chance.randrange(10**6)} placed in 12 ms; cart emptied"},
            attributes=attributes(labels(SPAN_KEYS[:6])),
        )
        for i in range(512)
    ]  # fmt: skip
    counters = [
        counter(*(number(attributes=attributes(labels(SPAN_KEYS[:5]))) for _ in range(10)), name=f"m_{i}")
        for i in range(90)
    ]
    histograms = [
        histogram(
            attributes=attributes(labels(SPAN_KEYS[:5])),
            bucket_counts=[i] * 15, explicit_bounds=[j / 10 for j in range(14)],
        )
        for i in range(100)
    ]  # fmt: skip
    return {
        "spans": trace_body(spans),
        "logs": logs_body(records),
        "samples": metrics_body([*counters, *histograms]),
    }


def package_spans(body: bytes) -> int:
    rows = [
        (s.trace_id, s.span_id, s.parent_span_id, s.name, s.kind, s.status.code, s.start_time_unix_nano,
         s.end_time_unix_nano, [a.key for a in s.attributes])
        for block in ExportTraceServiceRequest.FromString(body).resource_spans
        for scope in block.scope_spans
        for s in scope.spans
    ]  # fmt: skip
    return len(rows)


def package_logs(body: bytes) -> int:
    rows = [
        (r.trace_id, r.span_id, r.time_unix_nano, r.severity_number, r.body.string_value)
        for block in ExportLogsServiceRequest.FromString(body).resource_logs
        for scope in block.scope_logs
        for r in scope.log_records
    ]
    return len(rows)


def package_samples(body: bytes) -> int:
    rows = 0
    for block in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for metric in (m for scope in block.scope_metrics for m in scope.metrics):
            for point in metric.sum.data_points:
                key = (metric.name, *sorted((a.key, a.value.string_value) for a in point.attributes))
                rows += len([(hash(key), point.time_unix_nano, point.as_double)])
            for bars in metric.histogram.data_points:
                key = (metric.name, *sorted((a.key, a.value.string_value) for a in bars.attributes))
                values = [bars.count, bars.sum, *bars.bucket_counts]
                rows += len([(hash(key), bars.time_unix_nano, value) for value in values])
    return rows


def rows_per_cpu_s(decode: Callable[[bytes], int], body: bytes) -> float:
    best = 0.0
    for _ in range(ROUNDS):
        rows, start = 0, time.process_time()
        while (took := time.process_time() - start) < ROUND_S:
            rows += decode(body)
        best = max(best, rows / took)
    return best


def main() -> None:
    made = bodies(random.Random(1))
    start = time.perf_counter()
    from agent.telemetry.otlp_logs import decode_logs
    from agent.telemetry.otlp_metrics import decode_metrics
    from agent.telemetry.otlp_spans import decode_spans

    ours: dict[str, Callable[[bytes], Sized]] = {
        "spans": decode_spans,
        "logs": decode_logs,
        "samples": decode_metrics,
    }
    theirs = {"spans": package_spans, "logs": package_logs, "samples": package_samples}
    rows = {name: len(decode(made[name])) for name, decode in ours.items()}
    result: dict[str, object] = {"first_s": round(time.perf_counter() - start, 2)}
    for name, decode in ours.items():
        if rows[name] != theirs[name](made[name]):
            raise SystemExit(f"{name}: {rows[name]} rows, the package finds {theirs[name](made[name])}")
        kernel = rows_per_cpu_s(lambda body, decode=decode: len(decode(body)), made[name])  # type: ignore[misc]
        package = rows_per_cpu_s(theirs[name], made[name])
        size = len(made[name])
        print(
            f"{name:8} {rows[name]:5} rows, {size:7} bytes: {kernel / 1e6:6.2f} M rows a CPU s "
            f"({kernel * size / rows[name] / 1e9:.2f} GB), package {package / 1e6:.3f} M, x{kernel / package:.0f}"
        )
        result[name] = {"per_cpu_s": round(kernel), "package_per_cpu_s": round(package)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
