from __future__ import annotations

import struct

import pytest

from agent.telemetry.batch import STALE_NAN_BITS
from agent.telemetry.native import FloatHistogram, hinted, parse_literal

STALE = FloatHistogram(sum=struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0])


def hints(*texts: str) -> list[str]:
    return [str(h.hint) for h in hinted([parse_literal(text) if text else STALE for text in texts])]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (("{{count:1}}", "{{count:2}}", "{{count:2}}"), ["unknown", "not_reset", "not_reset"]),
        (("{{count:2}}", "{{count:1}}", "{{count:3}}"), ["unknown", "unknown", "not_reset"]),
        (("{{count:2 buckets:[2]}}", "{{count:3 buckets:[1 2]}}"), ["unknown", "unknown"]),
        (("{{count:2 buckets:[2]}}", "{{count:3 buckets:[2 1]}}"), ["unknown", "not_reset"]),
        (("{{count:2 z_bucket:2}}", "{{count:3 z_bucket:1}}"), ["unknown", "unknown"]),
        (("{{count:2}}", "{{schema:1 count:3}}"), ["unknown", "unknown"]),
        (("{{count:2}}", "{{count:3 z_bucket_w:1}}"), ["unknown", "unknown"]),
        (("{{schema:-53 custom_values:[1]}}", "{{schema:-53 custom_values:[2]}}"), ["unknown", "unknown"]),
        (
            ("{{count:2 counter_reset_hint:gauge}}", "{{count:3}}", "{{count:4}}"),
            ["gauge", "unknown", "not_reset"],
        ),
        (("{{count:2}}", "{{count:3 counter_reset_hint:reset}}"), ["unknown", "unknown"]),
        (("{{count:2}}", "", "{{count:3}}"), ["unknown", "unknown", "unknown"]),
    ],
)
def test_hints(texts: tuple[str, ...], expected: list[str]) -> None:
    assert hints(*texts) == expected


def test_a_stale_marker_stays_one() -> None:
    assert hinted([STALE])[0].stale
