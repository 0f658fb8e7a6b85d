"""The shop knows nothing of whoever receives its telemetry."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import demo.shop

FOLDER = Path(demo.shop.__file__).parent
ALLOWED = {"agent.store.embedded.EmbeddedPostgres", "agent.rootcause.answer.CauseKind"}
LAYER = {"agent", "actors", "chatops"}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{name.name}" for name in names)


def test_it_uses_the_embedded_database_and_the_words_for_causes_alone() -> None:
    names = {name for path in FOLDER.rglob("*.py") for name in imported(path)}
    assert {name for name in names if name.split(".")[0] in LAYER} == ALLOWED
