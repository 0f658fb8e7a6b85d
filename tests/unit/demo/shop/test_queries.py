from __future__ import annotations

from pathlib import Path

import pytest

import demo.shop
from demo.shop.queries import query

FOLDER = Path(demo.shop.__file__).parent / "sql"
SCRIPTS = {"schema", "seed", "indexes"}


@pytest.mark.parametrize("name", sorted({path.stem for path in FOLDER.glob("*.sql")} - SCRIPTS))
def test_a_query_begins_with_its_verb(name: str) -> None:
    """The instrumentation names a span by the first word of the statement."""
    assert query(name).split()[0] in {"SELECT", "INSERT", "DELETE"}
