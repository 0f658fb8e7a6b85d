"""The questions of a replay and what became of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from agent.telemetry.nezha import Fault, service_of
from chatops.terminal.scoring import accuracy, best_scores, rank_of

NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Question:
    """To be asked once event time has come to ``at_ns``. ``fault`` None: nothing was injected then."""

    at_ns: int
    after_s: float
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """An answered question. Ranks are those of the injected pod and its service, ``None`` where the answer
    does not name them."""

    question: Question
    answer: Mapping[str, Any]
    ask_ms: float
    pod_rank: int | None = None
    service_rank: int | None = None
    floor_pod_rank: int | None = None
    floor_service_rank: int | None = None


def questions(faults: Iterable[Fault], after_s: Sequence[float], at_ns: Sequence[int]) -> list[Question]:
    """One a fault and delay, and those of times at which nothing was injected, in order."""
    asked = [Question(f.time_ns + round(s * NS), s, f) for f in faults for s in after_s]
    return sorted([*asked, *(Question(at, 0.0) for at in at_ns)], key=lambda q: q.at_ns)


def case_of(question: Question, answer: Mapping[str, Any], ask_ms: float, z: Mapping[str, float]) -> Case:
    """``z`` is the floor's score of each pod."""
    if question.fault is None:
        return Case(question, answer, ask_ms)
    causes = answer.get("causes", ())
    pods = best_scores((c["instance"], c["share"]) for c in causes if c["instance"])
    services = best_scores((c["service"], c["share"]) for c in causes if c["service"])
    fault = question.fault
    return Case(
        question,
        answer,
        ask_ms,
        pod_rank=rank_of(fault.pod, pods),
        service_rank=rank_of(fault.service, services),
        floor_pod_rank=rank_of(fault.pod, z),
        floor_service_rank=rank_of(fault.service, best_scores((service_of(pod), v) for pod, v in z.items())),
    )


def summary(cases: Sequence[Case], main_after_s: float) -> dict[str, Any]:
    """The figures of a day; those at the top are of questions asked ``main_after_s`` after the fault."""
    scored = [case for case in cases if case.question.fault is not None]
    delays = sorted({case.question.after_s for case in scored})
    main = [case for case in scored if case.question.after_s == main_after_s]
    took = sorted(case.ask_ms for case in cases)
    return {
        **_scores(main),
        "floor": {
            "pods": accuracy([c.floor_pod_rank for c in main]),
            "services": accuracy([c.floor_service_rank for c in main]),
        },
        "by_fault": dict(_by_fault(main)),
        "cases": len(main),
        "after_s": main_after_s,
        "by_delay": {f"{s:g}": _scores([c for c in scored if c.question.after_s == s]) for s in delays},
        "answer_ms": {"p50": took[len(took) // 2], "max": took[-1]} if took else {},
        "questions": [_told(case) for case in cases],
    }


def _scores(cases: Sequence[Case]) -> dict[str, Any]:
    return {
        "pods": accuracy([c.pod_rank for c in cases]),
        "services": accuracy([c.service_rank for c in cases]),
    }


def _by_fault(cases: Sequence[Case]) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in sorted({case.question.fault.kind for case in cases if case.question.fault}):
        of_kind = [case for case in cases if case.question.fault and case.question.fault.kind == kind]
        yield kind, {**_scores(of_kind), "cases": len(of_kind)}


def _told(case: Case) -> dict[str, Any]:
    fault = case.question.fault
    causes = case.answer.get("causes", ())
    return {
        "at_s": case.question.at_ns / NS,
        "after_s": case.question.after_s,
        "fault": {"time_s": fault.time_ns / NS, "kind": fault.kind, "pod": fault.pod} if fault else None,
        "pod_rank": case.pod_rank,
        "service_rank": case.service_rank,
        "floor_pod_rank": case.floor_pod_rank,
        "verdict": case.answer.get("verdict"),
        "confidence": case.answer.get("confidence"),
        "named": [c["instance"] or c["service"] for c in causes[:5]],
        "kind": causes[0]["kind"] if causes else None,
        "ms": case.ask_ms,
    }
