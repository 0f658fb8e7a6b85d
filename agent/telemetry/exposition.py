"""The Prometheus text format 0.0.4 (and 1.0.0, with quoted names), read line by line.

White space is free here, comments and blank lines may stand anywhere. ``parse_text`` gives whole families;
``series_labels`` reads what stands before the value of a sample, for the quick way of a scrape.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from agent.telemetry.openmetrics_lines import METRIC_NAME, number, unescape
from agent.telemetry.openmetrics_model import BadExposition, Family, LabelPairs, MetricType, Sample

_QUOTED = r'"((?:[^"\\\n]|\\[^\n])*)"'
_LABEL = re.compile(rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_QUOTED})[ \t]*=[ \t]*{_QUOTED}[ \t]*")
_NAME_IN_BRACES = re.compile(rf"[ \t]*{_QUOTED}[ \t]*")
_HELP_ESCAPE = re.compile(r"\\([\\n])")
_OPENING = re.compile(r"[ \t]*\{")
_WHITE = re.compile(r"[ \t]+")
TYPES = {kind.value: kind for kind in MetricType} | {"untyped": MetricType.UNKNOWN}
SUFFIXES = {
    MetricType.HISTOGRAM: ("_bucket", "_sum", "_count"),
    MetricType.SUMMARY: ("", "_sum", "_count"),
}


def series_labels(text: str) -> dict[str, str]:
    """The labels of ``name{label="value",...}`` with ``__name__`` among them; of labels without a value
    none is left out. Raises ``ValueError``."""
    pairs, end = _series(text)
    if text[end:].strip(" \t"):
        raise ValueError(f"got {text[end : end + 40]!r} after the labels")
    return pairs


def _series(text: str) -> tuple[dict[str, str], int]:
    named = METRIC_NAME.match(text)
    found = {"__name__": named[0]} if named else {}
    pos = named.end() if named else 0
    if opening := _OPENING.match(text, pos):
        pos = _braces(text, opening.end(), found)
    if not found.get("__name__"):
        raise ValueError(f"got {text[:40]!r}, expected a metric name")
    return found, pos


def _braces(text: str, pos: int, found: dict[str, str]) -> int:
    """Reads labels up to the closing brace into ``found``; a comma may follow the last one."""
    while True:
        while text.startswith((" ", "\t"), pos):
            pos += 1
        if text.startswith("}", pos):
            return pos + 1
        name, value, pos = _label(text, pos)
        if name in found:
            raise ValueError(f"the label {name!r} is there twice")
        found[name] = value
        if text.startswith(",", pos):
            pos += 1
        elif not text.startswith("}", pos):
            raise ValueError(f"got {text[pos : pos + 40]!r}, expected , or }} after a label")


def _label(text: str, pos: int) -> tuple[str, str, int]:
    if matched := _LABEL.match(text, pos):
        name = matched[1] or unescape(matched[2])
        return name, unescape(matched[3]), matched.end()
    if matched := _NAME_IN_BRACES.match(text, pos):
        return "__name__", unescape(matched[1]), matched.end()
    raise ValueError(f'got {text[pos : pos + 40]!r}, expected a label as name="value"')


def canonical_float(value: float) -> str:
    """A number as Prometheus writes it in ``le`` and ``quantile``: Go's shortest ``%g``, always recognisable
    as a float."""
    if math.isnan(value) or math.isinf(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    if value == 0:
        return "0.0"
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    text, power = "".join(map(str, digits)), len(digits) + int(exponent) - 1
    if power < -4 or power >= 6:
        fraction = f".{text[1:]}" if len(text) > 1 else ""
        return f"{'-' * sign}{text[0]}{fraction}e{'-' if power < 0 else '+'}{abs(power):02d}"
    plain = format(Decimal((sign, digits, int(exponent))), "f")
    return plain if "." in plain else f"{plain}.0"


def canonical_label(text: str) -> str:
    """The value of ``le`` or ``quantile`` as ``canonical_float`` writes it; as it is where it is no number."""
    try:
        return canonical_float(number(text))
    except ValueError:
        return text


def comment(line: str) -> tuple[str, str, str] | None:
    """``(HELP | TYPE | UNIT, metric, text)`` of a comment that is metadata, else None."""
    fields = _WHITE.split(line, 3)
    if len(fields) < 3 or fields[0] != "#" or fields[1] not in ("HELP", "TYPE", "UNIT"):
        return None
    name = fields[2]
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = unescape(name[1:-1])
    text = fields[3] if len(fields) > 3 else ""
    if fields[1] == "HELP":
        return "HELP", name, _HELP_ESCAPE.sub(lambda found: "\n" if found[1] == "n" else "\\", text)
    return fields[1], name, text.strip(" \t")


def parse_text(body: bytes) -> list[Family]:
    """The families of an exposition in the order of their first line. Raises ``BadExposition``."""
    try:
        lines = body.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        place = body.count(b"\n", 0, error.start) + 1
        raise BadExposition(place, f"the text is not UTF-8 ({error.reason})") from None
    reader = _Reader()
    for place, line in enumerate(lines, 1):
        try:
            reader.take(line.strip(" \t"))
        except ValueError as error:
            raise BadExposition(place, str(error)) from None
    return reader.families()


class _Reader:
    def __init__(self) -> None:
        self._metadata: dict[str, dict[str, str]] = {}
        self._samples: dict[str, list[Sample]] = {}
        self._series: set[tuple[str, LabelPairs]] = set()

    def take(self, line: str) -> None:
        if line.startswith("#"):
            self._comment(line)
        elif line:
            self._sample(line)

    def families(self) -> list[Family]:
        return [
            Family(
                name,
                TYPES[self._metadata[name].get("TYPE", "untyped")],
                self._metadata[name].get("HELP", ""),
                self._metadata[name].get("UNIT", ""),
                samples,
            )
            for name, samples in self._samples.items()
        ]

    def _comment(self, line: str) -> None:
        found = comment(line)
        if found is None:
            return
        what, name, text = found
        known = self._metadata.setdefault(name, {})
        if what in known:
            raise ValueError(f"a second {what} line for {name}")
        if what == "TYPE" and text not in TYPES:
            raise ValueError(f"type: got {text!r}, expected one of {', '.join(TYPES)}")
        if what == "TYPE" and self._samples.get(name):
            raise ValueError(f"the TYPE of {name} comes after its samples")
        known[what] = text
        self._samples.setdefault(name, [])

    def _sample(self, line: str) -> None:
        pairs, end = _series(line)
        fields = _WHITE.split(line[end:].strip(" \t"))
        if not 1 <= len(fields) <= 2 or not fields[0]:
            raise ValueError(
                f"got {line[end:][:60]!r} after the series, expected a value and perhaps a timestamp"
            )
        name = pairs.pop("__name__")
        value = number(fields[0])
        time_s = Decimal(milliseconds(fields[1])) / 1000 if len(fields) == 2 else None
        family = self._family(name)
        sample = Sample(name, tuple(pairs.items()), value, time_s)
        series = name, tuple(sorted(sample.labels))
        if series in self._series and time_s is None:
            raise ValueError(f"{name} is there twice with the same labels")
        self._series.add(series)
        self._metadata.setdefault(family, {})
        self._samples.setdefault(family, []).append(sample)

    def _family(self, name: str) -> str:
        for suffix in ("_bucket", "_sum", "_count"):
            family = name.removesuffix(suffix)
            kind = TYPES.get(self._metadata.get(family, {}).get("TYPE", ""))
            if family != name and kind is not None and suffix in SUFFIXES.get(kind, ()):
                return family
        return name


def milliseconds(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,19}", text):
        raise ValueError(f"got {text!r}, expected a timestamp in whole milliseconds")
    value = int(text)
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"the timestamp {text} does not fit into 64 bits")
    return value
