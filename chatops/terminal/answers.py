"""An answer as a person reads it in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.text import Text

from chatops.terminal.untrusted import shown_all

VERDICTS = {
    "cause": ("red", "Something is wrong, and this is why"),
    "nothing_unusual": ("green", "Nothing unusual"),
    "not_enough_data": ("yellow", "Not enough data to say"),
}
SHOWN_SHARE = 0.1  # of the blame; causes with less are only named
SHOWN_REFERENCES = 3  # of one statement; --json has all
SIGNAL_STYLES = {
    "traces": "magenta", "logs": "yellow", "metrics": "cyan", "changes": "blue",
    "spans": "magenta", "incident": "bold red",
}  # fmt: skip


def render(answer: Mapping[str, Any]) -> RenderableType:
    answer = shown_all(answer)
    colour, title = VERDICTS.get(str(answer.get("verdict")), ("white", str(answer.get("verdict"))))
    parts: list[RenderableType] = [Text(str(answer.get("summary", ""))), Text(_facts(answer), style="dim")]
    causes = list(answer.get("causes", ()))
    told = [cause for cause in causes if cause is causes[0] or float(cause.get("share", 0)) >= SHOWN_SHARE]
    for cause in told:
        parts += ["", *_cause(cause)]
    if len(told) < len(causes):
        parts += ["", Text(_others(causes[len(told) :]), style="dim")]
    return Panel(Group(*parts), title=f"[bold]{escape(title)}[/]", border_style=colour, title_align="left")


def _facts(answer: Mapping[str, Any]) -> str:
    facts = [f"confidence {float(answer['confidence']):.0%}"] if answer.get("confidence") else []
    if answer.get("service"):
        facts.append(f"about {answer['service']}")
    if answer.get("end_s"):
        facts.append(f"{clock(answer['start_s'])} to {clock(answer['end_s'])} UTC")
    if answer.get("took_ms"):
        facts.append(f"answered in {float(answer['took_ms']):.0f} ms")
    if answer.get("incident_id"):
        facts.append(f"incident {answer['incident_id']}")
    return " · ".join(facts)


def _others(causes: Sequence[Mapping[str, Any]]) -> str:
    named = ", ".join(f"{cause.get('service')} {float(cause.get('share', 0)):.0%}" for cause in causes)
    return f"far less likely: {named} (--json tells what was seen there)"


def _cause(cause: Mapping[str, Any]) -> Iterator[RenderableType]:
    where = "/".join(str(cause[key]) for key in ("service", "instance") if cause.get(key))
    head = Text.assemble(
        (f"{cause.get('rank')}. ", "bold"),
        (where, "bold red" if cause.get("rank") == 1 else "bold"),
        f"  {str(cause.get('kind', '')).replace('_', ' ')}",
        (f"  {float(cause.get('share', 0)):.0%} of the blame", "dim"),
    )
    if cause.get("operation"):
        head.append(f"  {cause['operation']}", style="italic")
    yield head
    yield Padding(Text(str(cause.get("statement", ""))), (0, 0, 0, 3))
    for evidence in cause.get("evidence", ()):
        yield Padding(_evidence(evidence, str(cause.get("statement", ""))), (0, 0, 0, 3))
    for recommendation in cause.get("recommendations", ()):
        yield Padding(_recommendation(recommendation), (0, 0, 0, 3))


def _evidence(evidence: Mapping[str, Any], said: str) -> Text:
    """``said`` stands above already and is not said again."""
    signal, statement = str(evidence.get("signal", "")), str(evidence.get("statement", ""))
    text = Text.assemble(
        (f"{signal:>7} ", SIGNAL_STYLES.get(signal, "")), "" if statement == said else statement
    )
    references = [str(reference) for reference in evidence.get("references", ())]
    if references:
        more = (
            f"  and {len(references) - SHOWN_REFERENCES} more" if len(references) > SHOWN_REFERENCES else ""
        )
        text.append(
            ("" if statement == said else "\n        ") + "  ".join(references[:SHOWN_REFERENCES]) + more,
            style="dim",
        )
    return text


def _recommendation(recommendation: Mapping[str, Any]) -> Text:
    text = Text.assemble(("   -> do ", "green"), (str(recommendation.get("action", "")), "bold"))
    if recommendation.get("why"):
        text.append(f": {recommendation['why']}")
    if recommendation.get("command"):
        text.append(f"\n        $ {recommendation['command']}", style="green")
    return text


def clock(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return (
        f"{moment:%H:%M:%S}"
        if abs(seconds - datetime.now(UTC).timestamp()) < 43_200
        else f"{moment:%Y-%m-%d %H:%M:%S}"
    )
