"""Times and durations as people type them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdwy])")
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdwy]))+")


def parse_span_s(text: str) -> float:
    """``1h30m``, ``15s``, ``0.5`` (seconds). Raises ValueError."""
    if _SPAN.fullmatch(text):
        seconds = sum(float(count) * _UNIT_S[unit] for count, unit in _PART.findall(text))
    else:
        seconds = _number(text)
    if not 0 < seconds < float("inf"):
        raise ValueError(f"got {text!r}, expected a duration such as 15s, 5m or 1h30m")
    return seconds


def parse_at_s(text: str, now_s: float) -> float:
    """Unix seconds of a time: RFC 3339, Unix seconds, ``now`` and ``now-15m``; empty is now. Raises ValueError."""
    text = text.strip()
    if text in ("", "now"):
        return now_s
    shift = re.fullmatch(r"now\s*([+-])\s*(\S+)", text)
    if shift:
        return now_s + parse_span_s(shift[2]) * (1 if shift[1] == "+" else -1)
    seconds = _number(text)
    if seconds == seconds and abs(seconds) < 1e13:
        return seconds
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"got {text!r}, expected a time such as 2023-01-29T08:50:00Z, 1674982200 or now-15m"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _number(text: str) -> float:
    return float(text) if re.fullmatch(r"[+-]?(\d+(\.\d*)?|\.\d+)", text) else float("nan")
