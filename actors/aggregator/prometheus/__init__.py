"""The Prometheus HTTP API over the layer's metrics.

A request goes  reading -> backend -> rendering:  ``reading`` and ``selectors`` turn texts into times, durations
and matchers with Prometheus' own refusals, a ``MetricBackend`` answers (``backend``), ``series`` renders the
answer's columns to JSON with compiled kernels, ``replies`` wraps it and sends it. ``mount`` is the one door in.
"""
