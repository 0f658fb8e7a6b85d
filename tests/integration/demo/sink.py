"""A receiver of OTLP over HTTP that keeps what it gets, for tests of those who send it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan

Attributes = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Span:
    resource: Attributes
    trace: bytes
    id: bytes
    parent: bytes
    name: str
    kind: int
    failed: bool
    took_ms: float
    attributes: Attributes
    events: tuple[str, ...]

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


@dataclass(frozen=True, slots=True)
class Log:
    resource: Attributes
    trace: bytes
    severity: int
    body: str
    attributes: Attributes

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


@dataclass(frozen=True, slots=True)
class Metric:
    """The latest point of a series; a histogram's ``value`` is its count."""

    resource: Attributes
    name: str
    attributes: Attributes
    value: float

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


@dataclass(slots=True)
class Sink:
    """What has come in so far."""

    spans: list[Span] = field(default_factory=list)
    logs: list[Log] = field(default_factory=list)
    metrics: dict[str, Metric] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20)
        app.add_routes(
            [web.post("/v1/traces", self._traces), web.post("/v1/logs", self._logs), web.post("/v1/metrics", self._metrics)]
        )  # fmt: skip
        return app

    def clear(self) -> None:
        self.spans.clear()
        self.logs.clear()
        self.metrics.clear()
        self.bodies.clear()

    async def _traces(self, request: web.Request) -> web.Response:
        body = ExportTraceServiceRequest.FromString(await self._body(request))
        for resource in body.resource_spans:
            about = _attributes(resource.resource.attributes)
            self.spans += [_span(about, span) for scope in resource.scope_spans for span in scope.spans]
        return web.Response(content_type="application/x-protobuf")

    async def _logs(self, request: web.Request) -> web.Response:
        body = ExportLogsServiceRequest.FromString(await self._body(request))
        for resource in body.resource_logs:
            about = _attributes(resource.resource.attributes)
            self.logs += [
                _log(about, record) for scope in resource.scope_logs for record in scope.log_records
            ]
        return web.Response(content_type="application/x-protobuf")

    async def _metrics(self, request: web.Request) -> web.Response:
        body = ExportMetricsServiceRequest.FromString(await self._body(request))
        for resource in body.resource_metrics:
            about = _attributes(resource.resource.attributes)
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    data = getattr(metric, str(metric.WhichOneof("data")))
                    for attributes, value in _points(data.data_points):
                        key = f"{about['service.instance.id']} {metric.name} {attributes}"
                        self.metrics[key] = Metric(about, metric.name, attributes, value)
        return web.Response(content_type="application/x-protobuf")

    async def _body(self, request: web.Request) -> bytes:
        body = await request.read()
        self.bodies.append(body)
        return body


def _span(resource: Attributes, span: ProtoSpan) -> Span:
    return Span(
        resource=resource,
        trace=span.trace_id,
        id=span.span_id,
        parent=span.parent_span_id,
        name=span.name,
        kind=span.kind,
        failed=span.status.code == 2,
        took_ms=(span.end_time_unix_nano - span.start_time_unix_nano) / 1e6,
        attributes=_attributes(span.attributes),
        events=tuple(
            " ".join([event.name, *(str(value) for value in _attributes(event.attributes).values())])
            for event in span.events
        ),
    )


def _log(resource: Attributes, record: LogRecord) -> Log:
    return Log(
        resource,
        record.trace_id,
        record.severity_number,
        record.body.string_value,
        _attributes(record.attributes),
    )


def _points(points: Iterable[Any]) -> Iterator[tuple[Attributes, float]]:
    for point in points:
        if hasattr(point, "bucket_counts"):
            yield _attributes(point.attributes), float(point.count)
        else:
            yield _attributes(point.attributes), float(getattr(point, str(point.WhichOneof("value"))))


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return getattr(value, kind) if kind else None
