"""Signal S, structure: where traces first leave the ways they usually go.

Constants as in docs/root-cause.md. A transition is flagged when it is far more frequent in its context than it
was; in each trace only the earliest flagged one is credited, because what comes later follows from
it. Errors need no rule of their own: a span that ends in error ends by another transition, and the
place where an error began ends before its callers do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agent.rootcause.digest import Counts, Segment, Stretch, logged_spans
from agent.rootcause.sequences import CALL_OTHER, END, END_ERROR, LOG, Transitions
from agent.rootcause.trees import Trees
from agent.telemetry.frames import F64, I32, I64, U64, Bool

MIN_CONTEXT, MIN_SEEN = 8, 2
MIN_ERROR_CONTEXT = 1
MIN_Z, MIN_RATIO = 4.0, 2.0
MAX_LOG2 = 8.0
# Failures are rare before anything is known of a place: ``PRIOR`` spans of which ``RARE`` failed.
PRIOR, RARE = 10.0, 0.05
# A surge that neither fails nor ends early may be other demand as well.
OTHER_WAY = 0.5
SEVERITY_ERROR = 17
LOG_COVERAGE = 0.3


@dataclass(frozen=True, slots=True)
class Flagged:
    """Kinds of transitions that surged, one row each: seen ``n_w`` times of ``total_w``, expected with
    probability ``p``; ``n_b`` of ``total_b`` before. ``example`` is a row of ``transitions``."""

    weight: F64
    n_w: I64
    total_w: I64
    n_b: I64
    total_b: I64
    p: F64
    example: I64


@dataclass(frozen=True, slots=True)
class Structure:
    """``blame`` is the weight of the traces credited to each place. ``credited`` are rows of
    ``transitions``: the first divergence of each trace; ``flag`` their row in ``flagged``, ``credit_to`` the place."""

    blame: F64
    transitions: Transitions
    flagged: Flagged
    credited: I64
    flag: I64
    credit_to: I32


def structure(
    window: Stretch, baseline: Sequence[Segment], suspect: Sequence[Segment], block_ns: int
) -> Structure:
    """``suspect`` segments may hold trouble: see ``_with_suspects``."""
    skip = _services_without_old_logs(window, [*baseline, *suspect])
    found = window.transitions(skip)
    bare = skip[found.span]
    key, first, inverse, seen = np.unique(
        found.key, return_index=True, return_inverse=True, return_counts=True
    )
    _, context_of, context_seen = np.unique(found.context, return_inverse=True, return_counts=True)
    total_w = context_seen[context_of][first]
    n_b, total_b = _counts_before(key, found.context[first], bare[first], baseline, block_ns)
    if suspect:
        n_b, total_b = _with_suspects(
            *_counts_before(key, found.context[first], bare[first], suspect, block_ns), n_b, total_b
        )
    after = found.after_kind[first]
    failing = _is_failure(window, found, first)
    slack = 1.5 * np.sqrt(n_b)
    p = np.where(
        failing,
        (n_b + RARE * PRIOR + slack) / (total_b + PRIOR + slack),
        (n_b + 1 + slack) / (total_b + 2 + slack),
    )
    z = (seen - total_w * p) / np.sqrt(total_w * p * (1 - p) + 0.5)
    ratio = (seen / total_w) / p
    enough = total_b >= np.where(failing, MIN_ERROR_CONTEXT, MIN_CONTEXT)
    is_flagged = enough & (seen >= MIN_SEEN) & (z > MIN_Z) & (ratio > MIN_RATIO)
    weight = (1 - 1 / np.maximum(ratio, 1)) * np.clip(np.log2(np.maximum(ratio, 1)), 0, MAX_LOG2) / MAX_LOG2
    weight *= np.where(failing | (after == END), 1.0, OTHER_WAY)
    which = np.flatnonzero(is_flagged)
    flagged = Flagged(
        weight=weight[which],
        n_w=seen[which],
        total_w=total_w[which],
        n_b=n_b[which],
        total_b=total_b[which],
        p=p[which],
        example=first[which],
    )
    flag_of_key = np.full(len(key), -1, np.int64)
    flag_of_key[which] = np.arange(len(which))
    flag_of_row = flag_of_key[inverse] if len(found) else np.zeros(0, np.int64)
    return _credit(window, found, flagged, flag_of_row)


def _is_failure(window: Stretch, found: Transitions, rows: I64) -> Bool:
    """Whether the next event says in so many words that something failed."""
    kind, at = found.after_kind[rows], found.after_at[rows]
    failing: Bool = kind == END_ERROR
    is_log = kind == LOG
    failing[is_log] = window.telemetry.logs.severity[at[is_log]] >= SEVERITY_ERROR
    return failing


def _credit(window: Stretch, found: Transitions, flagged: Flagged, flag_of_row: I64) -> Structure:
    trees = window.trees
    rows = np.flatnonzero(flag_of_row >= 0)
    target = _targets(window, found, rows)
    # The earliest of each trace.
    order = np.lexsort((found.time_ns[rows], trees.trace[found.span[rows]]))
    rows, target = rows[order], target[order]
    trace = trees.trace[found.span[rows]]
    first = np.ones(len(rows), np.bool_)
    first[1:] = trace[1:] != trace[:-1]
    rows, target = rows[first], target[first]
    flag = flag_of_row[rows]
    blame = np.bincount(target, weights=flagged.weight[flag], minlength=len(window.places)).astype(np.float64)
    return Structure(blame, found, flagged, rows, flag, target)


def _targets(window: Stretch, found: Transitions, rows: I64) -> I32:
    """Whom each flagged transition speaks of: the place of its span, except where callers give up
    after a call, which speaks of the place called when more than one caller does so, or when the call
    itself is what failed."""
    trees = window.trees
    span = found.span[rows]
    target = trees.place[span].copy()
    gives_up = np.isin(found.after_kind[rows], (END, END_ERROR))
    after_call = gives_up & (found.before_kind[rows] == CALL_OTHER)
    at = np.flatnonzero(after_call)
    callee = _called_place(trees, found.before_at[rows[at]])
    pairs = np.unique(np.stack([callee, target[at]], axis=1), axis=0)
    callers = np.bincount(pairs[pairs[:, 0] >= 0, 0], minlength=len(window.places))
    moved = (callee >= 0) & (callers[callee] >= 2)
    target[at[moved]] = callee[moved]
    # A call that ends in error although its callee did not, or left no trace there: it speaks of the callee.
    failed = np.flatnonzero((trees.callee[span] >= 0) & (found.after_kind[rows] == END_ERROR))
    target[failed] = trees.callee[span[failed]]
    return target


def _called_place(trees: Trees, at: I32) -> I32:
    """The place that a call's row speaks of: where its span is, or where it was meant to go."""
    left_none = (trees.callee[at] >= 0) & (trees.edge[at] < 0)
    return np.where(left_none, trees.callee[at], trees.place[at])


