"""What to do about a cause: a few concrete steps a kind, deterministic, the safest first.

Names come from telemetry, which anybody may have written: whatever goes into a command is quoted
for the shell, and a name that starts with ``-`` cannot pass for an option.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

import msgspec

from agent.rootcause.answer import Answer, Cause, CauseKind, Recommendation

_MAX_NAME = 253  # of a Kubernetes object
_WHO_WAITS = (
    "SELECT pid, pg_blocking_pids(pid) AS blocked_by, wait_event_type, state, now() - query_start AS age, "
    "left(query, 80) AS query FROM pg_stat_activity WHERE state <> 'idle' ORDER BY query_start"
)
_WHO_HOLDS = (
    "SELECT application_name, state, count(*), max(now() - state_change) AS longest "
    "FROM pg_stat_activity GROUP BY 1, 2 ORDER BY 3 DESC"
)


def advise(answer: Answer) -> Answer:
    """The answer with recommendations for each of its causes."""
    causes = tuple(msgspec.structs.replace(c, recommendations=recommend(c)) for c in answer.causes)
    return msgspec.structs.replace(answer, causes=causes)


def recommend(cause: Cause) -> tuple[Recommendation, ...]:
    """Steps against ``cause``, in the order in which to try them."""
    return tuple(_RULES[cause.kind](cause))


def _slow_code(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Profile {_of(cause)} while it is slow and look at what its own time goes into.",
            "The time is spent in the service itself, not in what it calls.",
        ),
        _scale(cause, "More instances share the load until the code is fast again."),
    ]


def _slow_database(cause: Cause) -> list[Recommendation]:
    query = cause.operation or "the query"
    return [
        Recommendation(
            f"Run EXPLAIN (ANALYZE, BUFFERS) on `{query}` and look for a sequential scan or a missing index.",
            "The call to the database takes the extra time, and only its plan tells why.",
        ),
        Recommendation(
            "See who waits for whom in the database, and end the transaction that holds the lock.",
            "A lock held by another session makes a query slow without a change of its plan.",
            f"psql -c {shlex.quote(_WHO_WAITS)}",
        ),
    ]


def _slow_dependency(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Check the health of what {_of(cause)} calls, and its status page if it is not yours.",
            "The call leaves the system that is observed and takes long outside it.",
        ),
        Recommendation(
            f"Give the call a timeout and {cause.service} an answer without it.",
            "A slow dependency then costs a part of the answer and not all of it.",
        ),
    ]


def _errors(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Read the logs of {_name(cause)} round the first failure.",
            "The failures begin there; its callers only pass them on.",
            f"kubectl logs {_pod(cause)} --since=15m --timestamps",
        ),
        Recommendation(
            f"If {cause.service} was changed lately, take the change back.",
            "What worked before is the fastest way out while the fault is looked for.",
            f"kubectl rollout history {_deployment(cause)}",
        ),
    ]


def _bad_deploy(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Roll {cause.service} back to the version before.",
            "The trouble began with the new version.",
            f"kubectl rollout undo {_deployment(cause)}",
        ),
        Recommendation(
            "Watch the rollback until it is complete, then ask again.",
            "If the trouble stays, the version was not its cause.",
            f"kubectl rollout status {_deployment(cause)} --timeout=5m",
        ),
    ]


def _cpu(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            "See whether it is held back by its limit or by its neighbours.",
            "A limit throttles the place alone, a full node everything on it.",
            f"kubectl top pod {_quote(_name(cause))} --containers",
        ),
        Recommendation(
            f"Profile {_name(cause)} and see which code burns the processor.",
            "Its processor time is far above its usual, and its work waits for it.",
        ),
        _scale(cause, "More instances halve what each has to do."),
    ]


def _memory(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Restart {cause.service} one instance at a time.",
            "It frees what is held, and gives the time to look for who holds it.",
            f"kubectl rollout restart {_deployment(cause)}",
        ),
        Recommendation(
            f"Take a heap snapshot of {_name(cause)} before the restart and compare it with a later one.",
            "What grows between the two is the leak.",
        ),
    ]


def _restarts(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"See why {_name(cause)} ended: exit code, out of memory, failed probe.",
            "The reason stands in its last state.",
            f"kubectl describe {_pod(cause)}",
        ),
        Recommendation(
            "Read what it said before it ended.",
            "The instance that runs now has forgotten it.",
            f"kubectl logs {_pod(cause)} --previous --tail=200",
        ),
    ]


def _network(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Measure the way to {_name(cause)} from one of its callers.",
            "The time is lost between the two: neither the caller nor the callee spends it.",
            f"kubectl exec {_pod(cause)} -- ping -c 20 -i 0.2 {_quote(cause.service)}",
        ),
        Recommendation(
            "See on which node it runs and whether others there are slow as well; move it if they are not.",
            "A full link or a broken interface concerns the node, a policy or a proxy only the place.",
            f"kubectl get {_pod(cause)} -o wide",
        ),
    ]


def _pool_exhausted(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Raise the size of {cause.service}'s connection pool, within what the database accepts.",
            "Requests wait for a free connection before they can begin.",
        ),
        Recommendation(
            "Look for connections that are held and not used, and for transactions left open.",
            "A pool that leaks runs dry at any size.",
            f"psql -c {shlex.quote(_WHO_HOLDS)}",
        ),
    ]


def _cache(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Check that {cause.service}'s cache is reachable, and its hit ratio and evictions.",
            "Calls that the cache used to save are made again.",
        ),
        Recommendation(
            "Warm the cache, and hold back load until it is warm.",
            "A cold cache sends all load to the store behind it at once.",
        ),
    ]


def _slow_model(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Check the model behind {_of(cause)}: queue length, tokens a second, rate limits of the provider.",
            "The model's call takes the extra time.",
        ),
        Recommendation(
            "Send part of the calls to a smaller or another model, and bound the length of answers.",
            "Time grows with the tokens and with the queue.",
        ),
    ]


def _traffic(cause: Cause) -> list[Recommendation]:
    return [
        _scale(cause, "It gets more work than its instances can do."),
        Recommendation(
            "See who sends the load, and limit a caller that is out of bounds.",
            "More instances do not help against a loop of retries.",
        ),
    ]


def _unknown(cause: Cause) -> list[Recommendation]:
    return [
        Recommendation(
            f"Open the traces of the evidence and compare {_of(cause)} with one from an hour ago.",
            "It behaves otherwise than it did, and the evidence does not tell why.",
            f"kubectl logs {_pod(cause)} --since=15m --timestamps",
        )
    ]


_RULES: Mapping[CauseKind, Callable[[Cause], list[Recommendation]]] = {
    CauseKind.SLOW_CODE: _slow_code,
    CauseKind.SLOW_DATABASE: _slow_database,
    CauseKind.SLOW_DEPENDENCY: _slow_dependency,
    CauseKind.ERRORS: _errors,
    CauseKind.BAD_DEPLOY: _bad_deploy,
    CauseKind.CPU: _cpu,
    CauseKind.MEMORY: _memory,
    CauseKind.RESTARTS: _restarts,
    CauseKind.NETWORK: _network,
    CauseKind.POOL_EXHAUSTED: _pool_exhausted,
    CauseKind.CACHE: _cache,
    CauseKind.SLOW_MODEL: _slow_model,
    CauseKind.TRAFFIC: _traffic,
    CauseKind.UNKNOWN: _unknown,
}


def _scale(cause: Cause, why: str) -> Recommendation:
    command = f"kubectl autoscale {_deployment(cause)} --min=2 --max=6 --cpu-percent=70"
    return Recommendation(f"Let {cause.service} have more instances.", why, command)


def _of(cause: Cause) -> str:
    return f"{cause.service} `{cause.operation}`" if cause.operation else cause.service


def _name(cause: Cause) -> str:
    return cause.instance or cause.service


def _pod(cause: Cause) -> str:
    return _quote(f"pod/{cause.instance}") if cause.instance else _deployment(cause)


def _deployment(cause: Cause) -> str:
    return _quote(f"deployment/{cause.service}")


def _quote(name: str) -> str:
    """``name`` as one word for a POSIX shell, printable, on one line, no option."""
    plain = "".join(c for c in name if c.isprintable())[:_MAX_NAME].lstrip("-")
    return shlex.quote(plain)
