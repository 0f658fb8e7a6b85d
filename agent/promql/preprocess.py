"""A tree made ready for one query: edges and durations become numbers, parts that do not depend on the
step are marked, parentheses round arguments go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice

from agent.promql.durations import resolve
from agent.promql.tree import (
    TRIMS,
    Aggregation,
    At,
    Binary,
    Call,
    Chain,
    Expr,
    MatrixSelector,
    Negation,
    NumberLiteral,
    Paren,
    StepInvariant,
    StringLiteral,
    Subquery,
    VectorSelector,
    with_children,
)
from agent.promql.values import Grid

# Their value depends on the time of the step even where their arguments do not.
STEP_DEPENDENT = frozenset(
    {
        "days_in_month", "day_of_month", "day_of_week", "day_of_year", "hour", "minute", "month", "year",
        "predict_linear", "time", "timestamp",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Query:
    grid: Grid

    @property
    def range_ms(self) -> int:
        return self.grid.end_ms - self.grid.start_ms

    def edges(self) -> dict[str, float]:
        """What start(), end(), step() and range() say, in seconds."""
        grid = self.grid
        return {
            "start": grid.start_ms / 1000,
            "end": grid.end_ms / 1000,
            "step": grid.step_ms / 1000,
            "range": self.range_ms / 1000,
        }


def preprocess(root: Expr, grid: Grid) -> Expr:
    """The tree to evaluate at ``grid`` (``step_ms`` 0 for an instant query)."""
    resolved = _with_totals(_resolved(root, _Query(grid)), wanted=False)
    changed, invariant = _marked(resolved)
    return _wrapped(changed) if invariant else changed


def _resolved(node: Expr, query: _Query) -> Expr:
    if isinstance(node, Call) and not node.args and node.name in query.edges():
        return NumberLiteral(query.edges()[node.name], node.pos)
    node = with_children(node, lambda child: _resolved(child, query))
    step, span = query.grid.step_ms, query.range_ms
    match node:
        case VectorSelector(offset=offset, at=at):
            return replace(node, offset=resolve(offset, step, span, negative=True), at=_edge(at, query.grid))
        case MatrixSelector(range=length):
            return replace(node, range=resolve(length, step, span, negative=False))
        case Subquery(range=length, step=own, offset=offset, at=at):
            return replace(
                node,
                range=resolve(length, step, span, negative=False),
                step=resolve(own, step, span, negative=False),
                offset=resolve(offset, step, span, negative=True),
                at=_edge(at, query.grid),
            )
        case Call(args=args):
            return replace(node, args=tuple(_bare(arg) for arg in args))
        case Aggregation(expr=expr, param=param):
            return replace(node, expr=_bare(expr), param=None if param is None else _bare(param))
    return node


def _with_totals(node: Expr, *, wanted: bool) -> Expr:
    """The node with the selectors marked of whose histograms nothing but count and sum is looked at: those below
    a function of these, and below nothing that looks at buckets. A subquery needs buckets to find resets."""
    match node:
        case Subquery() | Call(name="histogram_quantile" | "histogram_quantiles" | "histogram_fraction"):
            return node
        case Binary(op=op) if op in TRIMS:
            return node
        case Chain(links=links) if any(link.op in TRIMS for link in links):
            return node
        case Call(name="histogram_count" | "histogram_sum" | "histogram_avg"):
            wanted = True
        case VectorSelector():
            return replace(node, totals=wanted)
    return with_children(node, lambda child: _with_totals(child, wanted=wanted))


def _edge(at: At | None, grid: Grid) -> At | None:
    if at is None or not at.edge:
        return at
    return At(grid.start_ms if at.edge == "start" else grid.end_ms)


def _bare(node: Expr) -> Expr:
    while isinstance(node, Paren):
        node = node.expr
    return node


def _marked(node: Expr) -> tuple[Expr, bool]:
    """The node with its invariant children marked where it is not invariant itself, and whether it is."""
    match node:
        case NumberLiteral() | StringLiteral():
            return node, True
        case VectorSelector(at=at):
            return node, at is not None
        case MatrixSelector(selector=selector):
            return node, selector.at is not None
        case Subquery(expr=expr, at=at):
            inner, invariant = _marked(expr)
            return replace(node, expr=_wrapped(inner) if invariant else inner), at is not None
        case Paren(expr=expr) | Negation(expr=expr):
            inner, invariant = _marked(expr)
            return replace(node, expr=inner), invariant
        case Aggregation(expr=expr, param=param):
            inner, invariant = _marked(expr)
            marked_param, steady = (None, True) if param is None else _marked(param)
            if invariant and steady:
                return replace(node, expr=inner, param=marked_param), True
            return replace(node, expr=_wrapped(inner) if invariant else inner, param=marked_param), False
        case Binary(lhs=lhs, rhs=rhs):
            (left, left_steady), (right, right_steady) = _marked(lhs), _marked(rhs)
            if left_steady and right_steady:
                return replace(node, lhs=left, rhs=right), True
            return replace(
                node,
                lhs=_wrapped(left) if left_steady else left,
                rhs=_wrapped(right) if right_steady else right,
            ), False
        case Chain():
            return _marked_chain(node)
        case Call(name=name, args=args):
            marked = [_marked(arg) for arg in args]
            if name not in STEP_DEPENDENT and all(steady for _, steady in marked):
                return replace(node, args=tuple(arg for arg, _ in marked)), True
            return replace(
                node, args=tuple(_wrapped(arg) if steady else arg for arg, steady in marked)
            ), False
    return node, False


def _marked_chain(node: Chain) -> tuple[Expr, bool]:
    first, steady = _marked(node.first)
    rights = [_marked(link.rhs) for link in node.links]
    links = [replace(link, rhs=rhs) for link, (rhs, _) in zip(node.links, rights, strict=True)]
    # How many links there are before the first that depends on the step.
    until = next((i for i, (_, same) in enumerate(rights) if not same), len(links)) if steady else 0
    if steady and until == len(links):
        return replace(node, first=first, links=tuple(links)), True
    if steady:
        (kind,) = islice(node.lefts(), until, until + 1)
        first = _wrapped(Chain(first, tuple(links[:until]), kind) if until else first)
    rest = [
        replace(link, rhs=_wrapped(link.rhs)) if same else link
        for link, (_, same) in zip(links[until:], rights[until:], strict=True)
    ]
    return replace(node, first=first, links=tuple(rest)), False


def _wrapped(node: Expr) -> Expr:
    """Literals and range vectors do not depend on the step anyway."""
    if isinstance(node, NumberLiteral | StringLiteral | MatrixSelector | StepInvariant):
        return node
    return StepInvariant(node)
