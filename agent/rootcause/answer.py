"""The answer to "why is latency up?": ranked causes, the evidence for each, and what to do.

Everything here is plain data that goes to JSON as it is (``msgspec.to_builtins``). Each statement
carries references that the API opens under ``/api/v1/evidence/<reference>``:

    trace:<32 hex digits>                      one trace
    log:<ref>                                  one log record, ``ref`` as in ``agent.telemetry.frames``
    series:<service>/<instance>/<metric>@<start_s>..<end_s>     samples of one metric of one source
    red:<service>/<operation>@<start_s>..<end_s>                rate, errors, duration of an operation
    change:<service>@<time_s>                  a change event
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    CAUSE = "cause"  # something is wrong, and this is why
    NOTHING_UNUSUAL = "nothing_unusual"  # looked, and found nothing: no cause is named
    NOT_ENOUGH_DATA = "not_enough_data"  # could not look: no telemetry in the window, or no baseline yet


class CauseKind(StrEnum):
    """What kind of thing went wrong at the place named. ``UNKNOWN``: the place is odd, the kind unclear."""

    SLOW_CODE = "slow_code"
    SLOW_DATABASE = "slow_database"
    SLOW_DEPENDENCY = "slow_dependency"
    ERRORS = "errors"
    BAD_DEPLOY = "bad_deploy"
    CPU = "cpu"
    MEMORY = "memory"
    RESTARTS = "restarts"
    NETWORK = "network"
    POOL_EXHAUSTED = "pool_exhausted"
    CACHE = "cache"
    SLOW_MODEL = "slow_model"
    TRAFFIC = "traffic"
    UNKNOWN = "unknown"


class Evidence(msgspec.Struct, frozen=True):
    """One statement and where it can be checked. ``signal`` is traces, logs, metrics or changes."""

    statement: str
    signal: str
    references: tuple[str, ...]


class Recommendation(msgspec.Struct, frozen=True):
    """What to do. ``command`` is fit to paste into a terminal, empty where there is none."""

    action: str
    why: str
    command: str = ""


class Cause(msgspec.Struct, frozen=True):
    """A place that explains the trouble. ``share`` is its part of all the blame given, 0 to 1."""

    rank: int
    service: str
    instance: str
    kind: CauseKind
    operation: str
    share: float
    statement: str
    evidence: tuple[Evidence, ...]
    recommendations: tuple[Recommendation, ...] = ()


class Answer(msgspec.Struct, frozen=True):
    """``confidence``, 0 to 1, is how sure it is that something is wrong; below the threshold of the
    settings the verdict is NOTHING_UNUSUAL and ``causes`` is empty. Times are Unix seconds."""

    question: str
    verdict: Verdict
    summary: str
    confidence: float
    service: str
    start_s: float
    end_s: float
    causes: tuple[Cause, ...] = ()
    took_ms: float = 0.0
    incident_id: str = ""
