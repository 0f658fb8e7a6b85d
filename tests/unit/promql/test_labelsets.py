"""Label sets: their order and their text."""

from __future__ import annotations

import pytest

from agent.promql.labelsets import label_order, labels_text
from agent.promql.ratio import xxh64
from agent.telemetry.labels import Labels, LabelTable


def test_order_is_that_of_the_pairs() -> None:
    sets: list[Labels] = [
        (),
        (("a", "1"),),
        (("a", "1"), ("b", "2")),
        (("a", "1"), ("c", "1")),
        (("a", "10"),),
        (("a", "2"), ("b", "1")),
        (("b", "1"),),
        (("c", "0"), ("d", "é")),
    ]
    table = LabelTable.of(sets[::-1])
    assert [table.row(i) for i in label_order(table).tolist()] == sets


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ((), "{}"),
        ((("a", 'x"\n'), ("b", "é")), '{a="x\\"\\n", b="é"}'),
        ((("a b", "\udcc5\x00"),), '{"a b"="\\xc5\\x00"}'),
    ],
)
def test_text(labels: Labels, text: str) -> None:
    assert labels_text(labels) == text


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_hash_of_the_specification(raw: bytes, expected: int) -> None:
    assert xxh64(raw) == expected
