"""The syntax tree of a query, as the evaluator and the functions see it.

Times and durations are milliseconds. ``pos`` is the first character of a node in the query text, by which
annotations are placed. A node is immutable and compares by value, positions aside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from agent.promql.values import Matcher

SCALAR, VECTOR, MATRIX, STRING = "scalar", "vector", "matrix", "string"

# No tree has more levels: whoever walks one recurses, and a level takes up to four of Python's thousand frames.
MAX_LEVELS = 200

SET_OPERATORS = frozenset({"and", "or", "unless"})
COMPARISONS = frozenset({"==", "!=", ">", "<", ">=", "<="})
TRIMS = frozenset({"</", ">/"})
ARITHMETIC = frozenset({"+", "-", "*", "/", "^", "%", "atan2"})


@dataclass(frozen=True, slots=True)
class DurationExpr:
    """A duration that is computed when the query's step and range are known: ``op`` is an arithmetic
    operator, ``step``, ``range``, ``min_of`` or ``max_of``; operands are in seconds. ``place`` are its first
    byte in the query text and the one behind it."""

    op: str
    operands: tuple[float | DurationExpr, ...]
    place: tuple[int, int] = field(default=(0, 0), compare=False)


Duration = int | DurationExpr


@dataclass(frozen=True, slots=True)
class At:
    """The @ modifier: a time, or an edge of the query (``edge`` is ``start`` or ``end``)."""

    time_ms: int = 0
    edge: str = ""


@dataclass(frozen=True, slots=True)
class NumberLiteral:
    value: float
    pos: int = field(default=0, compare=False)
    type = SCALAR


@dataclass(frozen=True, slots=True)
class StringLiteral:
    value: str
    pos: int = field(default=0, compare=False)
    type = STRING


@dataclass(frozen=True, slots=True)
class VectorSelector:
    """``matchers`` include that of the metric's name. ``extension`` is "", ``anchored`` or ``smoothed``. ``totals``:
    of native histograms only count and sum are wanted; told by ``preprocess``."""

    matchers: tuple[Matcher, ...]
    offset: Duration = 0
    at: At | None = None
    extension: str = ""
    pos: int = field(default=0, compare=False)
    totals: bool = False
    type = VECTOR


@dataclass(frozen=True, slots=True)
class MatrixSelector:
    selector: VectorSelector
    range: Duration
    type = MATRIX

    @property
    def pos(self) -> int:
        return self.selector.pos

    @property
    def matchers(self) -> tuple[Matcher, ...]:
        return self.selector.matchers


@dataclass(frozen=True, slots=True)
class Subquery:
    """``step`` 0 is the default."""

    expr: Expr
    range: Duration
    step: Duration = 0
    offset: Duration = 0
    at: At | None = None
    type = MATRIX

    @property
    def pos(self) -> int:
        return self.expr.pos


@dataclass(frozen=True, slots=True)
class Call:
    """``result`` is the type of the function's value."""

    name: str
    args: tuple[Expr, ...]
    result: str
    pos: int = field(default=0, compare=False)

    @property
    def type(self) -> str:
        return self.result


@dataclass(frozen=True, slots=True)
class Aggregation:
    op: str
    expr: Expr
    param: Expr | None = None
    labels: tuple[str, ...] = ()
    without: bool = False
    pos: int = field(default=0, compare=False)
    type = VECTOR


@dataclass(frozen=True, slots=True)
class Matching:
    """How the sides of a binary operator meet. ``group`` is "" (one to one), ``left`` (many to one) or
    ``right`` (one to many); ``include`` are labels taken over from the "one" side; ``fill_*`` stand in for
    a missing partner."""

    on: bool = False
    labels: tuple[str, ...] = ()
    group: str = ""
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None


