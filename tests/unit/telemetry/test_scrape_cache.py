"""The quick way against the plain one: the same samples, whatever is known already."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import TooLarge
from agent.telemetry.exposition import parse_text
from agent.telemetry.labels import Labels, decode_labels, labels_of
from agent.telemetry.openmetrics_model import BadExposition
from agent.telemetry.scrape_cache import TextCache, Times
from agent.telemetry.scrape_series import SeriesStore

NOW = Times(1_700_000_000_000)
Row = tuple[Labels, int, float]


class Reader:
    def __init__(self) -> None:
        self.store = SeriesStore()
        self.resolved: list[str] = []
        self.cache = TextCache(self.store, self.resolve)

    def resolve(self, exposed: object) -> Labels | None:
        labels = labels_of(dict(exposed))  # type: ignore[call-overload]
        name = dict(labels)["__name__"]
        self.resolved.append(name)
        if name == "long":
            raise TooLarge("label_limit", "too many labels")
        return None if name == "dropped" else labels

    def rows(self, text: str, openmetrics: bool = False, times: Times = NOW) -> list[Row]:
        samples = self.cache.read(text.encode(), openmetrics, times).samples
        labels = [decode_labels(self.store.canonical(one)) for one in samples.series.tolist()]
        return list(
            zip(labels, samples.time_ms.tolist(), samples.bits.view(np.float64).tolist(), strict=True)
        )


def named(name: str, **labels: str) -> Labels:
    return labels_of({"__name__": name, **labels})


def test_text() -> None:
    text = '# HELP a b\n# TYPE a counter\n\n a{b="}"}\t1.5 \nc{} 2 1234\n d {e="f",} -1e3\n'
    expected = [
        (named("a", b="}"), NOW.now_ms, 1.5),
        (named("c"), 1234, 2.0),
        (named("d", e="f"), NOW.now_ms, -1000.0),
    ]
    reader = Reader()
    assert reader.rows(text) == expected
    assert reader.rows(text) == expected
    assert reader.resolved == ["a", "c", "d"], "a known series is not resolved again"
    assert (reader.cache.metadata["a"].type, reader.cache.metadata["a"].help) == ("counter", "b")


def test_openmetrics_counts_seconds_and_ends() -> None:
    assert Reader().rows("a 1 12.3456\n# EOF\n", openmetrics=True) == [(named("a"), 12345, 1.0)]
    for text, reason in (("a 1\n", "line 2: .*# EOF"), ("# EOF\na 1\n", "after # EOF")):
        with pytest.raises(BadExposition, match=reason):
            Reader().rows(text, openmetrics=True)


def test_times_are_not_honored() -> None:
    reader = Reader()
    rows = reader.rows("a 1 1234\n", times=Times(5, honor=False))
    assert rows == [(named("a"), 5, 1.0)]


@pytest.mark.parametrize(("times", "tracked"), [(NOW, [True, False]), (Times(5, track=True), [True, True])])
def test_series_with_their_own_time_are_not_tracked(times: Times, tracked: list[bool]) -> None:
    read = Reader().cache.read(b"a 1\nb 1 1234\n", False, times)
    assert read.samples.tracked.tolist() == tracked


def test_dropped_series_count_as_exposed() -> None:
    reader = Reader()
    for _ in range(2):
        read = reader.cache.read(b"dropped 1\na 1\n", False, NOW)
        assert (read.exposed, len(read.samples)) == (2, 1)
    assert reader.resolved == ["dropped", "a"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\n", "line 1: the series has no value"),
        ("b 1\na{x=\n", "line 2: .*braces"),
        ('a{x="}\n', "braces"),
        ("a{x=1} 1\n", "expected a label"),
        ("a x\n", "expected a number"),
        ("a 1e999\n", "range"),
        ("a 1 1.5\n", "milliseconds"),
        ("a 1 9999999999999999999\n", "64 bits"),
        ("a 1 2 3\n", "after the timestamp"),
        ("a 1 # {} 1\n", "after the timestamp"),
        ("1 1\n", "expected a metric name"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(BadExposition, match=reason):
        Reader().rows(text)


def test_what_resolving_refuses_refuses_the_whole() -> None:
    reader = Reader()
    for _ in range(2):
        with pytest.raises(TooLarge):
            reader.rows("a 1\nlong 1\n")


def test_exemplars_come_once() -> None:
    reader = Reader()
    text = 'a_total 1 # {b="c d"} 0.5 12.5\n# EOF\n'
    found = [reader.cache.read(text.encode(), True, NOW).exemplars for _ in range(2)]
    assert [(one.exemplar.labels, one.exemplar.value, one.time_ms) for one in found[0]] == [
        ((("b", "c d"),), 0.5, 12_500)
    ]
    assert found[1] == []
    assert len(reader.cache.read(text.replace("0.5", "0.6").encode(), True, NOW).exemplars) == 1


def test_what_is_gone_is_forgotten() -> None:
    reader = Reader()
    for turn in range(4):
        reader.rows("".join(f"a{turn}_{i} {i}\n" for i in range(600)))
    assert reader.cache._table.count < 2000
    assert reader.rows("a3_7 1\n") == [(named("a3_7"), NOW.now_ms, 1.0)]


names = st.from_regex(r"[a-z_:][a-z0-9_:]{0,5}", fullmatch=True)
label_names = st.from_regex(r"[a-z][a-z0-9_]{0,3}", fullmatch=True)
values = st.text(st.characters(codec="utf-8", exclude_characters='\n\\"'), max_size=6)
white = st.sampled_from(["", " ", "\t", "  "])


@st.composite
def lines(draw: st.DrawFn) -> str:
    labels: dict[str, str] = draw(st.dictionaries(label_names, values, max_size=3))
    gap = draw(white)
    inside = f"{gap},{gap}".join(f'{name}{gap}="{value}"' for name, value in labels.items())
    empty: bool = draw(st.booleans())
    braces = f"{gap}{{{inside}}}" if labels or empty else ""
    value = draw(st.floats(allow_nan=False).map(repr))
    time = draw(st.one_of(st.just(""), st.integers(-(10**14), 10**14).map(" {}".format)))
    return f"{draw(names)}{braces} {value}{time}{gap}\n"


@given(st.lists(lines(), max_size=8))
def test_the_same_as_the_plain_parser(made: list[str]) -> None:
    text = "".join(made)
    try:
        families = parse_text(text.encode())
    except BadExposition:
        return
    expected = [
        (
            labels_of([*sample.labels, ("__name__", sample.name)]),
            NOW.now_ms if sample.time_s is None else int(sample.time_s * 1000),
            sample.value,
        )
        for family in families
        for sample in family.samples
    ]
    reader = Reader()
    for _ in range(2):
        assert sorted(reader.rows(text)) == sorted(expected)


def test_bounds_and_quantiles_have_one_form() -> None:
    text = '# TYPE a histogram\na_bucket{le="1"} 1\n# TYPE b summary\nb{quantile="1e-1"} 1\nc{le="1"} 1\n'
    assert [labels for labels, _, _ in Reader().rows(text)] == [
        named("a_bucket", le="1.0"),
        named("b", quantile="0.1"),
        named("c", le="1"),
    ]
