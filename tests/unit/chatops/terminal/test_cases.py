from __future__ import annotations

from typing import Any

from agent.telemetry.nezha import Fault
from chatops.terminal.cases import NS, Question, case_of, questions, summary

FAULT = Fault(100 * NS, "cart-abc-12", "cpu")


def answer(*causes: tuple[str, str, float]) -> dict[str, Any]:
    named = [
        {"instance": pod, "service": service, "share": share, "kind": "cpu"} for pod, service, share in causes
    ]
    return {"verdict": "cause", "confidence": 0.9, "causes": named}


def test_questions_are_in_order_of_event_time() -> None:
    late = Fault(110 * NS, "x-1-2", "cpu")
    asked = questions([late, FAULT], [90, 120], [105 * NS])
    assert [q.at_ns // NS for q in asked] == [105, 190, 200, 220, 230]


def test_ranks_of_pod_and_service() -> None:
    found = answer(("front-1-1", "front", 0.5), ("cart-zzz-99", "cart", 0.3), ("cart-abc-12", "cart", 0.2))
    case = case_of(Question(220 * NS, 120, FAULT), found, 5.0, {"cart-abc-12": 2.0, "front-1-1": 9.0})
    assert (case.pod_rank, case.service_rank, case.floor_pod_rank, case.floor_service_rank) == (3, 2, 2, 2)


def test_an_answer_that_names_nothing_is_a_miss() -> None:
    case = case_of(Question(220 * NS, 120, FAULT), {"verdict": "nothing_unusual"}, 5.0, {})
    assert (case.pod_rank, case.floor_pod_rank) == (None, None)


def test_summary() -> None:
    right = case_of(
        Question(220 * NS, 120, FAULT), answer(("cart-abc-12", "cart", 0.9)), 5.0, {"cart-abc-12": 1.0}
    )
    early = case_of(Question(190 * NS, 90, FAULT), answer(), 7.0, {})
    quiet = case_of(Question(50 * NS, 0), answer(), 1.0, {})
    found = summary([quiet, early, right], 120.0)
    assert found["cases"] == 1
    assert found["pods"]["AS@1"] == 100.0
    assert found["by_delay"]["90"]["pods"]["AS@1"] == 0.0
    assert found["by_fault"]["cpu"]["cases"] == 1
    assert found["answer_ms"] == {"p50": 5.0, "max": 7.0}
    assert [q["fault"] is None for q in found["questions"]] == [True, False, False]


def test_summary_of_nothing() -> None:
    assert summary([], 120.0)["cases"] == 0
