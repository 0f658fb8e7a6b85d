from __future__ import annotations

import pytest

from agent.rootcause.answer import CauseKind
from demo.shop.faults import FAULTS, Fault, NoSuchFault, Release, TakeAway, Turn, fault
from demo.shop.settings import STOCK_VERSIONS

BREAKING = [entry for name, entry in FAULTS.items() if name != "none"]
PROCESSES = {*STOCK_VERSIONS, "cache", "network"}


def test_every_fault_of_the_demo_is_there() -> None:
    assert set(FAULTS) == {
        "slow-query", "cpu-burn", "network-delay", "bad-deploy", "memory-leak",
        "slow-model", "pool-exhausted", "cache-lost", "none",
    }  # fmt: skip


def test_none_breaks_nothing_and_has_no_cause() -> None:
    none = fault("none")
    assert (none.inject, none.services, none.kinds) == ((), (), frozenset())


@pytest.mark.parametrize("entry", BREAKING, ids=lambda entry: entry.name)
def test_a_fault_breaks_something_and_has_a_cause(entry: Fault) -> None:
    assert entry.inject
    assert entry.kinds
    assert entry.services
    assert set(entry.services) <= PROCESSES


@pytest.mark.parametrize("entry", BREAKING, ids=lambda entry: entry.name)
def test_a_fault_touches_processes_that_exist(entry: Fault) -> None:
    for step in entry.inject:
        match step:
            case Turn(process=name) | TakeAway(process=name):
                assert name in PROCESSES
            case Release(service=name, version=version):
                assert version != STOCK_VERSIONS[name]


def test_an_answer_is_judged_by_the_table() -> None:
    assert fault("network-delay").caused_by("checkout")
    assert not fault("network-delay").caused_by("cart")
    assert fault("slow-model").is_kind(CauseKind.SLOW_MODEL)
    assert not fault("slow-model").is_kind(CauseKind.CPU)


def test_an_unknown_fault_is_answered_with_the_names() -> None:
    with pytest.raises(NoSuchFault, match="'slow-everything': expected one of none, slow-query"):
        fault("slow-everything")