@dataclass(frozen=True, slots=True)
class Binary:
    op: str
    lhs: Expr
    rhs: Expr
    bool_modifier: bool = False
    matching: Matching = Matching()

    @property
    def pos(self) -> int:
        return self.lhs.pos

    @property
    def type(self) -> str:
        return joint_type(self.lhs.type, self.rhs.type)


@dataclass(frozen=True, slots=True)
class Link:
    """An operator with what stands right of it."""

    op: str
    rhs: Expr
    bool_modifier: bool = False
    matching: Matching = Matching()


@dataclass(frozen=True, slots=True)
class Chain:
    """Many binary operators in a row that group to the left, flat, so that nobody recurses over thousands of them:
    ``first`` with the first link is the left side of the second one, and so on. ``result`` is the type of all."""

    first: Expr
    links: tuple[Link, ...]
    result: str

    @property
    def pos(self) -> int:
        return self.first.pos

    @property
    def type(self) -> str:
        return self.result

    def lefts(self) -> Iterator[str]:
        """The type of the left side of each link."""
        left = self.first.type
        for link in self.links:
            yield left
            left = joint_type(left, link.rhs.type)


@dataclass(frozen=True, slots=True)
class Negation:
    expr: Expr
    pos: int = field(default=0, compare=False)

    @property
    def type(self) -> str:
        return self.expr.type


@dataclass(frozen=True, slots=True)
class Paren:
    expr: Expr
    pos: int = field(default=0, compare=False)

    @property
    def type(self) -> str:
        return self.expr.type


@dataclass(frozen=True, slots=True)
class StepInvariant:
    """A part whose value is the same at every step; made by ``preprocess``, never by the parser."""

    expr: Expr

    @property
    def pos(self) -> int:
        return self.expr.pos

    @property
    def type(self) -> str:
        return self.expr.type


Expr = (
    NumberLiteral
    | StringLiteral
    | VectorSelector
    | MatrixSelector
    | Subquery
    | Call
    | Aggregation
    | Binary
    | Chain
    | Negation
    | Paren
    | StepInvariant
)


def joint_type(left: str, right: str) -> str:
    """The type of a binary operator's value, by those of its sides."""
    return SCALAR if left == right == SCALAR else VECTOR


def children(node: Expr) -> tuple[Expr, ...]:
    match node:
        case Call(args=args):
            return args
        case Aggregation(expr=expr, param=param):
            return (expr,) if param is None else (param, expr)
        case Binary(lhs=lhs, rhs=rhs):
            return (lhs, rhs)
        case Chain(first=first, links=links):
            return (first, *(link.rhs for link in links))
        case Subquery(expr=expr) | Negation(expr=expr) | Paren(expr=expr) | StepInvariant(expr=expr):
            return (expr,)
        case MatrixSelector(selector=selector):
            return (selector,)
    return ()


def walk(node: Expr) -> Iterator[Expr]:
    """The node and all below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)


def with_children(node: Expr, change: Callable[[Expr], Expr]) -> Expr:
    """The node with every child replaced by what ``change`` makes of it."""
    match node:
        case Call(args=args):
            return replace(node, args=tuple(change(arg) for arg in args))
        case Aggregation(expr=expr, param=param):
            return replace(node, expr=change(expr), param=None if param is None else change(param))
        case Binary(lhs=lhs, rhs=rhs):
            return replace(node, lhs=change(lhs), rhs=change(rhs))
        case Chain(first=first, links=links):
            changed_links = tuple(replace(link, rhs=change(link.rhs)) for link in links)
            return replace(node, first=change(first), links=changed_links)
        case MatrixSelector(selector=selector):
            changed = change(selector)
            return replace(node, selector=changed) if isinstance(changed, VectorSelector) else node
        case Subquery() | Negation() | Paren() | StepInvariant():
            return replace(node, expr=change(node.expr))
    return node


def unwrap(node: Expr) -> Expr:
    """The node without parentheses and marks of invariance around it."""
    while isinstance(node, Paren | StepInvariant):
        node = node.expr
    return node
