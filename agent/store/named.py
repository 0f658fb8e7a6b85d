"""Queries by name: ``queries/*.sql``, read once. A query begins with ``-- name: open_incident``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from agent.errors import StoreError

NAME_LINE = re.compile(r"^-- name: *(.*)$", re.MULTILINE)


def parse_queries(text: str, file: str) -> dict[str, str]:
    """The queries of one file by name, each without its closing semicolon."""
    _, *parts = NAME_LINE.split(text)
    queries: dict[str, str] = {}
    for name, body in zip(parts[::2], parts[1::2], strict=True):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name.strip()):
            raise StoreError(f"{file}: query name {name!r}: expected lower-case letters, digits and _")
        sql = body.strip().removesuffix(";").rstrip()
        if not sql or name.strip() in queries:
            raise StoreError(f"{file}: query {name.strip()} is {'empty' if not sql else 'there twice'}")
        queries[name.strip()] = sql
    return queries


def load_queries(folder: Path) -> Mapping[str, str]:
    """All queries of a folder; a name may stand in one file only."""
    found: dict[str, str] = {}
    for path in sorted(folder.glob("*.sql")):
        queries = parse_queries(path.read_text(encoding="utf-8"), path.name)
        if twice := sorted(found.keys() & queries.keys()):
            raise StoreError(f"{path.name}: query {twice[0]} stands in another file too")
        found |= queries
    return MappingProxyType(found)


QUERIES: Final = load_queries(Path(__file__).parent / "queries")
