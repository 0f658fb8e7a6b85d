from __future__ import annotations

from dataclasses import replace

import pytest

from agent.rootcause.answer import Answer, CauseKind, Verdict
from agent.rootcause.baseline import Baseline
from agent.rootcause.engine import analyse
from agent.rootcause.question import Scope
from agent.rootcause.settings import RootCauseSettings
from agent.telemetry.frames import NO_LOGS, NO_METRICS, NO_SPANS, ChangeEvent, Telemetry
from tests.unit.rootcause.shop import NO_TROUBLE, NS, T0, Trouble, source, telemetry

SETTINGS = RootCauseSettings()
NORMAL_S = 480


@pytest.fixture(scope="module")
def baseline() -> Baseline:
    found = Baseline(SETTINGS)
    for start_s in range(0, NORMAL_S, 60):
        found.learn(telemetry(start_s, start_s + 60))
    return found


def ask(baseline: Baseline, trouble: Trouble, service: str | None = None, seed: int = 1) -> Answer:
    window = telemetry(NORMAL_S + 10, NORMAL_S + 130, trouble, seed)
    return analyse(Scope("why is latency up?", service), window, baseline, SETTINGS)


def changed(kind: str, version: str) -> tuple[ChangeEvent, ...]:
    who = source("cart", Trouble(cart_version=version))
    return (ChangeEvent(T0 + (NORMAL_S + 5) * NS, who, kind, f"cart: {kind} {version}"),)


CASES = {
    "slow query": (Trouble(query_ms=120), "catalogue", CauseKind.SLOW_DATABASE),
    "slow network": (Trouble(network_ms=300), "cart", CauseKind.NETWORK),
    "slow model": (Trouble(model_ms=900), "model", CauseKind.SLOW_MODEL),
    "slow code": (Trouble(code_ms=150), "catalogue", CauseKind.SLOW_CODE),
    "busy processor": (Trouble(code_ms=150, cpu=0.9), "catalogue", CauseKind.CPU),
    "failures": (Trouble(cart_fails=0.4), "cart", CauseKind.ERRORS),
    "bad deploy": (
        Trouble(cart_fails=0.4, cart_version="2.0", changes=changed("version", "2.0")),
        "cart",
        CauseKind.BAD_DEPLOY,
    ),
    "callee away": (Trouble(cart_away=True), "cart", CauseKind.ERRORS),
    "restarts": (
        Trouble(cart_fails=0.4, cart_version="1.0", changes=changed("restart", "1.0")),
        "cart",
        CauseKind.RESTARTS,
    ),
    "leak": (Trouble(memory=4.0, cart_fails=0.2), "cart", CauseKind.MEMORY),
    "leak that works the processor": (Trouble(memory=3.0, cart_cpu=0.9), "cart", CauseKind.MEMORY),
    "waiting for a connection": (Trouble(pool_wait_ms=400), "cart", CauseKind.POOL_EXHAUSTED),
    "no connection": (Trouble(pool_wait_ms=1500, pool_fails=True), "cart", CauseKind.POOL_EXHAUSTED),
    "lost cache": (Trouble(cache_lost=True), "catalogue", CauseKind.CACHE),
}


@pytest.mark.parametrize(("trouble", "service", "kind"), CASES.values(), ids=CASES)
def test_names_the_place_and_the_kind(
    baseline: Baseline, trouble: Trouble, service: str, kind: CauseKind
) -> None:
    answer = ask(baseline, trouble)
    assert answer.verdict is Verdict.CAUSE, answer.summary
    assert (answer.causes[0].service, answer.causes[0].kind) == (service, kind), answer.summary


def test_a_version_that_ran_well_for_minutes_is_not_blamed(baseline: Baseline) -> None:
    long_ago = ChangeEvent(T0 + (NORMAL_S - 200) * NS, source("cart"), "version", "cart: version 1.0")
    answer = ask(baseline, Trouble(cart_fails=0.4, changes=(long_ago,)))
    assert (answer.causes[0].service, answer.causes[0].kind) == ("cart", CauseKind.ERRORS)


