"""The labels of the Prometheus series that an OTLP data point becomes; read once a series.

As Prometheus 3 does it: ``job`` is service.namespace/service.name and ``instance`` service.instance.id, both
stronger than attributes of these names; attributes whose names become the same label are joined by ``;`` in
the order of their keys; resource attributes become labels only where they are promoted, all the others stand
on ``target_info``; the scope becomes ``otel_scope_*`` labels only where that is switched on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

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
from agent.telemetry.labels import METRIC_NAME, encode_labels
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

ATTRIBUTES_FIELD = (7, 7, 9, 1, 7)  # of a data point, by METRIC_*
MAX_KNOWN = 100_000  # attributes remembered
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


Encoded = Mapping[str, bytes]
"""Labels by name, each as its ``Label`` message in canonical bytes; an absent one is empty."""


@lru_cache(maxsize=1 << 16)
def encode_label(name: str, value: str) -> bytes:
    return encode_labels(((name, value),)) if value else b""


def canonical(labels: Encoded) -> bytes:
    """The canonical bytes of a label set."""
    return b"".join([labels[name] for name in sorted(labels)])


@dataclass(frozen=True, slots=True)
class Attribute:
    """``label`` is empty where nothing is left of the key."""

    key: str
    value: str
    label: str
    encoded: bytes


class Attributes:
    """KeyValue messages as labels; those that come often are read once."""

    def __init__(self, translation: Translation) -> None:
        self.translation = translation
        self._known: dict[bytes, Attribute] = {}

    def of(self, messages: Iterable[bytes]) -> list[Attribute]:
        known = self._known
        return [known.get(message) or self._read(message) for message in messages]

    def _read(self, message: bytes) -> Attribute:
        ((key, value),) = attributes([message]).items()
        label, shown = label_name(key, self.translation.strategy), attribute_text(value)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        found = self._known[message] = Attribute(key, shown, label, encode_label(label, shown))
        return found


def joined(found: Sequence[Attribute]) -> dict[str, bytes]:
    """The labels of attributes. Of a key that comes twice the last value holds; values of keys that become the
    same label are joined. Raises Untranslatable."""
    labels = {one.label: one.encoded for one in found}
    if "" in labels:
        raise Untranslatable("bad_label_name")
    if len(labels) < len(found):
        values: dict[str, list[str]] = {}
        for one in sorted({one.key: one for one in found}.values(), key=lambda one: one.key.encode()):
            values.setdefault(one.label, []).append(one.value)
        labels = {label: encode_label(label, ";".join(texts)) for label, texts in values.items()}
    return labels


@dataclass(frozen=True, slots=True)
class Resource:
    """What the series of a resource have in common: the labels ``job`` and ``instance``, the attributes that
    are promoted (weaker than those of a point), and the labels of ``target_info``, empty where it says nothing."""

    identity: Encoded
    promoted: Encoded
    target: bytes


def resource_of(message: bytes, reader: Attributes) -> Resource:
    """Reads a Resource message."""
    found = {one.key: one for one in reader.of(content_of(message, 1))}
    identity = {}
    if "service.name" in found:
        job = found["service.name"].value
        if "service.namespace" in found:
            job = f"{found['service.namespace'].value}/{job}"
        identity["job"] = encode_label("job", job)
    if "service.instance.id" in found:
        identity["instance"] = encode_label("instance", found["service.instance.id"].value)
    promoted: dict[str, bytes] = {}
    for key in sorted(reader.translation.promote_resource_attributes & found.keys()):
        if found[key].label:
            promoted.setdefault(found[key].label, found[key].encoded)
    return Resource(identity, promoted, _target(found, identity, reader.translation))


def _target(found: Mapping[str, Attribute], identity: Encoded, translation: Translation) -> bytes:
    telling = [one for key, one in found.items() if key not in IDENTIFYING]
    if not translation.target_info or not telling or not identity:
        return b""
    shown = list(found.values()) if translation.keep_identifying_attributes else telling
    try:
        labels = joined(shown)
    except Untranslatable:
        return b""
    return canonical({**labels, **identity, METRIC_NAME: encode_label(METRIC_NAME, TARGET_INFO)})


def scope_of(scope: bytes, schema_url: str, reader: Attributes) -> Encoded:
    """The labels of an InstrumentationScope message; one without a name has none."""
    texts = {1: "", 2: ""}
    for number, content in message_fields(scope):
        if number in texts and isinstance(content, bytes):
            texts[number] = text(content)
    if not texts[1]:
        return {}
    named = {"name": texts[1], "version": texts[2], "schema_url": schema_url}
    labels = {f"otel_scope_{key}": value for key, value in named.items()}
    for one in reader.of(content_of(scope, 3)):
        labels[label_name("otel_scope_" + one.key, reader.translation.strategy)] = one.value
    return {name: encode_label(name, value) for name, value in labels.items()}


class Point:
    """One data point, whose numbers become one or several series."""

    def __init__(self, message: bytes, kind: int, own: Sequence[Attribute]) -> None:
        self._message, self._kind = message, kind
        self._own = joined(own)
        self._bounds: list[float] | None = None

    def base(self, resource: Resource, scope: Encoded) -> dict[str, bytes]:
        """The labels that all series of the point share, without a name."""
        return {**resource.promoted, **self._own, **scope, **resource.identity}

    def part(self, component: int) -> tuple[str, Encoded]:
        """``(suffix of the name, further labels)`` of a number of the point, by its component."""
        if component == COMPONENT_COUNT and self._kind != METRIC_EXP_HISTOGRAM:
            return "_count", {}
        if component == COMPONENT_SUM:
            return "_sum", {}
        if component >= COMPONENT_PART and self._kind == METRIC_HISTOGRAM:
            return "_bucket", {"le": _bound_label("le", self.bounds()[component - COMPONENT_PART])}
        if component >= COMPONENT_PART and self._kind == METRIC_SUMMARY:
            return "", {"quantile": _bound_label("quantile", self._quantile(component - COMPONENT_PART))}
        return "", {}

    def bounds(self) -> list[float]:
        """The upper bounds of a histogram's buckets, the last one +Inf."""
        if self._bounds is None:
            self._bounds = bounds_of(self._message)
        return self._bounds

    def _quantile(self, place: int) -> float:
        quantile = dict(message_fields(content_of(self._message, _QUANTILES_FIELD)[place])).get(1, 0)
        return double(quantile) if isinstance(quantile, int) else 0.0


def bounds_of(point: bytes) -> list[float]:
    """The upper bounds of the buckets of a HistogramDataPoint, the last one +Inf."""
    bounds: list[float] = []
    for number, content in message_fields(point):
        if number == _BOUNDS_FIELD:
            packed = content if isinstance(content, bytes) else content.to_bytes(8, "little")
            bounds += [bound for (bound,) in _F64.iter_unpack(packed)]
    return [*bounds, float("inf")]


LAST_BUCKET: Encoded = {"le": encode_label("le", "+Inf")}


@lru_cache(maxsize=1 << 12)
def _bound_label(name: str, bound: float) -> bytes:
    return encode_label(name, number_text(bound))


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


def target_times(first_ms: int, last_ms: int) -> list[int]:
    """When a resource's ``target_info`` is written: where its points begin and end, and often enough between
    for every look-back of five minutes to find it."""
    step = max(TARGET_STEP_MS, (last_ms - first_ms) // MAX_TARGET_SAMPLES)
    return [*range(first_ms, last_ms, step), last_ms]


TARGET_STEP_MS = 150_000
MAX_TARGET_SAMPLES = 1000
