"""Single lines of an OpenMetrics 1.0 exposition, held against the grammar of the specification.

One space is one space: the grammar has no other white space and no optional one. Every function raises
``ValueError`` with what is wrong; the caller knows the line.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from agent.telemetry.openmetrics_model import Exemplar, LabelPairs, Sample

METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
UNIT = re.compile(r"[a-zA-Z0-9_:]*")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[^\n])*)"')
_REAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SPECIAL = re.compile(r"[+-]?inf(?:inity)?|nan", re.IGNORECASE)
_ESCAPE = re.compile(r'\\([\\n"])')
_UNESCAPED = {"\\": "\\", "n": "\n", '"': '"'}
MAX_EXEMPLAR_CHARACTERS = 128
MAX_NUMBER_CHARACTERS = 1100  # the longest exact decimal of a float64 has 1,079


def unescape(text: str) -> str:
    """A backslash before anything but ``n``, a quote or a backslash stands for itself."""
    return _ESCAPE.sub(lambda found: _UNESCAPED[found[1]], text) if "\\" in text else text


def number(text: str) -> float:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise ValueError(f"a number of {len(text)} characters, expected at most {MAX_NUMBER_CHARACTERS}")
    if _REAL.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise ValueError(f"the number {text} is outside of the range of a float64")
        return value
    if _SPECIAL.fullmatch(text):
        return float(text)
    raise ValueError(f"got {text!r}, expected a number")


def timestamp(text: str) -> Decimal:
    """Seconds, exactly."""
    if not _REAL.fullmatch(text):
        raise ValueError(f"got {text!r}, expected a timestamp in seconds")
    number(text)
    return Decimal(text)


def labels(text: str, pos: int) -> tuple[LabelPairs, int]:
    """The label set whose brace opens at ``pos``, and the position behind its closing one."""
    found: list[tuple[str, str]] = []
    pos += 1
    while not (text.startswith("}", pos) and not found):
        matched = _LABEL.match(text, pos)
        if matched is None:
            raise ValueError(f'got {text[pos : pos + 40]!r}, expected a label as name="value"')
        name = matched[1]
        if name.startswith("__"):
            raise ValueError(f"label names that begin with __ are reserved, got {name!r}")
        if any(name == other for other, _ in found):
            raise ValueError(f"the label {name!r} is there twice")
        found.append((name, unescape(matched[2])))
        pos = matched.end()
        if text.startswith("}", pos):
            break
        if not text.startswith(",", pos):
            raise ValueError(f"got {text[pos : pos + 40]!r}, expected , or }} after a label")
        pos += 1
    return tuple(found), pos + 1


def sample(line: str) -> Sample:
    named = METRIC_NAME.match(line)
    if named is None:
        raise ValueError(f"got {line[:40]!r}, expected a metric name")
    pairs, pos = labels(line, named.end()) if line.startswith("{", named.end()) else ((), named.end())
    rest, mark, marked = line[pos:].partition(" # ")
    fields = rest.split(" ")
    if fields[0] or not 2 <= len(fields) <= 3:
        raise ValueError(f"got {rest[:60]!r} after the series, expected a value and perhaps a timestamp")
    return Sample(
        named[0],
        pairs,
        number(fields[1]),
        timestamp(fields[2]) if len(fields) == 3 else None,
        exemplar(marked) if mark else None,
    )


def exemplar(text: str) -> Exemplar:
    """The exemplar behind `` # ``."""
    if not text.startswith("{"):
        raise ValueError(f"got {text[:40]!r}, expected the labels of an exemplar in braces")
    pairs, pos = labels(text, 0)
    length = sum(len(name) + len(value) for name, value in pairs)
    if length > MAX_EXEMPLAR_CHARACTERS:
        raise ValueError(
            f"the labels of the exemplar have {length} characters, at most {MAX_EXEMPLAR_CHARACTERS} are allowed"
        )
    fields = text[pos:].split(" ")
    if fields[0] or not 2 <= len(fields) <= 3:
        raise ValueError(
            f"got {text[pos:][:60]!r}, expected the value of the exemplar and perhaps a timestamp"
        )
    return Exemplar(pairs, number(fields[1]), timestamp(fields[2]) if len(fields) == 3 else None)
