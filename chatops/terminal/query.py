"""``kubechat-obs query``: a PromQL query's answer as a table, or as a line of blocks a series."""

from __future__ import annotations

import asyncio
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from agent.errors import ObservabilityError
from chatops.terminal import options
from chatops.terminal.client import Client, Refused
from chatops.terminal.sparks import number, sparkline
from chatops.terminal.times import parse_at_s, parse_span_s
from chatops.terminal.untrusted import shown, shown_all, shown_json

EPILOG = """
Examples:

  kubechat-obs query up

  kubechat-obs query 'sum by (service) (rate(http_requests_total[5m]))'

  kubechat-obs query 'sum(rate(http_requests_total[5m]))' --range 1h --step 15s

  kubechat-obs query 'topk(5, process_resident_memory_bytes)' --at now-10m --json | jq .data.result

Put the query in single quotes, so that the shell leaves its braces and dollars alone.
Exit codes: 0 there is an answer (also an empty one), 1 the layer cannot be reached or refuses the query,
2 the command is not understood.
"""

NAME = "__name__"
MAX_ROWS = 200
POINTS = 60  # of a range whose step is left open
BLOCKS = 40  # how wide a sparkline is
FAR_S = 300.0  # further from the newest telemetry than this, an empty answer deserves a hint
_PLACE = re.compile(r"(\d+):(\d+): parse error")


def query(
    expression: Annotated[str, typer.Argument(help="What to compute, in PromQL.", show_default=False)],
    at: Annotated[
        str,
        typer.Option(
            "--at",
            metavar="TIME",
            help="When: 2023-01-29T08:50:00Z, Unix seconds, now-15m. With --range: until when.",
        ),
    ] = "",
    span: Annotated[
        str,
        typer.Option("--range", metavar="DURATION", help="How far back, e.g. 1h: a line of blocks a series."),
    ] = "",
    step: Annotated[
        str,
        typer.Option(
            "--step", metavar="DURATION", help=f"Between two points of a range; default: a {POINTS}th of it."
        ),
    ] = "",
    as_json: options.AsJson = False,
    tenant: options.Tenant = "",
    url: options.Url = "",
    token: options.Token = "",
    config: options.Config = None,
) -> None:
    """Ask for metrics in PromQL: a table of labels and values, over a range a sparkline a series."""
    form = _form(expression, at, span, step)
    client = options.client(url, config, token, tenant)
    asyncio.run(_query(client, form, tenant or "default", as_json))


def _form(expression: str, at: str, span: str, step: str) -> dict[str, str]:
    """The request's parameters. Raises typer.BadParameter."""
    try:
        at_s = parse_at_s(at, time.time())
        if not span:
            if step:
                raise typer.BadParameter("--step belongs to --range: add e.g. --range 1h")
            return {"query": expression, "time": f"{at_s:.3f}"}
        span_s = parse_span_s(span)
        step_s = parse_span_s(step) if step else max(1.0, round(span_s / POINTS))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return {
        "query": expression,
        "start": f"{at_s - span_s:.3f}",
        "end": f"{at_s:.3f}",
        "step": f"{step_s:.3f}",
    }


async def _query(client: Client, form: Mapping[str, str], tenant: str, as_json: bool) -> None:
    path = "/api/v1/query_range" if "step" in form else "/api/v1/query"
    async with client:
        try:
            reply = await client.post_form(path, form)
        except Refused as error:
            raise _pointed(error, form["query"]) from None
        if as_json:
            sys.stdout.write(shown_json(orjson.dumps(reply, option=orjson.OPT_INDENT_2).decode()) + "\n")
            return
        console = Console()
        console.print(render(reply))
        if not reply["data"]["result"]:
            await _hint(console, client, tenant, float(form.get("time") or form["end"]))


