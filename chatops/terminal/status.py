"""``kubechat-obs status``: the actors of the layer at a glance."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from chatops.terminal import options
from chatops.terminal.client import Client
from chatops.terminal.untrusted import shown_all, shown_json

EPILOG = """
Examples:

  kubechat-obs status

  kubechat-obs status --watch

  kubechat-obs status --json | jq '.actors[] | select(.state != "ready")'

Ends with 0 when all actors are ready, 1 when some are not or the layer cannot be reached.
"""

STATE_STYLES = {"ready": "green", "starting": "yellow", "failed": "bold red"}
ROWS = (
    "spans",
    "logs",
    "metrics",
    "samples",
    "rows",
    "requests",
    "answers",
)  # whose totals are told as rates
QUEUES = ("pending_bytes", "behind_bytes", "live_waiting_bytes")  # what an actor has before it
WATCH_S = 1.0


@dataclass(slots=True)
class Rates:
    """How fast totals grow between two looks, by actor."""

    at_s: float = 0.0
    totals: dict[str, dict[str, float]] = field(default_factory=dict)
    per_s: dict[str, dict[str, float]] = field(default_factory=dict)

    def look(self, status: Mapping[str, Any], now_s: float) -> None:
        totals = {
            actor["name"]: {
                name.removesuffix("_total"): value
                for name, value in actor["figures"].items()
                if name.endswith("_total") and name.removesuffix("_total") in ROWS
            }
            for actor in status["actors"]
        }
        if self.at_s and now_s > self.at_s:
            self.per_s = {
                actor: {
                    name: max(0.0, value - self.totals.get(actor, {}).get(name, value)) / (now_s - self.at_s)
                    for name, value in figures.items()
                }
                for actor, figures in totals.items()
            }
        self.at_s, self.totals = now_s, totals


def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Stay, and look again each second.")] = False,
    as_json: options.AsJson = False,
    url: options.Url = "",
    token: options.Token = "",
    config: options.Config = None,
) -> None:
    """Show what runs: each actor with its state, uptime, restarts, rates, lag and memory."""
    client = options.client(url, config, token)
    ready = asyncio.run(_status(client, watch, as_json))
    if not ready:
        raise typer.Exit(1)


async def _status(client: Client, watch: bool, as_json: bool) -> bool:
    async with client:
        found = await client.get("/api/v1/status")
        if as_json:
            sys.stdout.write(shown_json(orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()) + "\n")
            return bool(found["state"] == "ready")
        rates = Rates()
        rates.look(found, time.monotonic())
        if watch:
            with Live(render(found, rates, time.time()), auto_refresh=False) as live:
                while True:
                    await asyncio.sleep(WATCH_S)
                    found = await client.get("/api/v1/status")
                    rates.look(found, time.monotonic())
                    live.update(render(found, rates, time.time()), refresh=True)
        Console().print(render(found, rates, time.time()))
        return bool(found["state"] == "ready")


def render(status: Mapping[str, Any], rates: Rates, now_s: float) -> RenderableType:
    status = shown_all(status)
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in ("actor", "state", "pid", "up"):
        table.add_column(name, no_wrap=True)
    for name in ("restarts", "rate/s" if rates.per_s else "total", "lag", "queue", "window"):
        table.add_column(name, justify="right")
    for actor in status["actors"]:
        table.add_row(*_row(actor, status["restarts"].get(actor["name"], 0), rates, now_s))
    parts: list[RenderableType] = [table]
    for actor in status["actors"]:
        if actor["listens"]:
            told = ", ".join(f"{protocol} {where}" for protocol, where in sorted(actor["listens"].items()))
            parts.append(Text(f"{actor['name']} listens: {told}", style="dim"))
        if actor.get("detail"):
            parts.append(Text(f"{actor['name']}: {actor['detail']}", style="yellow"))
        if actor.get("refused"):
            told = ", ".join(f"{reason} {count}" for reason, count in sorted(actor["refused"].items()))
            parts.append(Text(f"{actor['name']} refused: {told}", style="yellow"))
    if status.get("dashboard_url"):
        parts.append(Text(f"Ray dashboard: {status['dashboard_url']}", style="dim"))
    return Group(*parts)


def _row(actor: Mapping[str, Any], restarts: int, rates: Rates, now_s: float) -> list[RenderableType]:
    figures = actor["figures"]
    rows = rates.per_s.get(actor["name"], {}) if rates.per_s else rates.totals.get(actor["name"], {})
    queue = next((figures[name] for name in QUEUES if name in figures), None)
    lag = figures.get("lag_s")
    window = figures.get("window_bytes")
    return [
        Text(actor["name"]),
        Text(actor["state"], style=STATE_STYLES.get(actor["state"], "")),
        Text(str(actor["pid"] or "")),
        Text(duration(now_s - actor["started_s"]) if actor["started_s"] else ""),
        Text(str(restarts), style="yellow" if restarts else ""),
        Text(" ".join(f"{name} {number(value)}" for name, value in rows.items())),
        Text(f"{lag:.1f} s" if lag is not None else ""),
        Text(number(queue) if queue is not None else ""),
        Text(f"{window / (1 << 20):.0f} MiB" if window is not None else ""),
    ]


def number(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value:.0f}"


def duration(seconds: float) -> str:
    seconds = max(0, int(seconds))
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m{seconds % 60:02d}s"
    return f"{seconds // 3600}h{seconds % 3600 // 60:02d}m"
