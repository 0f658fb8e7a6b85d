"""A small web shop of real processes, to have something that can really break.

Each service is a process of its own (``python -m demo.shop <service>``) that serves HTTP on
127.0.0.1, is instrumented with the OpenTelemetry SDK, and knows nothing of whoever receives its
telemetry beyond the standard ``OTEL_EXPORTER_OTLP_ENDPOINT``. ``demo.shop.supervisor.Shop`` starts
them all, restarts what dies and breaks things on demand; ``docs/demo-shop.md`` is the tour.
"""
