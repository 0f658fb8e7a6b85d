"""What the demo shows, as rich renders it. Pure; names and sentences come from telemetry and are no markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chatops.terminal.untrusted import shown
from demo.scenario import Outcome
from demo.shop.faults import fault
from demo.shop.supervisor import DATABASE, Member
from demo.shop.view import Seen

WIDTH = 14
SHOWN_ANOMALIES = 6


def step(what: str, detail: str) -> Text:
    """A thing that is done or runs now."""
    return Text.assemble(("  ✓ ", "green"), f"{shown(what):<{WIDTH}} ", (shown(detail), "dim"))


def where(member: Member, data_dir: Path) -> str:
    """Where a process of the shop listens; the database's address is a path too long for a line."""
    place = f"PostgreSQL, socket in {data_dir}" if member.name == DATABASE else member.url
    version = f"version {member.version}" if member.version else ""
    return " ".join(part for part in (place, version, f"(pid {member.pid})") if part)


def seen(what: Seen) -> str:
    return "nothing yet" if math.isnan(what.p50_ms) else str(what)


def incident(raised: Mapping[str, Any], after_s: float) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_row("severity", Text(shown(str(raised["severity"]))))
    table.add_row("services", Text(shown(", ".join(raised["services"]))))
    table.add_row("noticed", f"{after_s:.0f} s after the fault")
    for anomaly in raised.get("anomalies", [])[:SHOWN_ANOMALIES]:
        table.add_row("", Text(shown(str(anomaly["sentence"])), style="dim"))
    return Panel(table, title=Text(shown(str(raised["title"])), style="red"), title_align="left")


def false_alarm(raised: Mapping[str, Any]) -> Text:
    return Text.assemble(("  ! an incident without a fault: ", "red"), shown(str(raised["title"])))


def verdict(outcome: Outcome) -> Text:
    mark = ("  ✓ right  ", "green") if outcome.right else ("  ✗ wrong  ", "red")
    said = _of_nothing(outcome) if outcome.fault == "none" else _of_fault(outcome)
    if outcome.false_alarms:
        said += f" Incidents raised in the healthy while: {len(outcome.false_alarms)}."
    return Text.assemble(mark, shown(said))


def _of_nothing(outcome: Outcome) -> str:
    if outcome.right:
        return "It said that nothing is wrong, and raised nothing."
    if outcome.incident is None and outcome.false_alarms:
        return "It raised a false alarm."
    return "It saw something where nothing was."


def _of_fault(outcome: Outcome) -> str:
    causes = outcome.answer.get("causes") or []
    noticed = "Not noticed" if outcome.detected_s is None else f"Noticed after {outcome.detected_s:.0f} s"
    first = causes[0]["service"] if causes else "nothing"
    return f"{noticed}; true cause: {fault(outcome.fault).cause} First named: {first}."


def times(parts: Sequence[tuple[str, float]]) -> Text:
    """How long each part took, and all of them."""
    told = " · ".join(f"{what} {duration(seconds)}" for what, seconds in parts)
    return Text(f"  times: {told} · together {duration(sum(seconds for _, seconds in parts))}", style="dim")


def duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
