"""Native histograms: the sample, its arithmetic, its texts and its bytes."""

from agent.telemetry.native_buckets import CUSTOM_SCHEMA, MAX_SCHEMA, MIN_SCHEMA, NO_VALUES, Side
from agent.telemetry.native_histogram import (
    BucketRows,
    Combined,
    CounterReset,
    FloatHistogram,
    IncompatibleSchemas,
    InvalidHistogram,
    combined_hint,
)
from agent.telemetry.native_literal import expand, parse_literal, parse_series
from agent.telemetry.native_text import describe, to_json

__all__ = [
    "CUSTOM_SCHEMA",
    "MAX_SCHEMA",
    "MIN_SCHEMA",
    "NO_VALUES",
    "BucketRows",
    "Combined",
    "CounterReset",
    "FloatHistogram",
    "IncompatibleSchemas",
    "InvalidHistogram",
    "Side",
    "combined_hint",
    "describe",
    "expand",
    "parse_literal",
    "parse_series",
    "to_json",
]
