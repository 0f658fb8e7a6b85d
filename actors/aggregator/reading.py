"""Reading a request: times, limits, names, bodies. Pure functions of texts; each refusal says what would be right.

Times are taken as RFC 3339 (``2023-01-29T08:50:00Z``), as Unix seconds (``1674982200.5``) or against now
(``now``, ``now-15m``, ``now+1h30m``). ``now`` is the event time of the tenant: for a system that sends
at this moment that is the clock, for a recorded day it is how far its replay has come.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from agent.errors import BadInput

NS = 1_000_000_000
MAX_TIME_S = 1 << 33  # the year 2242: what Unix nanoseconds in 64 bits can hold

_OFFSET = re.compile(r"now\s*(?:([+-])\s*((?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+))?")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_UNIT_S = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TENANT = re.compile(r"[A-Za-z0-9][\w.:-]{0,63}", re.ASCII)

TIME_HINT = "RFC 3339 (2023-01-29T08:50:00Z), Unix seconds (1674982200), now or now-15m"


class BadRequest(BadInput):
    """A request that the API refuses; ``hint`` says what would have been taken."""

    def __init__(self, reason: str, message: str, hint: str = "") -> None:
        super().__init__(reason, message)
        self.hint = hint

    def __reduce__(self) -> tuple[type[BadRequest], tuple[str, str, str]]:  # type: ignore[override]
        return type(self), (self.reason, self.message, self.hint)


def parse_time_ns(name: str, text: str, now_ns: int) -> int:
    """Unix nanoseconds of a time as people write it."""
    relative = _OFFSET.fullmatch(text.strip())
    if relative:
        sign, parts = relative.groups()
        shift_s = sum(float(n) * _UNIT_S[unit] for n, unit in _PART.findall(parts or ""))
        return now_ns + round(shift_s * NS) * (-1 if sign == "-" else 1)
    seconds = _absolute_s(text.strip())
    if seconds is None or not 0 <= seconds < MAX_TIME_S:
        raise BadRequest("bad_time", f"{name}: got {text!r}, which is not a time", f"write {TIME_HINT}")
    return round(seconds * NS)


def _absolute_s(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        pass
    try:
        # A plus sign that nobody encoded arrives as a space: 2023-01-29T08:50:00 01:00
        moment = datetime.fromisoformat(re.sub(r"(T[\d:.]+) (\d\d:?\d\d)$", r"\1+\2", text))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def parse_number(name: str, text: str, low: float, high: float) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not low <= number <= high:
        raise BadRequest("bad_number", f"{name}: got {text!r}", f"write a number from {low:g} to {high:g}")
    return number


def parse_choice(name: str, text: str, choices: tuple[str, ...]) -> str:
    if text not in choices:
        raise BadRequest("bad_choice", f"{name}: got {text!r}", f"write one of {', '.join(choices)}")
    return text


def parse_tenant(text: str) -> str:
    if not _TENANT.fullmatch(text):
        hint = "1 to 64 letters, digits, . _ : or -, in the header X-Scope-OrgID or as ?tenant="
        raise BadRequest("bad_tenant", f"tenant: got {text!r}", hint)
    return text


def check_known(given: Mapping[str, object], known: tuple[str, ...], what: str = "parameter") -> None:
    """Refuses names that nothing reads: a misspelt filter must not look like an empty result."""
    for name in given:
        if name not in known:
            hint = f"known here: {', '.join(known)}" if known else f"there are no {what}s here"
            raise BadRequest("unknown_parameter", f"unknown {what} {name!r}", hint)
