"""Bodies from a template are those that the encoder of remote write makes."""

from __future__ import annotations

import cramjam
import numpy as np

from agent.telemetry.labels import labels_of
from agent.telemetry.remote_write_client import encode_write_request
from tests.benchmarks.bodies import Template

SERIES = [{"__name__": "up", "job": "a"}, {"__name__": "up", "job": "longer"}]


def test_times_and_values_of_each_body_are_its_own() -> None:
    template = Template(SERIES, 3)
    for start_ms in (1_700_000_000_000, 1_800_000_000_007):
        times = start_ms + np.asarray([[0, 15_000, 30_000], [3, 15_003, 30_003]])
        values = np.asarray([[1.0, 2.0, 1e300], [-0.5, float("inf"), start_ms]])
        rows = zip(SERIES, times.tolist(), values.tolist(), strict=True)
        expected = encode_write_request(
            [(labels_of(one), list(zip(t, v, strict=True))) for one, t, v in rows]
        )
        assert unpacked(template.body(times, values)) == unpacked(expected)


def test_one_row_of_times_is_for_all_series() -> None:
    times, values = 1_700_000_000_000 + np.arange(2), np.ones((2, 2))
    template = Template(SERIES, 2)
    assert template.body(times, values) == template.body(np.stack([times, times]), values)


def unpacked(body: bytes) -> bytes:
    return bytes(cramjam.snappy.decompress_raw(body))
