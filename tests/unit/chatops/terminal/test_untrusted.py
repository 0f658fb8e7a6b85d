from __future__ import annotations

import io
import json
from collections.abc import Callable

import pytest
from rich.console import Console, RenderableType
from rich.live import Live

from chatops.terminal.answers import render as answer_view
from chatops.terminal.cases import Case, Question
from chatops.terminal.live import lines
from chatops.terminal.replay import View, result_table
from chatops.terminal.status import Rates
from chatops.terminal.status import render as status_view
from chatops.terminal.untrusted import shown, shown_all, shown_json

CLEAR, CLIPBOARD, C1 = "\x1b[2J", "\x1b]52;c;aGk=\x07", "\x9b2J"
EVIL = f"{CLEAR}{CLIPBOARD}{C1}[/x]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain ünïcode 漢", "plain ünïcode 漢"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("dos\r\nline", "dos\nline"),
        (CLEAR, "\ufffd[2J"),
        ("over\rwritten", "over\ufffdwritten"),
        (C1, "\ufffd2J"),
        ("\x7f\x00\x08", "\ufffd\ufffd\ufffd"),
        ("abc\u202edef", "abc\ufffddef"),
    ],
)
def test_control_characters_become_visible(text: str, expected: str) -> None:
    assert shown(text) == expected


def test_json_is_cleaned_through_and_through() -> None:
    assert shown_all({"a\x1b": [{"b": "\x1b"}, 1, None, True]}) == {
        "a\ufffd": [{"b": "\ufffd"}, 1, None, True]
    }


def test_json_for_programs_means_the_same() -> None:
    text = '{"body":"\x9b\x7f\u202e ü"}'
    assert json.loads(shown_json(text)) == json.loads(text)
    assert "\x9b" not in shown_json(text)


ANSWER = {
    "verdict": EVIL, "summary": EVIL, "service": EVIL, "incident_id": EVIL,
    "causes": [
        {
            "rank": 1, "service": EVIL, "instance": EVIL, "kind": EVIL, "operation": EVIL, "statement": EVIL, "share": 0.9,
            "evidence": [{"signal": EVIL, "statement": EVIL + "!", "references": [EVIL]}],
            "recommendations": [{"action": EVIL, "why": EVIL, "command": EVIL}],
        },
        {"rank": 2, "service": EVIL, "instance": "", "share": 0.01},
    ],
}  # fmt: skip
STATUS = {
    "state": "ready", "dashboard_url": EVIL, "restarts": {},
    "actors": [
        {"name": EVIL, "state": EVIL, "pid": 1, "started_s": 1.0, "listens": {EVIL: EVIL}, "detail": EVIL, "refused": {EVIL: 1}, "figures": {}}
    ],
}  # fmt: skip
SCORES = {"AS@1": 1.0, "AS@3": 1.0, "AS@5": 1.0}
RESULT = {
    "file": EVIL, "cases": 1, "after_s": 120.0, "pods": SCORES, "services": SCORES,
    "floor": {EVIL: SCORES}, "by_fault": {EVIL: {"pods": SCORES, "cases": 1}},
}  # fmt: skip


def printed(*what: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=300, color_system=None, force_terminal=False).print(*what)
    return out.getvalue()


def replayed() -> RenderableType:
    view = Live(console=Console(file=io.StringIO(), width=300))
    case = Case(Question(0, 1.0), {"causes": [{"instance": EVIL, "service": EVIL}]}, 1.0)
    shown_there = View(view)
    shown_there.add(case)
    return view.renderable


@pytest.mark.parametrize(
    "view",
    [
        lambda: answer_view(ANSWER),
        lambda: status_view(STATUS, Rates(), 2.0),
        lambda: result_table(RESULT),
        replayed,
    ],
    ids=["answer", "status", "result", "replay"],
)
def test_a_view_shows_and_does_not_obey(view: Callable[[], RenderableType]) -> None:
    text = printed(view())
    assert not {"\x1b", "\x9b", "\x07"} & set(text)
    assert "\ufffd[2J" in text
    assert "[/x]" in text


@pytest.mark.parametrize(
    "message",
    [
        {"type": "spans", "service": EVIL, "instance": "", "rows": 1, "columns": {"start_ms": [0.0], "name": [EVIL], "duration_ms": [1.0], "status": [0]}},
        {"type": "logs", "service": EVIL, "instance": EVIL, "rows": 1, "columns": {"time_ms": [0.0], "severity": [9], "body": [EVIL]}},
        {"type": "metrics", "service": EVIL, "instance": "", "rows": 1, "columns": {"time_ms": [0.0], "metric": [EVIL], "labels": [{EVIL: EVIL}], "value": [1.0]}},
        {"type": "incident", "incident": {"title": EVIL, "severity": EVIL, "kind": EVIL}},
        {"type": "missed", "rows": {}, "reason": EVIL},
        {"type": "error", "error": {"message": EVIL, "hint": EVIL}},
        {"type": "subscribed", "signals": [EVIL], "services": [EVIL]},
    ],
    ids=lambda message: message["type"],
)  # fmt: skip
def test_a_live_line_shows_and_does_not_obey(message: dict[str, object]) -> None:
    (line,) = lines(message)
    assert not {"\x1b", "\x9b", "\x07"} & set(line.plain)
    assert "\ufffd[2J" in line.plain
