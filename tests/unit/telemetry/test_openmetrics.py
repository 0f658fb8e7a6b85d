"""The rules of OpenMetrics 1.0, a case a rule; what is accepted is read right."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agent.telemetry.openmetrics import parse
from agent.telemetry.openmetrics_model import BadExposition, Exemplar, Family, MetricType, Sample

BAD = {
    "blank line": ("a 1\n\n", "blank"),
    "carriage return": ("# HELP a b\r\n", "carriage"),
    "two spaces": ("# TYPE  a gauge\n", "expected # TYPE"),
    "comment": ("# a\n", "expected # TYPE"),
    "help without text": ("# HELP a\n", "expected # TYPE"),
    "unknown type": ("# TYPE a untyped\n", "type: got"),
    "type twice": ("# TYPE a gauge\n# TYPE a gauge\n", "twice"),
    "metadata after samples": ("# TYPE a gauge\na 1\n# HELP a b\n", "after samples"),
    "interleaved families": ("# TYPE a gauge\n# TYPE b gauge\na 1\n", "interleaved"),
    "clash with a suffix": ("# TYPE a_created gauge\n# TYPE a counter\n", "two families"),
    "clash with the bare name": ("# TYPE a counter\na 1\n", "two families"),
    "unit is no suffix": ("# UNIT a seconds\n", "unit"),
    "unit of an info": ("# TYPE a_u info\n# UNIT a_u u\n", "cannot have a unit"),
    "unit with a space": ("# UNIT a_s s \n", "unit"),
    "no value": ("a\n", "value"),
    "trailing space": ("a 1 \n", "timestamp"),
    "two spaces before the value": ("a  1\n", "number"),
    "hexadecimal": ("a 0x1\n", "number"),
    "underscore": ("a 1_0\n", "number"),
    "signed nan": ("a +NaN\n", "number"),
    "too large": ("a 1e400\n", "range"),
    "infinite time": ("a 1 +Inf\n", "timestamp"),
    "name": ("0a 1\n", "metric name"),
    "label name": ('a{1="1"} 1\n', "label"),
    "reserved label": ('a{__b="1"} 1\n', "reserved"),
    "label twice": ('a{b="1",b="2"} 1\n', "twice"),
    "comma behind the last": ('a{b="1",} 1\n', "label"),
    "leading comma": ('a{,b="1"} 1\n', "label"),
    "white space in labels": ('a{b = "1"} 1\n', "label"),
    "quoted name": ('{"a.b"} 1\n', "metric name"),
    "series twice": ("a 1\na 1\n", "twice"),
    "time goes back": ("# TYPE a gauge\na 1 2\na 1 1\n", "backwards"),
    "time goes back by a nanosecond": (
        "# TYPE a gauge\na 1 1700000000.000000002\na 1 1700000000.000000001\n",
        "backwards",
    ),
    "time only sometimes": ("# TYPE a gauge\na 1\na 1 1\n", "some have none"),
    "metrics interleaved": (
        '# TYPE a summary\na_sum{b="1"} 1\na_sum{b="2"} 1\na_count{b="1"} 1\n',
        "stand together",
    ),
    "points interleaved": ("# TYPE a summary\na_sum 1 1\na_sum 1 2\na_count 1 1\n", "backwards"),
    "counter below 0": ("# TYPE a counter\na_total -1\n", "negative"),
    "counter without total": ("# TYPE a counter\na_created 1\n", "no a_total"),
    "created is no time": ("# TYPE a counter\na_total 1\na_created NaN\n", "must be a time"),
    "count is a fraction": ("# TYPE a summary\na_count 1.5\n", "whole"),
    "quantile above 1": ('# TYPE a summary\na{quantile="1.1"} 1\n', "quantile"),
    "quantile is missing": ("# TYPE a summary\na 1\n", "quantile"),
    "quantile on a sum": ('# TYPE a summary\na_sum{quantile="1"} 1\n', "quantile"),
    "quantile below 0": ('# TYPE a summary\na{quantile="1"} -1\n', "negative"),
    "no infinite bucket": ('# TYPE a histogram\na_bucket{le="1"} 1\n', r"\+Inf"),
    "no bucket": ("# TYPE a histogram\na_sum 1\na_count 1\n", r"\+Inf"),
    "bucket without le": ("# TYPE a histogram\na_bucket 1\n", "le"),
    "infinity written otherwise": ('# TYPE a histogram\na_bucket{le="+INF"} 1\n', "le"),
    "le is NaN": ('# TYPE a histogram\na_bucket{le="NaN"} 1\n', "le"),
    "le on a count": (
        '# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count{le="1"} 1\na_sum 1\n',
        "must not have the label le",
    ),
    "bucket order": ('# TYPE a histogram\na_bucket{le="2"} 1\na_bucket{le="1"} 1\n', "order of le"),
    "buckets not cumulative": ('# TYPE a histogram\na_bucket{le="2"} 2\na_bucket{le="+Inf"} 1\n', "cumulative"),
    "bucket is a fraction": ('# TYPE a histogram\na_bucket{le="+Inf"} 1.5\n', "whole"),
    "count is not the last bucket": ('# TYPE a histogram\na_bucket{le="+Inf"} 1\na_count 2\na_sum 1\n', "count"),
    "sum without count": ('# TYPE a histogram\na_bucket{le="+Inf"} 1\na_sum 1\n', "both"),
    "gsum without gcount": ('# TYPE a gaugehistogram\na_bucket{le="+Inf"} 1\na_gsum 1\n', "both"),
    "sum and bucket below 0": (
        '# TYPE a histogram\na_bucket{le="-1"} 1\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
        "below 0",
    ),
    "gsum below 0": ('# TYPE a gaugehistogram\na_bucket{le="+Inf"} 1\na_gsum -1\na_gcount 1\n', "negative"),
    "info is not 1": ("# TYPE a info\na_info 2\n", "info is 1"),
    "state is not 0 or 1": ('# TYPE a stateset\na{a="b"} 2\n', "0 or 1"),
    "state without its label": ('# TYPE a stateset\na{b="b"} 1\n', "label 'a'"),
    "exemplar on a gauge": ("# TYPE a gauge\na 1 # {} 1\n", "exemplar"),
    "exemplar on a sum": ("# TYPE a summary\na_sum 1 # {} 1\n", "exemplar"),
    "exemplar without labels": ("# TYPE a counter\na_total 1 # 1\n", "exemplar"),
    "exemplar beyond its bucket": (
        '# TYPE a histogram\na_bucket{le="1"} 1 # {} 2\na_bucket{le="+Inf"} 1\n',
        "does not lie",
    ),
    "exemplar too long": (
        '# TYPE a counter\na_total 1 # {a="' + "b" * 128 + '"} 1\n',
        "129 characters",
    ),
    "exemplar without a space": ("# TYPE a counter\na_total 1 # {}1\n", "exemplar"),
}  # fmt: skip

GOOD = {
    "nothing": "",
    "empty help and unit": "# HELP a \n# UNIT a \n",
    "family without samples": "# TYPE a gauge\n",
    "states": '# TYPE a stateset\na{a="x"} 1\na{a="y"} 0\n',
    "two points": "# TYPE a gauge\na 1 1\na 2 2\n",
    "exemplar of the longest labels": '# TYPE a counter\na_total 1 # {a="' + "ä" * 127 + '"} 1 2.5\n',
    "negative buckets": '# TYPE a gaugehistogram\na_bucket{le="-1"} 1\na_bucket{le="+Inf"} 1\na_gsum -1\na_gcount 1\n',
    "quote in help": '# HELP a say "b"\n',
    "infos of one family": '# TYPE a info\na_info{b="1"} 1\na_info{c="2"} 1\na_info{b="2"} 1\n',
    "a total without a type": "a_total 1\n",
    "infinite words": "a +iNfinity\n",
}


@pytest.mark.parametrize("case", BAD)
def test_refused(case: str) -> None:
    text, reason = BAD[case]
    with pytest.raises(BadExposition, match=reason):
        parse(text.encode() + b"# EOF\n")


@pytest.mark.parametrize("case", GOOD)
def test_accepted(case: str) -> None:
    parse(GOOD[case].encode() + b"# EOF\n")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "does not end"),
        (b"a 1\n", "does not end"),
        (b"# EOF\n\n", "after # EOF"),
        (b"# EOF \n", "does not end"),
        (b"\xef\xbb\xbf# EOF\n", "byte order"),
        (b'a{b="\xff"} 1\n# EOF\n', "line 1: the text is not UTF-8"),
    ],
)
def test_an_end_and_utf_8_are_needed(body: bytes, reason: str) -> None:
    with pytest.raises(BadExposition, match=reason):
        parse(body)


def test_a_refusal_names_the_line() -> None:
    with pytest.raises(BadExposition, match="line 2: got") as caught:
        parse(b"a 1\nb x\n# EOF\n")
    assert caught.value.line == 2


def test_what_is_read() -> None:
    body = (
        b'# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds two\\nlines \\"q\\"\n'
        b'a_seconds_total{b="c\\\\d\\"e\\n"} 1.5e3 12.5 # {f="g"} 0.5 12.000000001\n# EOF'
    )
    sample = Sample(
        "a_seconds_total",
        (("b", 'c\\d"e\n'),),
        1500.0,
        Decimal("12.5"),
        Exemplar((("f", "g"),), 0.5, Decimal("12.000000001")),
    )
    assert parse(body) == [Family("a_seconds", MetricType.COUNTER, 'two\nlines "q"', "seconds", [sample])]


def test_a_large_body_takes_bounded_time() -> None:
    value = "\\" * (1 << 20)
    assert len(parse(f'a{{b="{value}"}} 1\n# EOF\n'.encode())[0].samples[0].labels[0][1]) == 1 << 19
