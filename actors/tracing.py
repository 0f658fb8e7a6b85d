"""The layer's own traces, sent into itself as service ``kubechat-obs``.

They go to a tenant of their own, so that the layer's slow requests never stand among the causes of somebody
else's trouble. Nothing recurses: the gateway is not traced, and the exporter's own requests make no spans.
"""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NoOpTracer, Tracer

SERVICE = "kubechat-obs"
SELF_TENANT = "kubechat-obs"
EXPORT_TIMEOUT_S = 2.0
FLUSH_MS = 1_000


def no_tracer() -> Tracer:
    return NoOpTracer()


class Tracing:
    """Spans of one actor, handed to the gateway in the background; what it cannot take is dropped."""

    def __init__(self, instance: str, version: str, gateway_url: str, token: str = "") -> None:
        headers = {"X-Scope-OrgID": SELF_TENANT} | ({"Authorization": f"Bearer {token}"} if token else {})
        exporter = OTLPSpanExporter(
            endpoint=gateway_url.rstrip("/") + "/v1/traces", headers=headers, timeout=EXPORT_TIMEOUT_S
        )
        resource = Resource.create(
            {"service.name": SERVICE, "service.instance.id": instance, "service.version": version}
        )
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=FLUSH_MS))

    def tracer(self) -> Tracer:
        return self._provider.get_tracer(SERVICE)

    def stop(self) -> None:
        """Send what waits; takes up to the exporter's time-out."""
        self._provider.shutdown()
