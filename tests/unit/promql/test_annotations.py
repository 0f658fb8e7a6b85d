from __future__ import annotations

from agent.promql.annotations import Annotations


def test_a_text_is_told_once_with_its_last_place() -> None:
    notes = Annotations("rate(a[1m]) +\nrate(a[1m])")
    notes.info("doubt", 5)
    notes.warning("trouble", 0)
    notes.info("doubt", 19)
    assert notes.infos == ["PromQL info: doubt (2:6)"]
    assert notes.warnings == ["PromQL warning: trouble (1:1)"]


def test_what_a_part_noted_is_told_once_too() -> None:
    notes = Annotations("a + b")
    notes.info("doubt (so to say)", 0)
    notes.merge(["PromQL warning: trouble (1:5)"], ["PromQL info: doubt (so to say) (1:5)"])
    assert notes.infos == ["PromQL info: doubt (so to say) (1:5)"]
    assert notes.warnings == ["PromQL warning: trouble (1:5)"]
