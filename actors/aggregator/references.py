"""References: what a statement of an answer points at, read from the text that ``agent.rootcause.answer`` documents.

Service and instance hold no ``/``; what follows them (metric, operation) may, and may hold ``@``: the
range is what stands after the last one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from actors.aggregator.reading import NS, BadRequest

FORMATS = (
    "trace:<32 hex digits>",
    "log:<number>",
    "series:<service>/<instance>/<metric>@<start_s>..<end_s>",
    "red:<service>/<operation>@<start_s>..<end_s>",
    "change:<service>@<time_s>",
)

_TRACE = re.compile(r"[0-9a-fA-F]{32}")
_RANGE = re.compile(r"(.*)@(\d+(?:\.\d+)?)\.\.(\d+(?:\.\d+)?)", re.DOTALL)
_MOMENT = re.compile(r"(.*)@(\d+(?:\.\d+)?)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TraceReference:
    trace_id: str


@dataclass(frozen=True, slots=True)
class LogReference:
    ref: int


@dataclass(frozen=True, slots=True)
class SeriesReference:
    service: str
    instance: str
    metric: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class RedReference:
    """``operation`` is empty for the whole service."""

    service: str
    operation: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class ChangeReference:
    service: str
    time_ns: int


Reference = TraceReference | LogReference | SeriesReference | RedReference | ChangeReference


def parse_reference(text: str) -> Reference:
    kind, _, rest = text.partition(":")
    reference = _PARSERS[kind](rest) if kind in _PARSERS else None
    if reference is None:
        hint = "write one of " + "   ".join(FORMATS)
        raise BadRequest("bad_reference", f"reference: got {text[:200]!r}", hint)
    return reference


def parse_trace_id(text: str) -> str:
    if not _TRACE.fullmatch(text):
        raise BadRequest("bad_trace_id", f"trace id: got {text[:64]!r}", "write its 32 hexadecimal digits")
    return text.lower()


def _trace(rest: str) -> Reference | None:
    return TraceReference(rest.lower()) if _TRACE.fullmatch(rest) else None


def _log(rest: str) -> Reference | None:
    return LogReference(int(rest)) if rest.isascii() and rest.isdigit() and int(rest) < 1 << 63 else None


def _series(rest: str) -> Reference | None:
    found = _RANGE.fullmatch(rest)
    parts = found.group(1).split("/", 2) if found else []
    if found is None or len(parts) != 3:
        return None
    start_ns, end_ns = _span_ns(found)
    return SeriesReference(parts[0], parts[1], parts[2], start_ns, end_ns) if start_ns <= end_ns else None


def _red(rest: str) -> Reference | None:
    found = _RANGE.fullmatch(rest)
    if found is None:
        return None
    service, _, operation = found.group(1).partition("/")
    start_ns, end_ns = _span_ns(found)
    return RedReference(service, operation, start_ns, end_ns) if service and start_ns <= end_ns else None


def _change(rest: str) -> Reference | None:
    found = _MOMENT.fullmatch(rest)
    return ChangeReference(found.group(1), round(float(found.group(2)) * NS)) if found else None


def _span_ns(found: re.Match[str]) -> tuple[int, int]:
    return round(float(found.group(2)) * NS), round(float(found.group(3)) * NS)


_PARSERS = {"trace": _trace, "log": _log, "series": _series, "red": _red, "change": _change}
