"""The shop's SQL, by name: ``query("category")`` is the text of ``sql/category.sql``."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent / "sql"


@cache
def query(name: str) -> str:
    return (_FOLDER / f"{name}.sql").read_text(encoding="utf-8")
