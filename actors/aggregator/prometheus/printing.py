"""A syntax tree as text: in one line, or spread over several as Prometheus' formatter does it.

A node that is longer than ``LINE`` characters puts its parts on lines of their own, two spaces deeper.
"""

from __future__ import annotations

import re

from actors.aggregator.prometheus.digits import float_text
from agent.promql.tree import (
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
from agent.telemetry.labels import METRIC_NAME

LINE = 100
MAX_LEVEL = (
    500  # where a row of operators would go deeper, it is laid out flat: the text grows with their square
)
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)
_UNITS = (
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
)


def pretty(node: Expr, level: int = 0) -> str:
    indent, text = "  " * level, one_line(node)
    match node:
        case StepInvariant(expr=expr):
            return pretty(expr, level)
        case Negation(expr=expr):
            return f"{indent}-{pretty(expr, level).strip()}"
        case _ if len(text.encode()) <= LINE:
            return indent + text
        case Aggregation():
            parts = [part for part in (node.param, node.expr) if part is not None]
            inner = ",\n".join(pretty(part, level + 1) for part in parts)
            return f"{indent}{_head(node)}(\n{inner}\n{indent})"
        case Binary():
            lhs, rhs = pretty(node.lhs, level + 1), pretty(node.rhs, level + 1)
            return f"{lhs}\n{indent}{_operator(node)}\n{rhs}"
        case Chain():
            return _pretty_chain(node, level)
        case Call(name=name, args=args) if args:
            inner = ",\n".join(pretty(arg, level + 1) for arg in args)
            return f"{indent}{name}(\n{inner}\n{indent})"
        case Paren(expr=expr):
            return f"{indent}(\n{pretty(expr, level + 1)}\n{indent})"
        case Subquery(expr=expr):
            return pretty(expr, level) + _window(node)
    return indent + text


def one_line(node: Expr) -> str:
    match node:
        case NumberLiteral(value=value):
            return go_float(value)
        case StringLiteral(value=value):
            return quoted(value)
        case VectorSelector():
            return _selector(node) + _modifiers(node)
        case MatrixSelector(selector=selector):
            return f"{_selector(selector)}[{duration_text(node.range)}]{_modifiers(selector)}"
        case Subquery(expr=expr):
            return one_line(expr) + _window(node)
        case Call(name=name, args=args):
            return f"{name}({', '.join(map(one_line, args))})"
        case Aggregation(param=param, expr=expr):
            return f"{_head(node)}({f'{one_line(param)}, ' if param is not None else ''}{one_line(expr)})"
        case Binary(lhs=lhs, rhs=rhs):
            return f"{one_line(lhs)} {_operator(node)} {one_line(rhs)}"
        case Chain(first=first, links=links):
            return one_line(first) + "".join(f" {_operator(link)} {one_line(link.rhs)}" for link in links)
        case Negation(expr=expr):
            return f"-{one_line(expr)}"
        case Paren(expr=expr):
            return f"({one_line(expr)})"
        case StepInvariant(expr=expr):
            return one_line(expr)


def _pretty_chain(node: Chain, level: int) -> str:
    """Every link stands one level deeper than the next one; the beginning that fits goes in one line."""
    if level + len(node.links) > MAX_LEVEL:
        return _pretty_flat(node, level)
    begun, done = one_line(node.first), 0
    for link in node.links:
        longer = f"{begun} {_operator(link)} {one_line(link.rhs)}"
        if len(longer.encode()) > LINE:
            break
        begun, done = longer, done + 1
    deepest = level + len(node.links) - done
    out = ["  " * deepest + begun if done else pretty(node.first, deepest)]
    for deeper, link in zip(range(deepest, level, -1), node.links[done:], strict=True):
        out += ["  " * (deeper - 1) + _operator(link), pretty(link.rhs, deeper)]
    return "\n".join(out)


def _pretty_flat(node: Chain, level: int) -> str:
    out = [pretty(node.first, level + 1)]
    for link in node.links:
        out += ["  " * level + _operator(link), pretty(link.rhs, level + 1)]
    return "\n".join(out)


