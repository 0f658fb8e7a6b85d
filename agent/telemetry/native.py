"""Native histograms: the sample, its arithmetic, its texts and its bytes."""

from agent.telemetry.native_buckets import CUSTOM_SCHEMA, MAX_SCHEMA, MIN_SCHEMA, NO_VALUES, Side
from agent.telemetry.native_convert import Totals, from_explicit, from_exponential
from agent.telemetry.native_hints import decode_histograms, hinted
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
from agent.telemetry.native_trim import trimmed
from agent.telemetry.native_validate import validate_histogram
from agent.telemetry.native_wire import check_histogram, decode_histogram, encode_histogram, spans_of

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
    "Totals",
    "check_histogram",
    "combined_hint",
    "decode_histogram",
    "decode_histograms",
    "describe",
    "encode_histogram",
    "expand",
    "from_explicit",
    "from_exponential",
    "hinted",
    "parse_literal",
    "parse_series",
    "spans_of",
    "to_json",
    "trimmed",
    "validate_histogram",
]
