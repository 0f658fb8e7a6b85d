"""Each span as a sequence of events, and the counts of which event follows which.

A span's events are its start, its own log lines and the starts of its children in time order, and
its end, well or in error. A transition is (service | operation | event -> next event); what is
counted beside it is its context, the transition without the next event. A span that only calls
another place stands, in its parent's sequence, for that call. Everything is named by 64-bit hashes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from agent.rootcause.hashing import hash_text, mix
from agent.rootcause.trees import Trees
from agent.telemetry.frames import I32, I64, STATUS_ERROR, U64, Bool, LogFrame

# What an event is, beside its hash; for statements.
START, END, END_ERROR, CALL_HERE, CALL_OTHER, LOG = range(6)

_START = np.uint64(hash_text("event:start"))
_END = np.uint64(hash_text("event:end"))
_END_ERROR = np.uint64(hash_text("event:end in error"))
_SALT_HERE = np.uint64(hash_text("event:call here"))
_SALT_OTHER = np.uint64(hash_text("event:call other"))
_SALT_LOG = np.uint64(hash_text("event:log"))


@dataclass(frozen=True, slots=True)
class Transitions:
    """One row a transition that happened. ``span`` is the row in ``Trees``; ``time_ns`` that of the
    next event. ``before_kind``/``before_at`` and ``after_kind``/``after_at`` tell the two events: the
    row in ``Trees`` of the child called (for ``CALL_OTHER`` that of the callee's span, or of the call
    where the callee left none), or the row of the log."""

    key: U64
    context: U64
    time_ns: I64
    span: I32
    before_kind: I32
    before_at: I32
    after_kind: I32
    after_at: I32

    def __len__(self) -> int:
        return len(self.key)


def owners_of_logs(trees: Trees, ids: tuple[U64, U64, U64], logs: LogFrame) -> I32:
    """The row in ``Trees`` of the span that each log line names, -1 where there is none.
    ``ids`` are the trace (high, low) and span ids of the rows of ``trees``."""
    owners: I32 = _owners(*ids, logs.trace_hi, logs.trace_lo, logs.span_id)
    return owners


def transitions(trees: Trees, log_owner: I32, logs: LogFrame, template: U64, skip_logs: Bool) -> Transitions:
    """``template`` is the hash of each log row's template; ``skip_logs`` says for which rows of
    ``trees`` log lines are left out of the sequence."""
    used = np.flatnonzero(log_owner >= 0)
    used = used[~skip_logs[log_owner[used]]] if len(used) else used
    owner, time_ns, code, kind, at = _events(
        trees.parent, trees.edge, trees.place, trees.start_ns, trees.service, trees.operation,
        trees.called_service, trees.called_operation, trees.shift_ns, used, log_owner, logs.time_ns, template,
    )  # fmt: skip
    order = np.lexsort((code, time_ns, owner))
    return Transitions(
        *_emit(
            trees.service, trees.work, trees.start_ns, trees.duration_ns,
            trees.status == STATUS_ERROR, trees.whole,
            owner[order], time_ns[order], code[order], kind[order], at[order],
        )
    )  # fmt: skip


@nb.njit(cache=True, nogil=True)
def _owners(span_hi, span_lo, span_id, log_hi, log_lo, log_span):  # type: ignore[no-untyped-def]
    size = 16
    while size < 2 * len(span_id):
        size *= 2
    mask = np.uint64(size - 1)
    slots = np.full(size, -1, np.int32)
    for row in range(len(span_id)):
        at = mix(mix(span_hi[row], span_lo[row]), span_id[row]) & mask
        while slots[at] >= 0:
            at = (at + np.uint64(1)) & mask
        slots[at] = row
    owner = np.full(len(log_span), -1, np.int32)
    for i in range(len(log_span)):
        if log_span[i] == 0:
            continue
        at = mix(mix(log_hi[i], log_lo[i]), log_span[i]) & mask
        while slots[at] >= 0:
            row = slots[at]
            if span_id[row] == log_span[i] and span_lo[row] == log_lo[i] and span_hi[row] == log_hi[i]:
                owner[i] = row
                break
            at = (at + np.uint64(1)) & mask
    return owner


@nb.njit(cache=True, nogil=True)
def _events(  # type: ignore[no-untyped-def]
    parent,
    edge,
    place,
    start,
    service,
    operation,
    called_service,
    called_operation,
    shift,
    used,
    log_owner,
    log_time,
    template,
):
    calls = 0
    for p in parent:
        calls += p >= 0
    n = calls + len(used)
    owner = np.empty(n, np.int32)
    time_ns = np.empty(n, np.int64)
    code = np.empty(n, np.uint64)
    kind = np.empty(n, np.int32)
    at = np.empty(n, np.int32)
    i = 0
    for row in range(len(parent)):
        up = parent[row]
        if up < 0:
            continue
        called = edge[row] if edge[row] >= 0 else row
        owner[i] = up
        time_ns[i] = start[row]
        at[i] = called
        if called_service[row] != 0:
            kind[i] = CALL_OTHER
            code[i] = mix(_SALT_OTHER, mix(called_service[row], called_operation[row]))
        elif place[called] != place[up]:
            kind[i] = CALL_OTHER
            code[i] = mix(_SALT_OTHER, mix(service[called], operation[called]))
        else:
            kind[i] = CALL_HERE
            code[i] = mix(_SALT_HERE, operation[called])
        i += 1
    for row in used:
        owner[i] = log_owner[row]
        time_ns[i] = log_time[row] + shift[log_owner[row]]
        kind[i] = LOG
        code[i] = mix(_SALT_LOG, template[row])
        at[i] = row
        i += 1
    return owner, time_ns, code, kind, at


@nb.njit(cache=True, nogil=True)
def _emit(service, operation, start, duration, failed, whole, owner, time_ns, code, kind, at):  # type: ignore[no-untyped-def]
    n = len(owner)
    for row in range(len(whole)):
        n += whole[row]
    key = np.empty(n, np.uint64)
    context = np.empty(n, np.uint64)
    when = np.empty(n, np.int64)
    span = np.empty(n, np.int32)
    before_kind = np.empty(n, np.int32)
    before_at = np.empty(n, np.int32)
    after_kind = np.empty(n, np.int32)
    after_at = np.empty(n, np.int32)
    i, e = 0, 0
    for row in range(len(whole)):
        if not whole[row]:
            while e < len(owner) and owner[e] == row:
                e += 1
            continue
        home = mix(service[row], operation[row])
        previous, previous_kind, previous_at = _START, START, -1
        while True:
            done = e >= len(owner) or owner[e] != row
            if done:
                next_code = _END_ERROR if failed[row] else _END
                next_kind = END_ERROR if failed[row] else END
                next_at, next_time = -1, start[row] + duration[row]
            else:
                next_code, next_kind, next_at, next_time = code[e], kind[e], at[e], time_ns[e]
                e += 1
            context[i] = mix(home, previous)
            key[i] = mix(context[i], next_code)
            when[i] = next_time
            span[i] = row
            before_kind[i], before_at[i] = previous_kind, previous_at
            after_kind[i], after_at[i] = next_kind, next_at
            i += 1
            if done:
                break
            previous, previous_kind, previous_at = next_code, next_kind, next_at
    return (
        key[:i],
        context[:i],
        when[:i],
        span[:i],
        before_kind[:i],
        before_at[:i],
        after_kind[:i],
        after_at[:i],
    )
