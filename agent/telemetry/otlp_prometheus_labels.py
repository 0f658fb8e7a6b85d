"""The labels of the Prometheus series that an OTLP data point becomes; read once a series.

As Prometheus 3 does it: ``job`` is service.namespace/service.name and ``instance`` service.instance.id, both
stronger than attributes of these names; attributes whose names become the same label are joined by ``;`` in
the order of their keys; resource attributes become labels only where they are promoted, all the others stand
on ``target_info``; the scope becomes ``otel_scope_*`` labels only where that is switched on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from agent.settings import OtlpSettings
from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    COMPONENT_SUM,
    METRIC_EXP_HISTOGRAM,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_SUM,
    METRIC_SUMMARY,
    MetricBatch,
)
from agent.telemetry.frames import U8
from agent.telemetry.labels import METRIC_NAME, Labels, labels_of
from agent.telemetry.otlp_attributes import attributes, content_of, double, message_fields, text
from agent.telemetry.unit_names import (
    Instrument,
    Strategy,
    attribute_text,
    label_name,
    metric_name,
    number_text,
    unit_word,
)

TARGET_INFO = "target_info"
IDENTIFYING = ("service.namespace", "service.name", "service.instance.id")

_ATTRIBUTES_FIELD = (7, 7, 9, 1, 7)
_BOUNDS_FIELD, _QUANTILES_FIELD = 7, 6
_F64 = struct.Struct("<d")


class Untranslatable(ValueError):
    """A series that has no name in Prometheus. ``reason`` is what it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Translation:
    """How OTLP becomes Prometheus series; the defaults are those of Prometheus 3."""

    strategy: Strategy = Strategy.ESCAPED_WITH_SUFFIXES
    promote_resource_attributes: frozenset[str] = frozenset()
    keep_identifying_attributes: bool = False
    promote_scope: bool = False
    target_info: bool = True

    @classmethod
    def of(cls, settings: OtlpSettings) -> Translation:
        promoted = (name.strip() for name in settings.promote_resource_attributes.split(","))
        return cls(
            Strategy(settings.translation_strategy),
            frozenset(name for name in promoted if name),
            settings.keep_identifying_attributes,
            settings.promote_scope_metadata,
        )


@dataclass(frozen=True, slots=True)
class Family:
    """What metadata say of a metric: ``kind`` is Prometheus' type."""

    name: str
    kind: str
    help: str
    unit: str


@dataclass(frozen=True, slots=True)
class Resource:
    """What the series of a resource have in common: the labels ``job`` and ``instance``, the attributes that
    are promoted (weaker than those of a point), and the labels of ``target_info``, None where it says nothing."""

    identity: Mapping[str, str]
    promoted: Mapping[str, str]
    target: Labels | None


@dataclass(frozen=True, slots=True)
class Scope:
    """The labels of a scope, empty where scopes are not promoted."""

    labels: Mapping[str, str]


NO_SCOPE = Scope({})


def resource_of(raw: U8, off: int, length: int, translation: Translation) -> Resource:
    """Reads the Resource message at ``raw[off : off + length]``."""
    found = _texts(raw[off : off + length].tobytes(), 1)
    identity = {}
    if "service.name" in found:
        namespace = found.get("service.namespace")
        job = found["service.name"]
        identity["job"] = job if namespace is None else f"{namespace}/{job}"
    if "service.instance.id" in found:
        identity["instance"] = found["service.instance.id"]
    promoted = {}
    for key in sorted(translation.promote_resource_attributes & found.keys()):
        promoted.setdefault(_label(key, translation), found[key])
    return Resource(identity, promoted, _target(found, identity, translation))


def _target(found: Mapping[str, str], identity: Mapping[str, str], translation: Translation) -> Labels | None:
    telling = {key: value for key, value in found.items() if key not in IDENTIFYING}
    if not translation.target_info or not telling or not identity:
        return None
    shown = found if translation.keep_identifying_attributes else telling
    try:
        joined = _joined(shown, translation)
    except Untranslatable:
        return None
    return labels_of({**joined, **identity, METRIC_NAME: TARGET_INFO})


def scope_of(scope: bytes, schema_url: str, translation: Translation) -> Scope:
    """The labels of an InstrumentationScope message; one without a name has none."""
    texts = {
        number: text(content)
        for number, content in message_fields(scope)
        if number in (1, 2) and isinstance(content, bytes)
    }
    if not texts.get(1):
        return NO_SCOPE
    labels = {
        "otel_scope_name": texts[1],
        "otel_scope_version": texts.get(2, ""),
        "otel_scope_schema_url": schema_url,
    }
    for key, value in _texts(scope, 3).items():
        labels[_label("otel_scope_" + key, translation)] = value
    return Scope(labels)


