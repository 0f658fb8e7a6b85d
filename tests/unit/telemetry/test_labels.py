from __future__ import annotations

import pickle

from hypothesis import given
from hypothesis import strategies as st

from agent.telemetry.labels import (
    Labels,
    LabelTable,
    concat_tables,
    decode_labels,
    encode_labels,
    hash_labels,
    labels_of,
)

SETS = st.lists(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from(["", "x", "y", "zz"])).map(labels_of), max_size=8
)


def test_empty_values_say_that_the_label_is_absent() -> None:
    assert labels_of({"b": "1", "a": "", "__name__": "up"}) == (("__name__", "up"), ("b", "1"))


@given(st.dictionaries(st.text(max_size=200), st.text(max_size=200)).map(labels_of))
def test_canonical_bytes_come_back(labels: Labels) -> None:
    assert decode_labels(encode_labels(labels)) == labels


def test_the_canonical_bytes_are_those_of_remote_write() -> None:
    assert encode_labels((("a", "b"),)) == b"\x0a\x06\x0a\x01a\x12\x01b"
    assert hash_labels(b"") != hash_labels(encode_labels((("a", "b"),)))


@given(SETS)
def test_a_table_gives_its_sets_back(sets: list[Labels]) -> None:
    table = LabelTable.of(sets)
    assert table.rows() == sets
    assert table.compacted().rows() == sets
    assert pickle.loads(pickle.dumps(table)).rows() == sets


@given(SETS, SETS)
def test_tables_are_joined_whatever_their_columns(one: list[Labels], other: list[Labels]) -> None:
    assert concat_tables([LabelTable.of(one), LabelTable.of(other)]).rows() == one + other


@given(SETS)
def test_groups_are_the_distinct_sets_in_order(sets: list[Labels]) -> None:
    group, distinct = LabelTable.of(sets).group()
    assert [distinct.row(g) for g in group.tolist()] == sets
    assert distinct.rows() == list(dict.fromkeys(sets))


def test_few_rows_of_many_values_are_grouped_as_well() -> None:
    every = LabelTable.of([(("a", str(i)), ("b", str(i % 7000))) for i in range(20_000)])
    group, distinct = every.take([19_000, 5000, 19_000, 12_000]).group()
    assert group.tolist() == [0, 1, 0, 2]
    assert distinct.compacted().values == (("5000", "12000", "19000"), ("5000",))


def test_columns_are_kept_dropped_and_replaced() -> None:
    table = LabelTable.of([(("a", "1"), ("b", "2")), (("b", "3"),)])
    assert table.keep(["a", "z"]).rows() == [(("a", "1"),), ()]
    assert table.drop(["b"]).rows() == [(("a", "1"),), ()]
    assert table.with_column("a", ["", "x"]).rows() == [(("b", "2"),), (("a", "x"), ("b", "3"))]
    assert table.column("a") == ["1", ""]


def test_what_travels_holds_only_what_is_in_use() -> None:
    table = LabelTable.of([(("a", str(i)),) for i in range(100)]).take([7])
    assert table.compacted().values == (("7",),)
