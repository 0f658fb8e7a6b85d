"""From rows of a MetricBatch to the canonical labels of their series: what runs once a series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agent.telemetry.batch import (
    COMPONENT_COUNT,
    COMPONENT_PART,
    METRIC_GAUGE,
    METRIC_HISTOGRAM,
    METRIC_SUMMARY,
    TEMPORALITY_UNSPECIFIED,
    MetricBatch,
)
from agent.telemetry.frames import I64, U64
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.otlp_attributes import text
from agent.telemetry.otlp_prometheus_labels import (
    ATTRIBUTES_FIELD,
    LAST_BUCKET,
    Attributes,
    Encoded,
    Family,
    Point,
    Resource,
    Untranslatable,
    canonical,
    encode_label,
    family_of,
    instrument_of,
    resource_of,
    scope_of,
)
from agent.telemetry.otlp_prometheus_table import attribute_spans, find_scope

_FIELD = np.asarray(ATTRIBUTES_FIELD, np.int64)


class RowReader:
    """Reads rows of one batch; ``resources`` are those known by their hash, which ``of_block`` has by block."""

    def __init__(
        self, batch: MetricBatch, attributes: Attributes, resources: dict[int, Resource], of_block: U64
    ) -> None:
        self._batch, self._attributes, self._resources = batch, attributes, resources
        self._of_block = of_block
        self._raw = b""
        self._spans: dict[int, Sequence[tuple[int, int]]] = {}
        self._last_point: tuple[int, Point] | None = None
        self._last_family: tuple[int, Family] | None = None

    def prefetch(self, rows: I64) -> None:
        """Find the attributes of many rows at once, before ``describe`` asks for each."""
        batch = self._batch
        # A point's rows lie side by side; its attributes are found once.
        firsts = rows[np.diff(batch.point_off[rows], prepend=-1) != 0]
        first, spans = np.empty(len(firsts) + 1, np.int64), np.empty((2, 8 * len(firsts) + 8), np.int64)
        asked = batch.raw, firsts, batch.kind, _FIELD, batch.point_off, batch.point_len
        found = attribute_spans(*asked, first, spans)
        if found > spans.shape[1]:
            spans = np.empty((2, found), np.int64)
            attribute_spans(*asked, first, spans)
        self._raw = self._raw or batch.raw.tobytes()
        pairs = list(
            zip(spans[0, :found].tolist(), (spans[0, :found] + spans[1, :found]).tolist(), strict=True)
        )
        edges = first.tolist()
        points = batch.point_off[firsts].tolist()
        self._spans = {
            point: pairs[begin:end] for point, begin, end in zip(points, edges[:-1], edges[1:], strict=True)
        }

    def describe(self, row: int) -> list[bytes]:
        """The canonical labels of the series that a row leads to. Raises Untranslatable."""
        batch = self._batch
        kind, component = int(batch.kind[row]), int(batch.component[row])
        if kind not in (METRIC_GAUGE, METRIC_SUMMARY) and batch.temporality[row] == TEMPORALITY_UNSPECIFIED:
            raise Untranslatable("unspecified_temporality")
        family, point = self.family(row), self.point(row)
        suffix, more = point.part(component)
        if kind == METRIC_HISTOGRAM and component >= COMPONENT_PART and more == LAST_BUCKET:
            return []  # the count says it
        base = point.base(self.resource(int(batch.block[row])), self._scope(row))
        found = [_series(base, family.name + suffix, more)]
        if kind == METRIC_HISTOGRAM and component == COMPONENT_COUNT:
            found.append(_series(base, family.name + "_bucket", LAST_BUCKET))
        return found

    def family(self, row: int) -> Family:
        """Raises Untranslatable."""
        metric = int(self._batch.metric_off[row])
        if self._last_family is None or self._last_family[0] != metric:
            strategy = self._attributes.translation.strategy
            self._last_family = metric, family_of(*instrument_of(self._batch, row), strategy)
        return self._last_family[1]

    def point(self, row: int) -> Point:
        """Raises Untranslatable."""
        off = int(self._batch.point_off[row])
        if self._last_point is None or self._last_point[0] != off:
            own = self._attributes.of([self._raw[begin:end] for begin, end in self._spans[off]])
            message = self._raw[off : off + int(self._batch.point_len[row])]
            self._last_point = off, Point(message, int(self._batch.kind[row]), own)
        return self._last_point[1]

    def resource(self, block: int) -> Resource:
        key = int(self._of_block[block])
        found = self._resources.get(key)
        if found is None:
            off, length = int(self._batch.resource_off[block]), int(self._batch.resource_len[block])
            message = self._batch.raw[off : off + length].tobytes()
            found = self._resources[key] = resource_of(message, self._attributes)
        return found

    def _scope(self, row: int) -> Encoded:
        if not self._attributes.translation.promote_scope:
            return {}
        batch, block = self._batch, int(self._batch.block[row])
        off = int(batch.block_off[block])
        end = off + int(batch.block_len[block])
        scope, size, url, url_size, _ = find_scope(batch.raw, off, end, int(batch.metric_off[row]))
        schema_url = text(batch.raw[url : url + url_size].tobytes())
        return scope_of(batch.raw[scope : scope + size].tobytes(), schema_url, self._attributes)


def _series(base: Encoded, name: str, more: Encoded) -> bytes:
    return canonical({**base, **more, METRIC_NAME: encode_label(METRIC_NAME, name)})
