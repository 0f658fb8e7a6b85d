from __future__ import annotations

import numpy as np
import pytest

from agent.promql.errors import ExecutionError
from agent.promql.functions.labels import merged
from agent.promql.values import Matrix
from agent.telemetry.labels import LabelTable, labels_of
from tests.unit.promql.functions.series import call, labelled, steps

TWO = labelled({"src": "value-10", "dst": "old"}, {"src": "value-20", "dst": "old"})


def column(result: Matrix, name: str) -> list[str]:
    return result.labels.column(name)


@pytest.mark.parametrize(
    ("source", "expression", "replacement", "expected"),
    [
        pytest.param("src", "value-(.*)", "new-$1", ["new-10", "new-20"], id="group"),
        pytest.param("src", "alue-(.*)", "new-$1", ["old", "old"], id="part of the value only"),
        pytest.param("src", "value-1(.*)", "new-$1", ["new-0", "old"], id="one of two"),
        pytest.param("absent", "(.*)", "value-$1", ["value-", "value-"], id="absent label is empty"),
        pytest.param("absent", "(.+)", "value-$1", ["old", "old"], id="absent label does not match"),
        pytest.param("dst", ".*", "", ["", ""], id="empty takes the label away"),
    ],
)
def test_label_replace(source: str, expression: str, replacement: str, expected: list[str]) -> None:
    result = call("label_replace", TWO, "dst", replacement, source, expression)
    assert column(result, "dst") == expected


@pytest.mark.parametrize(
    ("sources", "expected"), [(["src", "dst"], "value-10;old"), (["none", "src"], ";value-10"), ([], "")]
)
def test_label_join(sources: list[str], expected: str) -> None:
    assert column(call("label_join", TWO, "joined", ";", *sources), "joined")[0] == expected


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "label_replace",
            ("dst", "", "src", "(.*"),
            r"invalid regular expression in label_replace\(\): \(\.\*",
        ),
        ("label_replace", ("", "", "src", ""), r"invalid destination label name in label_replace\(\): "),
        ("label_replace", ("\udcff", "", "src", ""), r"invalid destination label name in label_replace\(\)"),
        ("label_join", ("", ",", "src"), r"invalid destination label name in label_join\(\): "),
        ("label_join", ("dst", ",", ""), r"invalid source label name in label_join\(\): "),
        ("label_replace", ("src", "", "", ""), "vector cannot contain metrics with the same labelset"),
    ],
)
def test_what_is_refused(name: str, arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        call(name, TWO, *arguments)


def test_series_that_become_one_are_merged_where_they_do_not_overlap() -> None:
    rows = steps([2.0, 0.0], [0.0, 4.0])
    same = Matrix(
        LabelTable.of([labels_of({"a": "b"})] * 2), rows.value, np.array([[True, False], [False, True]])
    )
    result = merged(same)
    assert result.labels.rows() == [(("a", "b"),)]
    assert result.value.tolist() == [[2.0, 4.0]]
    assert result.present.all()


def test_a_name_that_is_set_stays() -> None:
    vector = labelled({"__name__": "old", "a": "x"}, {"__name__": "old", "a": "y"})
    marked = Matrix(vector.labels, vector.value, vector.present, None, np.ones(2, np.bool_))
    result = call("label_replace", marked, "__name__", "new", "a", "x")
    assert result.drop_name.tolist() == [False, True]
