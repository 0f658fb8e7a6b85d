from __future__ import annotations

from datetime import UTC, datetime

import pytest

from agent.errors import BadInput
from agent.store.incidents import TITLE_LIMIT, IncidentRow, Severity, Status, _aware, _title, _uuid


@pytest.mark.parametrize(
    ("title", "stored"),
    [("slow", "slow"), ("a\x00b", "a\ufffdb"), ("x" * 501, "x" * 499 + "…"), ("x" * 500, "x" * 500)],
    ids=["plain", "nul", "too long", "just fits"],
)
def test_a_title_fits_its_column(title: str, stored: str) -> None:
    assert _title(title) == stored
    assert len(_title(title)) <= TITLE_LIMIT


def test_what_cannot_be_stored_is_refused_with_what_was_expected() -> None:
    with pytest.raises(BadInput, match="expected a UUID"):
        _uuid("7")
    with pytest.raises(BadInput, match="expected a time with a time zone"):
        _aware("since", datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(BadInput, match="expected what went wrong"):
        _title("")


def test_a_row_is_read_from_a_record() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    record: dict[str, object] = {
        "id": "b5a1c9f0-0000-4000-8000-000000000001", "title": "t", "description": None, "severity": "info",
        "status": "open", "triggered_at": now, "acknowledged_at": None, "resolved_at": None, "metadata": {},
    }  # fmt: skip
    row = IncidentRow.of(record)  # type: ignore[arg-type]
    assert (row.description, row.severity, row.status) == ("", Severity.INFO, Status.OPEN)
