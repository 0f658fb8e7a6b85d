"""The engine's own scripts, in Prometheus' test language."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.promql.runner import run_file

SCRIPTS = sorted((Path(__file__).parents[2] / "scripts" / "promql").glob("*.test"))


@pytest.mark.parametrize("divided", [False, True], ids=["one", "divided"])
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path: Path, divided: bool) -> None:
    outcomes = run_file(path, divided=divided)
    assert outcomes
    failed = [f"line {one.line}: {one.query}: {one.reason}" for one in outcomes if not one.passed]
    assert not failed, "\n".join(failed)