async def _hint(console: Console, client: Client, tenant: str, at_s: float) -> None:
    """Recorded telemetry has its own now, which a newcomer may not think of."""
    try:
        newest_ns = (await client.get("/api/v1/status"))["event_time_ns"].get(tenant, 0)
    except ObservabilityError:
        return
    if newest_ns and abs(newest_ns / 1e9 - at_s) > FAR_S:
        console.print(
            f"the newest telemetry of tenant {shown(tenant)} is of {_moment(newest_ns / 1e9)}: "
            f"try --at {newest_ns // 10**9}", style="yellow", markup=False,
        )  # fmt: skip


def _pointed(error: Refused, expression: str) -> ObservabilityError:
    """The error with a mark under the place that it speaks of."""
    place = _PLACE.search(error.message)
    if place is None:
        return error
    line, column = int(place[1]), int(place[2])
    lines = expression.split("\n")
    if not 0 < line <= len(lines):
        return error
    # The column counts bytes.
    before = lines[line - 1].encode()[: column - 1].decode("utf-8", "replace")
    told = error.message.split("parse error: ", 1)[1]
    return ObservabilityError(
        f"the query is not understood: {told}\n  {lines[line - 1]}\n  {' ' * len(before)}^"
    )


def render(reply: Mapping[str, Any]) -> RenderableType:
    reply = shown_all(reply)
    kind, result = reply["data"]["resultType"], reply["data"]["result"]
    parts: list[RenderableType] = []
    if kind in ("scalar", "string"):
        parts.append(Text(str(result[1])))
    elif not result:
        parts.append(Text("no series", style="yellow"))
    elif kind == "vector":
        at_s = (result[0].get("value") or result[0]["histogram"])[0]
        parts += [_vector(result), Text(f"{_count(len(result))} at {_moment(at_s)} UTC", style="dim")]
    else:
        parts += [_matrix(result), Text(_count(len(result)), style="dim")]
    for kind in ("warnings", "infos"):
        parts += [Text(note, style="yellow" if kind == "warnings" else "dim") for note in reply.get(kind, ())]
    return Group(*parts)


def _vector(rows: Sequence[Mapping[str, Any]]) -> Table:
    names = _names(rows)
    table = _table(names)
    table.add_column("value", justify="right")
    for row in rows[:MAX_ROWS]:
        shown_value = row["value"][1] if "value" in row else _histogram(row["histogram"][1])
        table.add_row(*(row["metric"].get(name, "") for name in names), shown_value)
    return table


def _matrix(rows: Sequence[Mapping[str, Any]]) -> Table:
    names, table = _names(rows), _table(_names(rows))
    times = sorted({float(at) for row in rows for at, _ in _points(row)})
    first, last, width = times[0], times[-1], min(BLOCKS, len(times))
    table.add_column(f"{_moment(first)} to {_moment(last)}", no_wrap=True)
    for name in ("min", "max", "last"):
        table.add_column(name, justify="right")
    for row in rows[:MAX_ROWS]:
        labels = [row["metric"].get(name, "") for name in names]
        points = [(float(at), float(value)) for at, value in row.get("values", ())]
        if not points:
            table.add_row(*labels, "(histograms)", "", "", _histogram(row["histograms"][-1][1]))
            continue
        values = [value for _, value in points if not math.isnan(value)] or [math.nan]
        shown_line = Text(sparkline(points, first, last, width), style="cyan")
        table.add_row(*labels, shown_line, *map(number, (min(values), max(values), points[-1][1])))
    return table


def _table(names: Sequence[str]) -> Table:
    table = Table(header_style="bold", box=None, pad_edge=False)
    for name in names:
        table.add_column("metric" if name == NAME else name, overflow="fold")
    return table


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The metric's name first, then the labels in order."""
    return sorted({name for row in rows for name in row["metric"]}, key=lambda name: (name != NAME, name))


def _points(row: Mapping[str, Any]) -> list[Any]:
    return [*row.get("values", ()), *row.get("histograms", ())]


def _histogram(one: Mapping[str, Any]) -> str:
    return f"count {one['count']}, sum {one['sum']}"


def _count(rows: int) -> str:
    told = "1 series" if rows == 1 else f"{rows} series"
    return f"{told}, the first {MAX_ROWS} shown" if rows > MAX_ROWS else told


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
