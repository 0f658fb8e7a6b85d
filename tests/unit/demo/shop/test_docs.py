"""What the document about the shop says is held against the shop."""

from __future__ import annotations

from pathlib import Path

import pytest

from demo.shop.faults import FAULTS, Fault
from demo.shop.process import REPOSITORY
from demo.shop.settings import STOCK_VERSIONS
from demo.shop.telemetry import DEFAULTS, PROCESS_METRICS

TEXT = Path(REPOSITORY / "docs" / "demo-shop.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("word", [*FAULTS, *STOCK_VERSIONS, *DEFAULTS, *PROCESS_METRICS])
def test_it_is_documented(word: str) -> None:
    assert f"`{word}`" in TEXT


@pytest.mark.parametrize("entry", FAULTS.values(), ids=lambda entry: entry.name)
def test_the_accepted_services_of_a_fault_are_documented(entry: Fault) -> None:
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{entry.name}` |"))
    assert all(f"`{service}`" in row for service in entry.services)
