"""A query's syntax tree as the JSON of ``/api/v1/parse_query``."""

from __future__ import annotations

from typing import Any

import orjson

from actors.aggregator.prometheus.printing import go_float, metric_name
from agent.promql.tree import (
    SET_OPERATORS,
    VECTOR,
    Aggregation,
    At,
    Binary,
    Call,
    Chain,
    Duration,
    DurationExpr,
    Expr,
    Link,
    MatrixSelector,
    Negation,
    NumberLiteral,
    Paren,
    StepInvariant,
    StringLiteral,
    Subquery,
    VectorSelector,
)
from agent.promql.values import Matcher

# The parameters of each function in Prometheus' documentation: v vector, m matrix, s scalar, t string; the figure
# is "variadic": how many of the last may be left out, or -1 for any number of the last one.
_PARAMETERS = {
    "v": "abs absent acos acosh asin asinh atan atanh ceil cos cosh deg exp floor histogram_avg histogram_count "
    "histogram_stddev histogram_stdvar histogram_sum ln log10 log2 rad scalar sgn sin sinh sort sort_desc sqrt tan "
    "tanh timestamp",
    "m": "absent_over_time avg_over_time changes count_over_time delta deriv first_over_time idelta increase irate "
    "last_over_time mad_over_time max_over_time min_over_time present_over_time rate resets stddev_over_time "
    "stdvar_over_time sum_over_time ts_of_first_over_time ts_of_last_over_time ts_of_max_over_time "
    "ts_of_min_over_time",
    "": "end pi range start step time",
    "s": "vector",
    "ss": "max_of min_of",
    "vs": "clamp_max clamp_min",
    "vss": "clamp",
    "sv": "histogram_quantile",
    "ssv": "histogram_fraction",
    "sm": "quantile_over_time",
    "ms": "predict_linear",
    "mss": "double_exponential_smoothing holt_winters",
    "vtttt": "label_replace",
    "v 1": "day_of_month day_of_week day_of_year days_in_month hour minute month year",
    "vs 1": "round",
    "vv 1": "info",
    "vt -1": "sort_by_label sort_by_label_desc",
    "vttt -1": "label_join",
    "vtss 9": "histogram_quantiles",
}
_SIGNATURES = {name: key for key, names in _PARAMETERS.items() for name in names.split()}
_TYPES = {"v": "vector", "m": "matrix", "s": "scalar", "t": "string"}
_CARDINALITIES = {"": "one-to-one", "left": "many-to-one", "right": "one-to-many"}


def tree_json(node: Expr | None) -> Any:
    match node:
        case None:
            return None
        case StepInvariant(expr=expr):
            return tree_json(expr)
        case NumberLiteral(value=value):
            return {"type": "numberLiteral", "val": go_float(value)}
        case StringLiteral(value=value):
            return {"type": "stringLiteral", "val": value}
        case Paren(expr=expr):
            return {"type": "parenExpr", "expr": tree_json(expr)}
        case Negation(expr=expr):
            return {"type": "unaryExpr", "op": "-", "expr": tree_json(expr)}
        case VectorSelector():
            return {"type": "vectorSelector", **_selector(node)}
        case MatrixSelector(selector=selector):
            return {"type": "matrixSelector", **_selector(selector), **_duration("range", node.range)}
        case Subquery():
            return {
                "type": "subquery",
                "expr": tree_json(node.expr),
                **_duration("range", node.range),
                **_duration("offset", node.offset),
                **_duration("step", node.step),
                **_at(node.at),
            }
        case Aggregation():
            return {
                "type": "aggregation",
                "op": node.op,
                "expr": tree_json(node.expr),
                "param": tree_json(node.param),
                "grouping": list(node.labels),
                "without": node.without,
            }
        case Binary():
            return _binary(node)
        case Chain():
            return _chain(node)
        case Call():
            return {"type": "call", "func": _function(node), "args": [tree_json(arg) for arg in node.args]}


def _chain(node: Chain) -> orjson.Fragment:
    """Nested as deeply as it is long, so it is written by hand: the encoder refuses some hundreds of levels."""
    before, after = list[bytes](), list[bytes]()
    for link, left in zip(node.links, node.lefts(), strict=True):
        head, tail = orjson.dumps(_link(link, left)).split(b'"lhs":null', 1)
        before.append(head + b'"lhs":')
        after.append(tail)
    return orjson.Fragment(b"".join([*reversed(before), orjson.dumps(tree_json(node.first)), *after]))


def _binary(node: Binary) -> dict[str, Any]:
    return {**_link(node, node.lhs.type), "lhs": tree_json(node.lhs)}


def _link(node: Binary | Link, left: str) -> dict[str, Any]:
    """All of a binary operator but its left side, for which there is a place."""
    between_vectors = left == node.rhs.type == VECTOR
    matching = node.matching
    card = "many-to-many" if node.op in SET_OPERATORS else _CARDINALITIES[matching.group]
    return {
        "type": "binaryExpr",
        "op": node.op,
        "lhs": None,
        "rhs": tree_json(node.rhs),
        "matching": {
            "card": card,
            "labels": list(matching.labels),
            "on": matching.on,
            "include": list(matching.include),
            "fillValues": {"lhs": matching.fill_left, "rhs": matching.fill_right},
        }
        if between_vectors
        else None,
        "bool": node.bool_modifier,
    }


def parameter_types(function: str) -> list[str]:
    """The types of a function's parameters; of one that is not known, one that fits none."""
    return [_TYPES[one] for one in _SIGNATURES.get(function, "").partition(" ")[0]] or ["unknown"]


def _function(node: Call) -> dict[str, Any]:
    known = _SIGNATURES.get(node.name)
    letters, _, variadic = (known or "").partition(" ")
    types = [_TYPES[one] for one in letters] if known is not None else [arg.type for arg in node.args]
    return {"name": node.name, "argTypes": types, "variadic": int(variadic or 0), "returnType": node.result}


def _selector(node: VectorSelector) -> dict[str, Any]:
    name = metric_name(node.matchers)
    own = [m for m in node.matchers if m.name == "__name__" and m.op == "=" and m.value == name]
    others: list[Matcher] = [m for m in node.matchers if m not in own]
    return {
        "name": name,
        **_duration("offset", node.offset),
        "matchers": [{"name": m.name, "value": m.value, "type": m.op} for m in others + own],
        **_at(node.at),
        "anchored": node.extension == "anchored",
        "smoothed": node.extension == "smoothed",
    }


def _at(at: At | None) -> dict[str, Any]:
    return {
        "timestamp": at.time_ms if at is not None and not at.edge else None,
        "startOrEnd": at.edge or None if at is not None else None,
    }


def _duration(name: str, duration: Duration) -> dict[str, Any]:
    if isinstance(duration, DurationExpr):
        return {name: 0, f"{name}Expr": _computed(duration)}
    return {name: duration, f"{name}Expr": None}


def _computed(node: DurationExpr | float) -> dict[str, Any]:
    if not isinstance(node, DurationExpr):
        return {"type": "numberLiteral", "val": go_float(node), "duration": True}
    sides = [_computed(one) for one in node.operands]
    lhs, rhs = [*sides, None, None][:2] if len(sides) != 1 else (None, sides[0])
    return {"type": "durationExpr", "op": node.op, "lhs": lhs, "rhs": rhs, "wrapped": False}
