"""A strict parser of the OpenMetrics 1.0 text format: what the specification forbids is refused.

This is the judge of an exposition (``parse``), not the way of a scrape: that takes what Prometheus takes and
is quick (``agent.telemetry.scrape_cache``). A point where the specification asks exposers and not parsers for
something (canonical numbers, escapes) is accepted, as it says there.
"""

from __future__ import annotations

import re

from agent.telemetry.openmetrics_lines import METRIC_NAME, UNIT, sample, unescape
from agent.telemetry.openmetrics_model import BadExposition, Family, MetricType, Sample
from agent.telemetry.openmetrics_rules import NO_UNIT, FamilyCheck, suffixes

CONTENT_TYPE = "application/openmetrics-text"
EOF = "# EOF"
_DESCRIPTOR = re.compile(rf"# (TYPE|HELP|UNIT) ({METRIC_NAME.pattern}) (.*)", re.DOTALL)


def parse(body: bytes) -> list[Family]:
    """The families of an exposition. Raises ``BadExposition`` naming the line and what is wrong with it."""
    lines = _lines(body)
    reader = _Reader()
    for place, line in enumerate(lines, 1):
        try:
            reader.take(line)
        except ValueError as error:
            raise BadExposition(place, str(error)) from None
    try:
        reader.end_family()
    except ValueError as error:
        raise BadExposition(len(lines), str(error)) from None
    return reader.families


def _lines(body: bytes) -> list[str]:
    """The lines before ``# EOF``."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BadExposition(line, f"the text is not UTF-8 ({error.reason})") from None
    if text.startswith("\ufeff"):
        raise BadExposition(1, "a byte order mark is not allowed")
    lines = text.removesuffix("\n").split("\n")
    if EOF not in lines:
        raise BadExposition(len(lines), "the exposition does not end with # EOF")
    end = lines.index(EOF)
    if end != len(lines) - 1:
        raise BadExposition(end + 2, "text after # EOF")
    return lines[:end]


class _Reader:
    """Families one after the other; ``_claimed`` are the sample names that belong to those already read, and
    to the one at hand."""

    def __init__(self) -> None:
        self.families: list[Family] = []
        self._claimed: set[str] = set()
        self._name: str | None = None
        self._descriptors: dict[str, str] = {}
        self._samples: list[Sample] = []
        self._allowed: tuple[str, ...] = ()
        self._check: FamilyCheck | None = None

    def take(self, line: str) -> None:
        if not line:
            raise ValueError("a blank line")
        if line.endswith("\r"):
            raise ValueError("a carriage return; lines end with a line feed")
        if line.startswith("#"):
            self._descriptor(line)
        else:
            self._sample(sample(line))

    def end_family(self) -> None:
        if self._name is None:
            return
        kind = self._kind()
        if self._check:
            self._check.close()
        for name in {self._name, *self._allowed}:
            if name in self._claimed:
                raise ValueError(f"the name {name} belongs to two families, or its family is interleaved")
            self._claimed.add(name)
        unit = self._descriptors.get("UNIT", "")
        if unit and not self._name.endswith(f"_{unit}"):
            raise ValueError(f"the unit {unit!r} is not the end of the name {self._name}")
        if unit and kind in NO_UNIT:
            raise ValueError(f"the {kind} {self._name} cannot have a unit")
        text = unescape(self._descriptors.get("HELP", ""))
        self.families.append(Family(self._name, kind, text, unit, self._samples))
        self._name = None

    def _begin(self, name: str) -> None:
        self.end_family()
        self._name, self._descriptors, self._samples, self._check = name, {}, [], None
        self._allowed = (name,)

    def _kind(self) -> MetricType:
        return MetricType(self._descriptors.get("TYPE", MetricType.UNKNOWN))

    def _descriptor(self, line: str) -> None:
        matched = _DESCRIPTOR.fullmatch(line)
        if matched is None:
            raise ValueError(f"got {line[:60]!r}, expected # TYPE, # HELP or # UNIT with a name and a value")
        what, name, value = matched.groups()
        if name != self._name:
            self._begin(name)
        elif self._samples:
            raise ValueError(f"# {what} {name} comes after samples of {name}")
        if what in self._descriptors:
            raise ValueError(f"# {what} {name} is there twice")
        if what == "TYPE":
            if value not in MetricType.__members__.values():
                raise ValueError(f"type: got {value!r}, expected one of {', '.join(MetricType)}")
            self._allowed = tuple(name + suffix for suffix in suffixes(MetricType(value)))
        elif what == "UNIT" and not UNIT.fullmatch(value):
            raise ValueError(f"unit: got {value!r}, expected letters, digits, _ and :")
        self._descriptors[what] = value

    def _sample(self, found: Sample) -> None:
        if self._name is None or found.name not in self._allowed:
            self._begin(found.name)
        if self._check is None:
            self._check = FamilyCheck(self._kind(), self._name or "")
        self._check.add(found)
        self._samples.append(found)
