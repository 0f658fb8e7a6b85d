"""``kubechat-obs ask``: one question and its answer, or one after another."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from agent.errors import ObservabilityError
from chatops.terminal import options
from chatops.terminal.answers import render
from chatops.terminal.client import Client
from chatops.terminal.prompt import Lines
from chatops.terminal.untrusted import shown, shown_json

EPILOG = """
Examples:

  kubechat-obs ask "why is latency up?"

  kubechat-obs ask "why is it slow?" --service checkout --at now-10m

  kubechat-obs ask "why is latency up?" --json | jq .causes[0]

Without a question in a terminal it asks you for one after another.
Exit codes: 0 there is an answer (also "nothing unusual"),
1 the layer cannot be reached or answers with an error,
2 the command is not understood.
"""


def ask(
    question: Annotated[
        str, typer.Argument(help="What you want to know, in plain words.", show_default=False)
    ] = "",
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="The service that it is about.")
    ] = "",
    at: Annotated[
        str,
        typer.Option(
            "--at", metavar="TIME", help="When it was bad: 2023-01-29T08:50:00Z, Unix seconds, now-15m."
        ),
    ] = "",
    as_json: options.AsJson = False,
    tenant: options.Tenant = "",
    url: options.Url = "",
    token: options.Token = "",
    config: options.Config = None,
) -> None:
    """Ask why something is slow or failing; get ranked causes, the evidence and what to do."""
    if not question and not sys.stdin.isatty():
        raise typer.BadParameter('give a question, e.g. kubechat-obs ask "why is latency up?"')
    client = options.client(url, config, token, tenant)
    asyncio.run(_ask(client, question, service, at, as_json))


async def _ask(client: Client, question: str, service: str, at: str, as_json: bool) -> None:
    console = Console()
    async with client:
        if question:
            show(console, await post_question(client, question, service, at), as_json)
            return
        console.print("Ask away; an empty line or Ctrl-D ends it.", style="dim")
        lines = Lines(sys.stdin.fileno())
        while question := await _prompt(console, lines):
            try:
                show(console, await post_question(client, question, service, at), as_json)
            except ObservabilityError as error:
                console.print(shown(str(error)), style="red", markup=False)


async def post_question(
    client: Client, question: str, service: str = "", at: str = "", tenant: str = ""
) -> Any:
    given = {"question": question, "service": service, "at": at, "tenant": tenant}
    return await client.post("/api/v1/ask", {name: text for name, text in given.items() if text})


def show(console: Console, answer: Any, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(shown_json(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode()) + "\n")
    else:
        console.print(render(answer))


async def _prompt(console: Console, lines: Lines) -> str:
    console.print("why? >", style="bold", end=" ")
    return (await lines.next() or "").strip()
