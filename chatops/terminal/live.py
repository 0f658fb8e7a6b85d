"""``kubechat-obs live``: telemetry and incidents in the terminal as they come in."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import orjson
import typer
from rich.console import Console
from rich.text import Text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException

from chatops.terminal import options
from chatops.terminal.answers import SIGNAL_STYLES
from chatops.terminal.client import Client, Refused, Unreachable
from chatops.terminal.untrusted import shown_all, shown_json

EPILOG = """
Examples:

  kubechat-obs live

  kubechat-obs live --signal logs --severity warn --service checkout

  kubechat-obs live --signal incidents --json

Ctrl-C ends it. Where more comes in than the terminal can print, it says how much you miss.
"""

LEVELS = (
    (21, "fatal", "bold red"),
    (17, "error", "red"),
    (13, "warn", "yellow"),
    (9, "info", ""),
    (5, "debug", "dim"),
    (1, "trace", "dim"),
)
RETRY_S = 1.0
MAX_FRAME_BYTES = 64 << 20
SPAN_ERROR = 2

Signals = Annotated[
    list[str] | None,
    typer.Option(
        "--signal",
        metavar="NAME",
        help="Only spans, logs, metrics or incidents; may be given again.",
        show_default=False,
    ),
]
Services = Annotated[
    list[str] | None,
    typer.Option(
        "--service", metavar="NAME", help="Only this service; may be given again.", show_default=False
    ),
]


def live(
    signal: Signals = None,
    service: Services = None,
    severity: Annotated[
        str,
        typer.Option(
            "--severity",
            metavar="LEVEL",
            help="Only log lines of trace, debug, info, warn, error or fatal and above.",
        ),
    ] = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="N", min=0, help="End after N messages; 0 goes on.")
    ] = 0,
    as_json: options.AsJson = False,
    tenant: options.Tenant = "default",
    url: options.Url = "",
    token: options.Token = "",
    config: options.Config = None,
) -> None:
    """Watch telemetry and incidents as they come in."""
    client = options.client(url, config, token)
    query = {
        "signals": ",".join(signal or ("spans", "logs", "metrics", "incidents")),
        "services": ",".join(service or ()),
        "severity": severity,
        "tenant": tenant,
    }
    asyncio.run(_watch(client, {name: text for name, text in query.items() if text}, limit, as_json))


async def _watch(client: Client, query: Mapping[str, str], limit: int, as_json: bool) -> None:
    console, shown, connected = Console(), 0, False
    while True:
        try:
            async for message in _messages(client, query):
                connected = True
                shown += _show(console, message, as_json)
                if limit and shown >= limit:
                    return
        except Unreachable:
            if not connected:
                raise
        Console(stderr=True).print("the connection is lost; trying again", style="yellow")
        await asyncio.sleep(RETRY_S)


async def _messages(client: Client, query: Mapping[str, str]) -> Any:
    address = client.url.replace("http", "ws", 1) + "/api/v1/live?" + urlencode(query)
    try:
        async with connect(
            address, additional_headers=client.headers, max_size=MAX_FRAME_BYTES, compression=None
        ) as socket:
            while True:
                yield await socket.recv(decode=False)
    except ConnectionClosed:
        return
    except InvalidStatus as error:
        raise _refusal(error, client.url) from None
    except (OSError, InvalidURI, WebSocketException, TimeoutError) as error:
        raise Unreachable(client.url, str(error)) from None


def _refusal(error: InvalidStatus, url: str) -> Refused | Unreachable:
    try:
        said = orjson.loads(error.response.body or b"")["error"]
        return Refused(error.response.status_code, said["code"], said["message"], said["hint"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return Unreachable(url, f"what answers there ({error.response.status_code}) is not the layer")


def _show(console: Console, message: bytes, as_json: bool) -> int:
    """Prints a message; 1 where it is one that ``--limit`` counts."""
    found = orjson.loads(message)
    if as_json:
        sys.stdout.write(shown_json(message.decode()) + "\n")
        sys.stdout.flush()
    else:
        for line in lines(found):
            console.print(line, soft_wrap=True)
    return int(found.get("type") in ("spans", "logs", "metrics", "incident"))


def lines(message: Mapping[str, Any]) -> Iterator[Text]:
    """The lines that a message is worth."""
    message = shown_all(message)
    kind = message.get("type")
    if kind in _ROWS:
        yield from _ROWS[kind](message)
    elif kind == "incident":
        incident = message["incident"]
        what = incident.get("kind") or incident.get("status") or ""
        text = f"{what} {incident.get('severity', '')} {incident.get('title') or incident.get('id', '')}"
        yield Text.assemble(("INCIDENT ", SIGNAL_STYLES["incident"]), text)
    elif kind == "missed":
        told = ", ".join(f"{rows} {signal}" for signal, rows in message["rows"].items())
        yield Text(f"missed {told or message.get('reason', '')}", style="yellow")
    elif kind == "error":
        yield Text(f"{message['error']['message']} {message['error'].get('hint', '')}", style="red")
    elif kind == "subscribed":
        yield Text(
            f"watching {', '.join(message['signals'])} of {', '.join(message['services']) or 'all services'}",
            style="dim",
        )


def _head(message: Mapping[str, Any], time_ms: float, signal: str) -> Text:
    moment = datetime.fromtimestamp(time_ms / 1e3, UTC)
    where = message.get("instance") or message.get("service", "")
    return Text.assemble(
        (f"{moment:%H:%M:%S.%f}"[:12], "dim"),
        (f" {signal:7} ", SIGNAL_STYLES.get(signal, "")),
        (f"{where} ", "bold"),
    )


def _spans(message: Mapping[str, Any]) -> Iterator[Text]:
    c = message["columns"]
    for i in range(message["rows"]):
        style = "red" if c["status"][i] == SPAN_ERROR else ""
        yield _head(message, c["start_ms"][i], "spans").append(
            f"{c['name'][i]} {c['duration_ms'][i]:.2f} ms", style=style
        )


def _logs(message: Mapping[str, Any]) -> Iterator[Text]:
    c = message["columns"]
    for i in range(message["rows"]):
        _, level, style = next((x for x in LEVELS if c["severity"][i] >= x[0]), (0, "", ""))
        yield _head(message, c["time_ms"][i], "logs").append(f"{level:5} {c['body'][i]}", style=style)


def _metrics(message: Mapping[str, Any]) -> Iterator[Text]:
    c = message["columns"]
    for i in range(message["rows"]):
        labels = ",".join(f"{name}={value}" for name, value in c["labels"][i].items())
        value = c["value"][i]
        shown = f"{value:g}" if value is not None else "NaN"
        yield _head(message, c["time_ms"][i], "metrics").append(f"{c['metric'][i]}{{{labels}}} {shown}")


_ROWS = {"spans": _spans, "logs": _logs, "metrics": _metrics}