class Point:
    """One data point, whose numbers become one or several series."""

    def __init__(self, batch: MetricBatch, row: int, translation: Translation) -> None:
        off, length = int(batch.point_off[row]), int(batch.point_len[row])
        self._message = batch.raw[off : off + length].tobytes()
        self._kind = int(batch.kind[row])
        self._own = _joined(_texts(self._message, _ATTRIBUTES_FIELD[self._kind]), translation)

    def base(self, resource: Resource, scope: Scope) -> dict[str, str]:
        """The labels that all series of the point share, without a name."""
        return {**resource.promoted, **self._own, **scope.labels, **resource.identity}

    def part(self, component: int) -> tuple[str, dict[str, str]]:
        """``(suffix of the name, further labels)`` of a number of the point, by its component."""
        if component == COMPONENT_COUNT and self._kind != METRIC_EXP_HISTOGRAM:
            return "_count", {}
        if component == COMPONENT_SUM:
            return "_sum", {}
        if component >= COMPONENT_PART and self._kind == METRIC_HISTOGRAM:
            return "_bucket", {"le": number_text(self.bounds()[component - COMPONENT_PART])}
        if component >= COMPONENT_PART and self._kind == METRIC_SUMMARY:
            return "", {"quantile": number_text(self._quantile(component - COMPONENT_PART))}
        return "", {}

    def bounds(self) -> list[float]:
        """The upper bounds of a histogram's buckets, the last one +Inf."""
        bounds: list[float] = []
        for number, content in message_fields(self._message):
            if number == _BOUNDS_FIELD:
                packed = content if isinstance(content, bytes) else content.to_bytes(8, "little")
                bounds += [bound for (bound,) in _F64.iter_unpack(packed)]
        return [*bounds, float("inf")]

    def _quantile(self, place: int) -> float:
        quantile = dict(message_fields(content_of(self._message, _QUANTILES_FIELD)[place])).get(1, 0)
        return double(quantile) if isinstance(quantile, int) else 0.0


def instrument_of(batch: MetricBatch, row: int) -> tuple[Instrument, str]:
    """What decides the name of the metric of a row, and its description."""
    off, length = int(batch.metric_off[row]), int(batch.metric_len[row])
    texts = {1: "", 2: "", 3: ""}
    for number, content in message_fields(batch.raw[off : off + length].tobytes()):
        if number in texts and isinstance(content, bytes):
            texts[number] = text(content)
    kind, monotonic = int(batch.kind[row]), bool(batch.monotonic[row])
    return Instrument(texts[1], texts[3], kind, monotonic), texts[2]


def family_of(instrument: Instrument, description: str, strategy: Strategy) -> Family:
    """Raises Untranslatable where nothing of the name is left."""
    name = metric_name(instrument, strategy)
    if not name:
        raise Untranslatable("bad_metric_name")
    return Family(name, _prometheus_type(instrument), description, unit_word(instrument.unit, strategy))


def _prometheus_type(instrument: Instrument) -> str:
    if instrument.kind == METRIC_SUM:
        return "counter" if instrument.monotonic else "gauge"
    return {METRIC_GAUGE: "gauge", METRIC_SUMMARY: "summary"}.get(instrument.kind, "histogram")


def _texts(message: bytes, field: int) -> dict[str, str]:
    found: Mapping[str, Any] = attributes(content_of(message, field))
    return {key: attribute_text(value) for key, value in found.items()}


def _joined(found: Mapping[str, str], translation: Translation) -> dict[str, str]:
    labels: dict[str, str] = {}
    for key in sorted(found, key=str.encode):
        name = _label(key, translation)
        labels[name] = f"{labels[name]};{found[key]}" if name in labels else found[key]
    return labels


def _label(key: str, translation: Translation) -> str:
    name = label_name(key, translation.strategy)
    if not name:
        raise Untranslatable("bad_label_name")
    return name


def target_times(first_ms: int, last_ms: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """When a resource's ``target_info`` is written: where its points begin and end, and often enough between
    for every look-back of five minutes to find it."""
    step = max(TARGET_STEP_MS, (last_ms - first_ms) // MAX_TARGET_SAMPLES)
    times = np.arange(first_ms, last_ms, step, dtype=np.int64)
    return np.append(times, np.int64(last_ms))


TARGET_STEP_MS = 150_000
MAX_TARGET_SAMPLES = 1000