def _counts_before(
    key: U64, context: U64, bare: Bool, baseline: Sequence[Segment], block_ns: int
) -> tuple[I64, I64]:
    """Counts of the transitions and of their contexts over the baseline, without the block of time
    in which each transition was most frequent: it may lie in trouble that nobody marked."""
    total_n, total_c = np.zeros(len(key), np.int64), np.zeros(len(key), np.int64)
    rich_n, rich_c = np.zeros(len(key), np.int64), np.zeros(len(key), np.int64)
    blocks = _blocks(baseline, block_ns)
    for block in blocks:
        n, c = _totals(key, context, bare, block)
        total_n += n
        total_c += c
        richer = n > rich_n
        rich_n, rich_c = np.where(richer, n, rich_n), np.where(richer, c, rich_c)
    if len(blocks) < 2:
        return total_n, total_c
    return total_n - rich_n, total_c - rich_c


def _with_suspects(n: I64, c: I64, n_b: I64, total_b: I64) -> tuple[I64, I64]:
    """The counts ``n_b`` of ``total_b`` of normal time with ``n`` of ``c`` of suspect time, in which a
    transition counts as often as normal time bears out: trouble that was there already does not
    become normal, but what is common stays so. What normal time knows nothing of is as it was."""
    borne_out = np.minimum(n, np.ceil(c * (n_b + 1) / (total_b + 2)).astype(np.int64))
    return n_b + np.where(total_b > 0, borne_out, n), total_b + c


def _totals(key: U64, context: U64, bare: Bool, segments: Sequence[Segment]) -> tuple[I64, I64]:
    n, c = np.zeros(len(key), np.int64), np.zeros(len(key), np.int64)
    for segment in segments:
        n += _pick(segment.transition, segment.bare_transition, key, bare)
        c += _pick(segment.context, segment.bare_context, context, bare)
    return n, c


def _pick(full: Counts, bare: Counts, keys: U64, use_bare: Bool) -> I32:
    found = full.look_up(keys)
    if use_bare.any():
        found[use_bare] = bare.look_up(keys[use_bare])
    return found


def _blocks(baseline: Sequence[Segment], block_ns: int) -> list[list[Segment]]:
    blocks: dict[int, list[Segment]] = {}
    for segment in baseline:
        blocks.setdefault(segment.start_ns // block_ns, []).append(segment)
    return list(blocks.values())


def _services_without_old_logs(window: Stretch, baseline: Sequence[Segment]) -> Bool:
    """Rows of the window's trees whose service did not log before as it does now, or whose logs do not
    arrive any more at all."""
    trees = window.trees
    services, code = np.unique(trees.service, return_inverse=True)
    spans_w = np.bincount(code, minlength=len(services))
    logged_w = np.bincount(code, weights=logged_spans(window), minlength=len(services))
    spans_b, logged_b = np.zeros(len(services)), np.zeros(len(services))
    for segment in baseline:
        spans_b += segment.spans_of_service.look_up(services)
        logged_b += segment.logged_of_service.look_up(services)
    share_w = logged_w / np.maximum(spans_w, 1)
    share_b = logged_b / np.maximum(spans_b, 1)
    gone = logged_w.sum() == 0
    skip: Bool = ((share_b < LOG_COVERAGE * share_w) | gone)[code]
    return skip
