"""Reading the parameters of Prometheus' API: times, durations, limits, label names. Texts of errors are Prometheus'.

Times are RFC 3339 or Unix seconds, durations seconds or Prometheus' (``1h30m``). Both become whole milliseconds;
a time's fraction is rounded to the millisecond where it came as a number and cut where it came as a text.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from actors.aggregator.prometheus.problems import bad_data, invalid_parameter
from agent.promql.values import Grid

# The first and last second whose milliseconds fit 64 bits as Prometheus counts them; the bounds of a range
# that was left open.
MIN_TIME_S = -9223372036854775 + 62135596801
MAX_TIME_S = 9223372036854775 - 62135596801
MIN_TIME_MS = MIN_TIME_S * 1000
MAX_TIME_MS = MAX_TIME_S * 1000 + 999
_BOUNDS = {"-292273086-05-16T16:47:06Z": MIN_TIME_MS, "292277025-08-18T07:12:54.999999999Z": MAX_TIME_MS}

MAX_POINTS = 11_000
NS_IN_MS = 1_000_000
_MAX_INT64 = (1 << 63) - 1

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_UNIT_MS = (365 * 86_400_000, 7 * 86_400_000, 86_400_000, 3_600_000, 60_000, 1000, 1)


def parse_time_ms(text: str) -> int:
    """Unix milliseconds. Raises ValueError with Prometheus' text."""
    if _NUMBER.fullmatch(text):
        seconds = float(text)
        if MIN_TIME_S <= seconds <= MAX_TIME_S + 1:
            fraction, whole = math.modf(seconds)
            rounded = math.copysign(math.floor(abs(fraction) * 1000 + 0.5), fraction)
            return min(int(whole) * 1000 + int(rounded), MAX_TIME_MS)
    elif text in _BOUNDS:
        return _BOUNDS[text]
    elif moment := _RFC3339.fullmatch(text):
        day, fraction_text, zone = moment.groups()
        try:
            at = datetime.fromisoformat(day + ("+00:00" if zone == "Z" else zone))
        except ValueError:
            pass
        else:
            delta = at - datetime(1970, 1, 1, tzinfo=UTC)
            return (delta.days * 86_400 + delta.seconds) * 1000 + int(((fraction_text or "") + "000")[:3])
    raise ValueError(f"cannot parse {quoted(text)} to a valid timestamp")


def parse_duration_ns(text: str) -> int:
    """Nanoseconds, because a step is checked before it is rounded. Raises ValueError with Prometheus' text."""
    if _NUMBER.fullmatch(text):
        nanoseconds = float(text) * 1e9
        if abs(nanoseconds) > _MAX_INT64:
            raise ValueError(f"cannot parse {quoted(text)} to a valid duration. It overflows int64")
        return int(nanoseconds)
    if text == "0":
        return 0
    parts = _DURATION.fullmatch(text)
    if text and parts:
        total = sum(int(n) * unit for n, unit in zip(parts.groups(), _UNIT_MS, strict=True) if n) * NS_IN_MS
        if total <= _MAX_INT64:
            return total
    raise ValueError(f"cannot parse {quoted(text)} to a valid duration")


def time_parameter(name: str, text: str, default_ms: int) -> int:
    """A time that may be left out."""
    if not text:
        return default_ms
    try:
        return parse_time_ms(text)
    except ValueError as error:
        raise invalid_parameter(name, f"Invalid time value for '{name}': {error}") from None


def required_time(name: str, text: str) -> int:
    try:
        return parse_time_ms(text)
    except ValueError as error:
        raise invalid_parameter(name, str(error)) from None


def duration_parameter(name: str, text: str) -> int:
    """Nanoseconds."""
    try:
        return parse_duration_ns(text)
    except ValueError as error:
        raise invalid_parameter(name, str(error)) from None


def parse_grid(start: str, end: str, step: str) -> Grid:
    """The steps of a range query, refused where there are more of them than a person can want."""
    start_ms, end_ms = required_time("start", start), required_time("end", end)
    if end_ms < start_ms:
        raise invalid_parameter("end", "end timestamp must not be before start time")
    step_ns = duration_parameter("step", step)
    if step_ns < NS_IN_MS:  # a millisecond is the least that times can tell apart
        text = "zero or negative query resolution step widths are not accepted. Try a positive integer"
        raise invalid_parameter("step", text)
    if (end_ms - start_ms) * NS_IN_MS // step_ns > MAX_POINTS:
        raise bad_data(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)"
        )
    return Grid(start_ms, end_ms, step_ns // NS_IN_MS)


def limit_parameter(text: str) -> int:
    """How many entries are wanted; 0 for all."""
    if not text:
        return 0
    try:
        limit = parse_int(text)
    except ValueError as error:
        raise invalid_parameter("limit", str(error)) from None
    if limit < 0:
        raise invalid_parameter("limit", "limit must be non-negative")
    return limit


def number_parameter(name: str, text: str, default: int) -> int:
    """A whole number of the routes about metadata, which have a text of their own."""
    if not text:
        return default
    try:
        return parse_int(text)
    except ValueError:
        raise bad_data(f"{name} must be a number") from None


def parse_int(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f"strconv.Atoi: parsing {quoted(text)}: invalid syntax")
    value = int(text) if len(text) < 30 else _MAX_INT64 + 1
    if abs(value) > _MAX_INT64:
        raise ValueError(f"strconv.Atoi: parsing {quoted(text)}: value out of range")
    return value


_ESCAPED = "U__"
_ESCAPE = re.compile(r"_(?:_|([0-9a-fA-F]+)_)")


def unescape_label(text: str) -> str:
    """The label name of a path: names that are not ``[a-zA-Z_][a-zA-Z0-9_]*`` may come as ``U__`` and
    ``_hex code point_`` for each odd character, ``__`` for ``_``; what does not fit that stays as it is."""
    if not text.startswith(_ESCAPED):
        return text
    rest, out, pos = text.removeprefix(_ESCAPED), [], 0
    while pos < len(rest):
        if rest[pos] != "_":
            out.append(rest[pos])
            pos += 1
            continue
        escape = _ESCAPE.match(rest, pos)
        code = int(escape[1], 16) if escape and escape[1] and len(escape[1]) <= 6 else -1
        if escape is None or (escape[1] and not (0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000)):
            return text
        out.append("_" if not escape[1] else chr(code))
        pos = escape.end()
    return "".join(out)


def quoted(text: str) -> str:
    """As Go's %q, of what a parameter can hold; a long one is cut."""
    shown = text if len(text) <= 200 else text[:200] + "..."
    return (
        '"' + shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t") + '"'
    )
