from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType

from demo import views
from demo.scenario import Outcome
from demo.screen import DATA_DIR, say
from demo.shop.supervisor import Member

EVIL = "\x1b[2J[/x]"
RAISED = {
    "title": EVIL, "severity": EVIL, "services": [EVIL], "anomalies": [{"sentence": EVIL}],
}  # fmt: skip


def printed(what: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=200, color_system=None).print(what)
    return out.getvalue()


def outcome(fault: str = "slow-query", **changes: Any) -> Outcome:
    told: dict[str, Any] = {
        "fault": fault,
        "detected_s": 12.0,
        "incident": RAISED,
        "answer": {"causes": [{"service": EVIL}]},
        "right": False,
    }
    return Outcome(**(told | changes))


@pytest.mark.parametrize(
    "view",
    [
        views.step(EVIL, EVIL),
        views.incident(RAISED, 3.0),
        views.false_alarm(RAISED),
        views.verdict(outcome()),
    ],
    ids=["step", "incident", "false alarm", "verdict"],
)
def test_names_are_shown_and_not_obeyed(view: RenderableType) -> None:
    assert "\ufffd[2J[/x]" in printed(view)
    assert "\x1b" not in printed(view)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (outcome(right=True), ("✓ right", "Noticed after 12 s")),
        (outcome(detected_s=None, incident=None), ("✗ wrong", "Not noticed")),
        (outcome("none", right=True, incident=None), ("✓ right", "nothing is wrong")),
        (outcome("none", incident=None, false_alarms=(RAISED,)), ("✗ wrong", "healthy while: 1")),
        (outcome("none"), ("✗ wrong", "saw something")),
        (outcome(right=True, false_alarms=(RAISED,)), ("✓ right", "healthy while: 1")),
    ],
)
def test_the_verdict_says_why(told: Outcome, words: tuple[str, ...]) -> None:
    for word in words:
        assert word in printed(views.verdict(told))


def test_the_database_fits_on_a_line() -> None:
    member = Member("database", 7, "postgresql://shop@/shop?host=" + "/long" * 30)
    assert views.where(member, Path(".demo/shop")) == "PostgreSQL, socket in .demo/shop (pid 7)"


def test_the_folder_is_named_as_seen_from_here(capsys: pytest.CaptureFixture[str]) -> None:
    say("PostgreSQL", f"embedded, in {DATA_DIR.resolve()}/layer")
    assert "embedded, in .demo/layer" in capsys.readouterr().out


def test_times_add_up() -> None:
    assert "shop 6.0 s · fault 90 s · together 96 s" in printed(views.times([("shop", 6.0), ("fault", 90.0)]))


@pytest.mark.parametrize(("seconds", "text"), [(0.31, "0.3 s"), (42.4, "42 s"), (134.0, "2 min 14 s")])
def test_durations(seconds: float, text: str) -> None:
    assert views.duration(seconds) == text
