"""The label index against a list of label sets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.promql.values import Matcher
from agent.telemetry.labels import Labels, decode_labels, encode_labels, labels_of
from agent.windows.metrics import index as index_module
from agent.windows.metrics.index import LabelIndex, well_formed
from agent.windows.metrics.matching import takes

NAMES = st.sampled_from(["__name__", "job", "le", "zone"])
VALUES = st.sampled_from(["", "a", "b", "ab", "c\n", "é"])
SETS = st.lists(st.dictionaries(NAMES, VALUES, max_size=4).map(labels_of), max_size=30)
MATCHERS = st.builds(
    Matcher, NAMES | st.just("none"), st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["", "a", "b", "a|b", "a.*", ".+", ".*", "[ab]+", "nothing", "|a"]),
)  # fmt: skip


def add(index: LabelIndex, sets: Sequence[Labels]) -> None:
    encoded = [encode_labels(labels) for labels in sets]
    size = np.asarray([len(one) for one in encoded], np.int64)
    index.add(np.frombuffer(b"".join(encoded), np.uint8), np.cumsum(size) - size, size)


def indexed(sets: Sequence[Labels]) -> LabelIndex:
    index = LabelIndex()
    add(index, sets)
    return index


@given(SETS, SETS, st.lists(MATCHERS, max_size=3))
def test_select_is_what_every_matcher_takes(
    first: list[Labels], more: list[Labels], matchers: list[Matcher]
) -> None:
    index = indexed(first)
    for sets in (first, first + more):
        expected = [
            i
            for i, labels in enumerate(sets)
            if all(takes(matcher, dict(labels).get(matcher.name, "")) for matcher in matchers)
        ]
        assert index.select(matchers).tolist() == expected
        add(index, sets[len(index) :] or more)


def test_lists_are_made_anew_when_much_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "FRESH_SERIES", 4)
    index = LabelIndex()
    for i in range(100):
        add(index, [labels_of({"n": str(i % 7), "m": str(i)})])
        found = index.select([Matcher("n", "=~", "[35]")]).tolist()
        assert found == [k for k in range(i + 1) if k % 7 in (3, 5)]


@given(SETS)
def test_labels_come_back_as_a_table(sets: list[Labels]) -> None:
    index = indexed(sets)
    ids = np.arange(len(sets), dtype=np.int32)[::-1]
    table = index.labels(ids)
    assert table.rows() == sets[::-1]
    assert table.names == tuple(sorted({name for labels in sets for name, _ in labels}))


@given(SETS)
def test_canonical_bytes_come_back(sets: list[Labels]) -> None:
    sizes, raw = indexed(sets).canonical(np.arange(len(sets), dtype=np.int32))
    ends = np.cumsum(sizes).tolist()
    found = [decode_labels(raw[e - s : e].tobytes()) for e, s in zip(ends, sizes.tolist(), strict=True)]
    assert found == list(sets)


def test_long_labels_come_back() -> None:
    labels = labels_of({"a": "x" * 127, "b": "y" * 128, "c" * 300: "z" * 20_000})
    index = indexed([labels])
    assert index.label_set(0) == labels
    assert index.canonical(np.zeros(1, np.int32))[1].tobytes() == encode_labels(labels)


def test_an_index_of_some_series_knows_nothing_of_the_others() -> None:
    sets = [labels_of({"__name__": f"m{i % 2}", "n": str(i)}) for i in range(10)]
    kept = indexed(sets).kept(np.asarray([1, 3, 5], np.int32))
    assert kept.label_values("__name__") == ["m1"]
    assert kept.labels(kept.select([])).rows() == [sets[1], sets[3], sets[5]]


def test_names_and_values_of_some_series() -> None:
    index = indexed([labels_of({"a": "1"}), labels_of({"a": "2", "b": "1"})])
    some = index.select([Matcher("b", "!=", "")])
    assert index.label_names(some) == ["a", "b"]
    assert index.label_values("a", some) == ["2"]
    assert index.label_values("a") == ["1", "2"]
    assert index.label_values("b", index.select([Matcher("a", "=", "1")])) == []


def test_the_most_frequent() -> None:
    index = indexed([labels_of({"__name__": "m" if i else "k", "n": str(i)}) for i in range(5)])
    found = index.cardinality(1)
    assert found["series_by_metric"] == [("m", 4)]
    assert found["values_by_name"] == [("n", 5)]
    assert found["series_by_label"] == [("__name__=m", 4)]
    assert found["bytes_by_name"] == [("n", 5)]


@pytest.mark.parametrize("raw", [b"\x0b", b"\x0a\x05abc", b"\x0a", b"\x0a\xff\xff\xff\xff\xff\xff"])
def test_bytes_that_are_no_label_set_are_told(raw: bytes) -> None:
    content = np.frombuffer(raw, np.uint8)
    assert not well_formed(content, np.zeros(1, np.int64), np.asarray([len(raw)])).any()
