"""What a question asks about: a service it names, and how far back it looks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_UNITS_S = {"second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "m": 60, "hour": 3600, "h": 3600}
_AGO = re.compile(
    r"\b(?:(?P<n>\d+(?:\.\d+)?)|an?|one)\s*(?P<unit>seconds?|secs?|s|minutes?|mins?|m|hours?|h)\s+ago\b"
)
_WORD = re.compile(r"[a-z0-9]+")
# Ends of service names that people leave out.
_SUFFIXES = frozenset({"service", "svc", "server", "api", "app"})


@dataclass(frozen=True, slots=True)
class Scope:
    """``service`` ``None``: the whole system. ``ago_s``: how long before now the trouble was seen."""

    question: str
    service: str | None = None
    tenant: str = "default"
    ago_s: float = 0.0


def parse(question: str, known_services: Iterable[str], tenant: str = "default") -> Scope:
    """The scope of a question in plain words. Only services that are known are recognised, also
    without an end like ``-service``; of several named, the longest name wins."""
    text = question.lower()
    words = _WORD.findall(text)
    named = [s for s in known_services if _mentions(words, _WORD.findall(s.lower()))]
    service = max(named, key=lambda s: (len(s), s), default=None)
    return Scope(question=question, service=service, tenant=tenant, ago_s=_ago_s(text))


def _mentions(words: list[str], name: list[str]) -> bool:
    if not name:
        return False
    short = [part for part in name if part not in _SUFFIXES] or name
    variants = [name, short, ["".join(name)]]
    return any(
        words[i : i + len(parts)] == parts for parts in variants for i in range(len(words) - len(parts) + 1)
    )


def _ago_s(text: str) -> float:
    found = _AGO.search(text)
    if not found:
        return 0.0
    unit = found["unit"]
    return float(found["n"] or 1) * _UNITS_S.get(unit, _UNITS_S.get(unit.rstrip("s"), 0))
