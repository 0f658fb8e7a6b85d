"""Names of OTLP metrics, units and attributes as Prometheus has them.

The rules are those of OpenTelemetry's compatibility specification (prometheus_and_openmetrics) as Prometheus 3
applies them to what it receives by OTLP. Escaping leaves letters, digits, ``_`` and, in metric names, ``:``.
Without escaping every name is taken as it is (UTF-8 names of Prometheus 3).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from agent.telemetry.batch import METRIC_GAUGE, METRIC_SUM


class Strategy(StrEnum):
    """How names are translated, by the names that Prometheus gives them in ``otlp.translation_strategy``."""

    ESCAPED_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    ESCAPED = "UnderscoreEscapingWithoutSuffixes"
    UTF8_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    UTF8 = "NoTranslation"

    @property
    def escapes(self) -> bool:
        return self in (Strategy.ESCAPED_WITH_SUFFIXES, Strategy.ESCAPED)

    @property
    def adds_suffixes(self) -> bool:
        return self in (Strategy.ESCAPED_WITH_SUFFIXES, Strategy.UTF8_WITH_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Instrument:
    """What of a metric decides its name. ``kind`` is METRIC_*; only a sum can be ``monotonic``."""

    name: str
    unit: str
    kind: int
    monotonic: bool

    @property
    def is_counter(self) -> bool:
        return self.kind == METRIC_SUM and self.monotonic

    @property
    def is_ratio(self) -> bool:
        """Counters of things come with unit 1 as well, so that only gauges are taken for ratios."""
        return self.kind == METRIC_GAUGE and self.unit == "1"


# UCUM's codes to the words of Prometheus; what is not here stays as it is written.
_UNITS = {
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds",
    "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds",
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tibibytes",
    "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER = {"s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year"}

_NOT_IN_TOKEN = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_METRIC = re.compile(r"[^a-zA-Z0-9:_]+")
_NOT_IN_LABEL = re.compile(r"[^a-zA-Z0-9_]")


def metric_name(instrument: Instrument, strategy: Strategy) -> str:
    """The name of the metric family; empty where nothing of the name is left."""
    if not strategy.escapes:
        return _suffixed(instrument) if strategy.adds_suffixes else instrument.name
    if strategy.adds_suffixes:
        name = "_".join(_tokens(instrument))
    else:
        name = "_".join(part for part in _NOT_IN_METRIC.split(instrument.name) if part)
    if name[:1].isdigit():
        name = "_" + name
    return name if name == instrument.name or name.strip("_") else ""


def label_name(key: str, strategy: Strategy) -> str:
    """The label of an attribute; empty where nothing of the key is left."""
    if not strategy.escapes:
        return key
    name = _NOT_IN_LABEL.sub("_", key)
    if name[:1].isdigit():
        name = "key_" + name
    elif name.startswith("_") and not name.startswith("__"):
        name = "key" + name
    return name if name.strip("_") else ""


def unit_word(unit: str, strategy: Strategy) -> str:
    """The unit as metadata say it: ``By/s`` is ``bytes_per_second``."""
    main, per = _unit_words(unit)
    if strategy.escapes:
        main, per = _clean(main), _clean(per)
    return "_".join(word for word in (main, per) if word).strip("_")


def number_text(value: float) -> str:
    """A bound or quantile as Prometheus writes the one of OTLP: the shortest digits, never an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")


def attribute_text(value: Any) -> str:
    """An attribute's value as a label has it: numbers as JSON of JavaScript has them (``1``, ``0.5``,
    ``1e+21``), lists and maps as JSON with sorted keys, nothing for null."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and not math.isfinite(value):
        return number_text(value)
    return _json(value)


def _json(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _json_float(value)
    if isinstance(value, list):
        return "[" + ",".join(_json(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_json_text(key)}:{_json(value[key])}" for key in sorted(value)) + "}"
    return _json_text(value) if isinstance(value, str) else str(value)


_HTML = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def _json_text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).translate(_HTML)


def _json_float(value: float) -> str:
    if not math.isfinite(value):
        return f'"{number_text(value)}"'
    if value != 0 and not 1e-6 <= abs(value) < 1e21:
        mantissa, exponent = repr(value).split("e")
        return f"{mantissa}e{exponent[0]}{exponent[1:].lstrip('0')}"
    return np.format_float_positional(value, trim="-")


def _tokens(instrument: Instrument) -> list[str]:
    tokens = [part for part in _NOT_IN_TOKEN.split(instrument.name) if part]
    main, per = (_clean(word) for word in _unit_words(instrument.unit))
    if main in tokens:
        main = ""
    per = "" if per == "per_" else per.removesuffix("_")
    if per in tokens:
        per = ""
    if per:
        main = main.removesuffix("_")
    tokens += [word for word in (main, per) if word]
    for wanted, suffix in ((instrument.is_counter, "total"), (instrument.is_ratio, "ratio")):
        if wanted:
            tokens = [*(token for token in tokens if token != suffix), suffix]
    return tokens


def _suffixed(instrument: Instrument) -> str:
    """The name as it is, with the suffixes that it does not have yet: unit, per unit, ``total``, ``ratio``."""
    name = instrument.name
    main, per = _unit_words(instrument.unit)
    last = "ratio" if instrument.is_ratio else "total" if instrument.is_counter else ""
    for suffix in (last, per):
        if suffix and name.endswith(suffix) and len(name) > len(suffix) + 1:
            name = name[: -len(suffix) - 1]
    if main and not name.endswith(main):
        name += "_" + main
    return "_".join([name, *(suffix for suffix in (per, last) if suffix)])


def _unit_words(unit: str) -> tuple[str, str]:
    """The words of ``main/per``; what stands in braces is a remark and no unit."""
    main, _, per = unit.partition("/")
    main, per = main.strip(), per.strip()
    main = "" if re.search(r"[{}]", main) else _UNITS.get(main, main)
    per = "" if re.search(r"[{}]", per) else _PER.get(per, per)
    return main, "per_" + per if per else ""


def _clean(word: str) -> str:
    return re.sub("_+", "_", _NOT_IN_TOKEN.sub("_", word)).removeprefix("_")
