from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from actors.correlator.writes import Writes, row_of
from agent.correlation.incidents import Incident, Severity
from agent.errors import BadInput, StoreError
from agent.store.incidents import IncidentRow

INCIDENT = Incident(
    id="i-1", tenant="t1", title="cart is slow", severity=Severity.WARNING, onset_ns=10**18, opened_ns=10**18,
    updated_ns=10**18, resolved_ns=None, services=("cart",), anomalies=(),
)  # fmt: skip
OVER = replace(INCIDENT, resolved_ns=10**18 + 60 * 10**9, updated_ns=10**18 + 60 * 10**9)


class Table:
    """Keeps what is written, in order; ``away`` and ``refuses`` say what it does not take."""

    def __init__(self) -> None:
        self.rows: list[IncidentRow] = []
        self.away = False
        self.refuses: dict[str, Exception] = {}

    async def upsert(self, incident: IncidentRow) -> IncidentRow:
        if self.away:
            raise StoreError("PostgreSQL is away")
        if incident.id in self.refuses:
            raise self.refuses[incident.id]
        self.rows.append(incident)
        return incident


async def test_what_an_outage_held_up_is_written_after_it() -> None:
    writes, table = Writes(), Table()
    table.away = True
    writes.put(INCIDENT)
    writes.put(replace(INCIDENT, id="i-2"))
    assert not await writes.flush(table)
    writes.put(OVER)
    table.away = False
    assert await writes.flush(table)
    assert {(row.id, row.status.value) for row in table.rows} == {("i-1", "resolved"), ("i-2", "open")}
    assert len(writes) == 0


async def test_an_answer_that_comes_late_keeps_the_newest_state() -> None:
    writes, table = Writes(), Table()
    writes.put(OVER)
    writes.put(INCIDENT, {"answer": "why"})
    await writes.flush(table)
    (row,) = table.rows
    assert (row.status, row.metadata["answer"], row.metadata["status"]) == ("resolved", "why", "resolved")


async def test_of_two_changes_at_one_moment_the_later_is_written() -> None:
    writes, table = Writes(), Table()
    table.away = True
    writes.put(INCIDENT)
    await writes.flush(table)
    writes.put(replace(INCIDENT, title="cart and front are slow"))
    table.away = False
    await writes.flush(table)
    assert [row.title for row in table.rows] == ["cart and front are slow"]


async def test_one_that_is_refused_does_not_hold_up_the_others() -> None:
    writes, table = Writes(), Table()
    table.refuses = {"i-1": StoreError("no"), "i-2": BadInput("bad_id", "never"), "i-5": ValueError("odd")}
    for number in range(1, 6):
        writes.put(replace(INCIDENT, id=f"i-{number}"))
    assert [await writes.flush(table) for _ in range(3)] == [False, False, False]
    assert [row.id for row in table.rows] == ["i-3", "i-4"]
    assert (len(writes), writes.given_up) == (2, 1)


def test_an_incident_as_a_row() -> None:
    row = row_of(OVER, {"answer": 1})
    assert row.resolved_at == datetime.fromtimestamp(10**9 + 60, UTC)
    assert (row.metadata["services"], row.metadata["answer"]) == (["cart"], 1)