@pytest.mark.parametrize("seed", range(5))
def test_says_that_nothing_is_wrong(baseline: Baseline, seed: int) -> None:
    answer = ask(baseline, NO_TROUBLE, seed=seed + 10)
    assert (answer.verdict, answer.causes) == (Verdict.NOTHING_UNUSUAL, ()), answer.summary


@pytest.mark.parametrize("load", [0.5, 2.0])
def test_more_or_less_load_alone_is_no_cause(baseline: Baseline, load: float) -> None:
    assert ask(baseline, Trouble(load=load)).verdict is Verdict.NOTHING_UNUSUAL


def test_looks_only_at_what_the_question_is_about(baseline: Baseline) -> None:
    slow_model = Trouble(model_ms=900)
    assert ask(baseline, slow_model, "assistant").causes[0].service == "model"
    assert ask(baseline, slow_model, "cart").verdict is Verdict.NOTHING_UNUSUAL


def test_cannot_answer_about_a_service_without_telemetry(baseline: Baseline) -> None:
    answer = ask(baseline, NO_TROUBLE, "warehouse")
    assert answer.verdict is Verdict.NOT_ENOUGH_DATA
    assert "warehouse" in answer.summary


def test_cannot_answer_without_a_baseline() -> None:
    answer = ask(Baseline(SETTINGS), Trouble(query_ms=120))
    assert answer.verdict is Verdict.NOT_ENOUGH_DATA


def test_cannot_answer_without_telemetry(baseline: Baseline) -> None:
    empty = Telemetry(T0 + 1000 * NS, T0 + 1120 * NS, NO_SPANS, NO_LOGS, NO_METRICS)
    assert analyse(Scope("why?"), empty, baseline, SETTINGS).verdict is Verdict.NOT_ENOUGH_DATA


def test_metrics_alone_want_a_history_to_speak() -> None:
    young, grown = Baseline(SETTINGS), Baseline(SETTINGS)
    for start_s in range(0, NORMAL_S, 60):
        seen = replace(telemetry(start_s, start_s + 60), spans=NO_SPANS, logs=NO_LOGS)
        grown.learn(seen)
        if start_s >= NORMAL_S - 120:
            young.learn(seen)
    busy = telemetry(NORMAL_S + 10, NORMAL_S + 130, Trouble(cpu=2.0))
    window = replace(busy, spans=NO_SPANS, logs=NO_LOGS)
    found = {
        name: analyse(Scope("why?"), window, one, SETTINGS)
        for name, one in (("young", young), ("grown", grown))
    }
    assert found["young"].verdict is Verdict.NOT_ENOUGH_DATA
    assert found["grown"].causes[0].kind is CauseKind.CPU


def test_every_statement_carries_a_reference(baseline: Baseline) -> None:
    answer = ask(baseline, Trouble(query_ms=120))
    assert all(
        e.references for e in answer.causes[0].evidence if e.signal != "traces" or "work" not in e.statement
    )
    assert answer.causes[0].operation == "SELECT prices"
    assert "SELECT prices" in answer.causes[0].statement


def test_is_the_same_each_time(baseline: Baseline) -> None:
    assert ask(baseline, Trouble(query_ms=120)) == ask(baseline, Trouble(query_ms=120))


def test_sees_what_has_only_just_begun(baseline: Baseline) -> None:
    before = telemetry(NORMAL_S + 10, NORMAL_S + 90)
    after = telemetry(NORMAL_S + 90, NORMAL_S + 130, Trouble(query_ms=200), seed=3)
    from agent.telemetry.frames import concat_logs, concat_metrics, concat_spans

    window = Telemetry(
        before.start_ns,
        after.end_ns,
        concat_spans([before.spans, after.spans]),
        concat_logs([before.logs, after.logs]),
        concat_metrics([after.metrics]),
    )
    answer = analyse(Scope("why?"), window, baseline, SETTINGS)
    assert answer.causes[0].service == "catalogue"
    assert answer.start_s > T0 / NS + NORMAL_S + 60