def metric_name(matchers: tuple[Matcher, ...]) -> str:
    """What stands before the brace; "" where the name is only among the matchers."""
    return next(
        (m.value for m in matchers if m.name == METRIC_NAME and m.op == "=" and _METRIC.fullmatch(m.value)),
        "",
    )


def go_float(value: float) -> str:
    """Without an exponent, however long."""
    text = float_text(value)
    if "e" not in text:
        return text
    mantissa, exponent = text.removeprefix("-").split("e")
    whole, _, fraction = mantissa.partition(".")
    digits, point = whole + fraction, len(whole) + int(exponent)
    sign = "-" if text.startswith("-") else ""
    if point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    return sign + digits.ljust(point, "0")


def quoted(text: str) -> str:
    """As Go quotes a string."""
    escapes = {
        "\a": "\\a",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
        "\v": "\\v",
        '"': '\\"',
        "\\": "\\\\",
    }
    return '"' + "".join(escapes.get(c) or (c if c.isprintable() else _escape(c)) for c in text) + '"'


def duration_text(duration: Duration) -> str:
    """``1h30m``; zero is ``0s``."""
    if isinstance(duration, DurationExpr):
        return _computed(duration)
    rest, parts = abs(duration), []
    for unit, size in _UNITS:
        # Years and weeks only where nothing is left over, so that 366d stays readable.
        if rest >= size and (unit not in "yw" or rest % size == 0):
            parts.append(f"{rest // size}{unit}")
            rest %= size
    if rest:
        parts.append(f"{rest}ms")
    return ("-" if duration < 0 else "") + ("".join(parts) or "0s")


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _computed(node: DurationExpr) -> str:
    operands = [_computed(one) if isinstance(one, DurationExpr) else go_float(one) for one in node.operands]
    if node.op in ("step", "range", "min_of", "max_of"):
        return f"{node.op}({', '.join(operands)})"
    if len(operands) == 1:
        return node.op.replace("+", "") + operands[0]
    return f"({operands[0]} {node.op} {operands[1]})"


def _selector(node: VectorSelector) -> str:
    name = metric_name(node.matchers)
    shown = sorted(
        f"{_label(m.name)}{m.op}{quoted(m.value)}"
        for m in node.matchers
        if not (name and m.name == METRIC_NAME and m.op == "=" and m.value == name)
    )
    return f"{name}{{{','.join(shown)}}}" if shown or not name else name


def _modifiers(node: VectorSelector) -> str:
    extension = f" {node.extension}" if node.extension else ""
    return extension + _at(node.at) + _offset(node.offset)


def _window(node: Subquery) -> str:
    step = duration_text(node.step) if node.step else ""
    return f"[{duration_text(node.range)}:{step}]{_at(node.at)}{_offset(node.offset)}"


def _at(at: At | None) -> str:
    if at is None:
        return ""
    return f" @ {at.edge}()" if at.edge else f" @ {at.time_ms / 1000:.3f}"


def _offset(offset: Duration) -> str:
    return f" offset {duration_text(offset)}" if offset else ""


def _head(node: Aggregation) -> str:
    if node.without:
        return f"{node.op} without ({_labels(node.labels)}) "
    return f"{node.op} by ({_labels(node.labels)}) " if node.labels else node.op


def _operator(node: Binary | Link) -> str:
    matching, out = node.matching, node.op + (" bool" if node.bool_modifier else "")
    if matching.labels or matching.on or matching.group:
        out += f" {'on' if matching.on else 'ignoring'} ({_labels(matching.labels)})"
    if matching.group:
        out += f" group_{matching.group} ({_labels(matching.include)})"
    left, right = matching.fill_left, matching.fill_right
    if left is not None and left == right:
        return f"{out} fill ({go_float(left)})"
    out += f" fill_left ({go_float(left)})" if left is not None else ""
    return out + (f" fill_right ({go_float(right)})" if right is not None else "")


def _labels(names: tuple[str, ...]) -> str:
    return ", ".join(map(_label, names))


def _label(name: str) -> str:
    return name if _LABEL.fullmatch(name) else quoted(name)
