"""The series lines of Prometheus' test language: ``metric{label="value"} 1 2+3x4 _ stale {{schema:0 ...}}x2``."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from agent.promql.lex import IDENTIFIER, TEXT, tokens_of, unquote
from agent.promql.values import STALE_NAN_BITS
from agent.telemetry.labels import METRIC_NAME, Labels, labels_of
from agent.telemetry.native import FloatHistogram, parse_series

STALE = struct.unpack("<d", struct.pack("<Q", STALE_NAN_BITS))[0]
STALE_HISTOGRAM = FloatHistogram(sum=STALE)

_LITERAL = r"\{\{.*?\}\}"
_ITEM = re.compile(rf"\s*({_LITERAL}(?:\s*[+-]\s*{_LITERAL})?(?:\s*x\s*\d+)?|\S+)")
_NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[Ii]nf|[Nn]a[Nn])"
_RUN = re.compile(
    rf"({_NUMBER})(?:([+-](?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[Ii]nf|[Nn]a[Nn])))?(?:x(\d+))?"
)
_EMPTY = re.compile(r"_(?:x(\d+))?")
_STALE = re.compile(r"stale(?:x(\d+))?")


@dataclass(frozen=True, slots=True)
class Point:
    """A float or a histogram; ``hinted``: the text named a counter reset hint."""

    value: float | FloatHistogram
    hinted: bool = False


Points = list[Point | None]


def series_of(line: str) -> tuple[Labels, Points]:
    """Labels and points of a line; a place without a point is None. Raises ValueError."""
    end = _labels_end(line)
    return labels_text(line[:end]), points_of(line[end:])


def _labels_end(line: str) -> int:
    """Where the labels end: behind the brace that closes, or before the first space."""
    name = re.match(r"\s*[a-zA-Z_:][a-zA-Z0-9_:]*", line)
    start = name.end() if name else 0
    opening = re.match(r"\s*\{(?!\{)", line[start:])
    if opening is None:
        return start
    pos, quote = start + opening.end(), ""
    while pos < len(line):
        letter = line[pos]
        if quote:
            pos += letter == "\\" and quote != "`"
            quote = "" if letter == quote else quote
        elif letter in "\"'`":
            quote = letter
        elif letter == "}":
            return pos + 1
        pos += 1
    raise ValueError(f"labels without an end: {line!r}")


def labels_text(text: str) -> Labels:
    """``metric{label="value"}``, ``{"metric", "label"="value"}``."""
    pairs: dict[str, str] = {}
    tokens = tokens_of(text)
    at = 0
    if tokens and tokens[0].kind == IDENTIFIER:
        pairs[METRIC_NAME] = tokens[0].text
        at = 1
    words = [token for token in tokens[at:] if token.text not in ("{", "}", ",")]
    at = 0
    while at < len(words):
        name = unquote(words[at].text) if words[at].kind == TEXT else words[at].text
        if at + 1 < len(words) and words[at + 1].text == "=":
            pairs[name] = unquote(words[at + 2].text)
            at += 3
        else:
            pairs[METRIC_NAME] = name
            at += 1
    return labels_of(pairs)


def points_of(text: str) -> Points:
    out: Points = []
    pos = 0
    while text[pos:].strip():
        found = _ITEM.match(text, pos)
        if found is None:
            raise ValueError(f"no point: {text[pos:]!r}")
        out += _item(found.group(1))
        pos = found.end()
    return out


def _item(item: str) -> Points:
    if item.startswith("{{"):
        hinted = "counter_reset_hint" in item
        return [Point(histogram, hinted) for histogram in parse_series(item)]
    if found := _EMPTY.fullmatch(item):
        return [None] * int(found.group(1) or 1)
    if found := _STALE.fullmatch(item):
        return [Point(STALE)] * (int(found.group(1) or 0) + 1)
    found = _RUN.fullmatch(item)
    if found is None:
        raise ValueError(f"no point: {item!r}")
    value, step, times = float(found.group(1)), float(found.group(2) or 0), int(found.group(3) or 0)
    out: Points = []
    for _ in range(times + 1):
        out.append(Point(value))
        value = value + step if found.group(2) else value
    return out
