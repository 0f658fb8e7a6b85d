"""The demo: the layer, a shop of real processes, a fault, an incident, a question, an answer.

python -m demo [--fault NAME] [--once]
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.panel import Panel
from rich.prompt import Prompt
from rich.table import Table

from actors.runtime import Layer
from agent.errors import ObservabilityError
from agent.settings import Settings, load
from chatops.terminal.answers import render as answer_view
from demo.scenario import QUESTION, LayerClient, Outcome, run_fault, wait, watch
from demo.shop.faults import FAULTS, fault
from demo.shop.supervisor import Member, Shop

DATA_DIR = Path(".demo")
BASELINE_S = 90.0
DETECT_LIMIT_S = 90.0
QUIET_S = 120.0  # how long ``none`` is watched
WIDTH = 14

console = Console()


def say(what: str, detail: str) -> None:
    console.print(f"  [green]✓[/] {what:<{WIDTH}} [dim]{detail}[/]")


def demo_settings() -> Settings:
    """The defaults, with fresh data beside the demo, and free ports where the usual ones are taken."""
    for old in ("log", "state", "postgresql"):
        shutil.rmtree(DATA_DIR / "layer" / old, ignore_errors=True)
    ports = {
        "KUBECHAT_OBS_GATEWAY_OTLP_GRPC_PORT": 4317,
        "KUBECHAT_OBS_GATEWAY_OTLP_HTTP_PORT": 4318,
        "KUBECHAT_OBS_AGGREGATOR_PORT": 8400,
        "KUBECHAT_OBS_RAY_DASHBOARD_PORT": 8265,
    }
    chosen = {name: str(_free(port)) for name, port in ports.items()}
    return load(
        environ={"KUBECHAT_OBS_GENERAL_DATA_DIR": str((DATA_DIR / "layer").resolve()), **chosen, **os.environ}
    )


def _free(port: int) -> int:
    for wanted in (port, 0):
        try:
            with socket.create_server(("127.0.0.1", wanted)) as held:
                return int(held.getsockname()[1])
        except OSError:
            continue
    return port


async def tell(layer: LayerClient, name: str, *, once: bool, otlp: str) -> Outcome:
    """The whole story on the screen; leaves the shop running for questions unless ``once``."""
    shop = Shop((DATA_DIR / "shop").resolve(), otlp, seed=int(time.time()))
    console.rule("2. the shop")
    try:
        await shop.start(lambda member: say(member.name, _where(member)))
        console.rule("3. healthy")
        await _healthy(shop, layer)
        console.rule(f"4. {name}")
        outcome = await _break(name, shop, layer)
        console.rule(f"6. {QUESTION}")
        console.print(answer_view(outcome.answer))
        _verdict(name, outcome)
        if not once:
            await _questions(layer)
        return outcome
    finally:
        console.print("[dim]ending the shop…[/]")
        await shop.stop()


def _where(member: Member) -> str:
    version = f" version {member.version}" if member.version else ""
    return f"{member.url}{version} (pid {member.pid})"


async def _healthy(shop: Shop, layer: LayerClient) -> None:
    """Let the layer see normal traffic for a while; an incident now would be a false one."""
    since_s = time.time()
    with console.status("") as line:

        async def tick(passed_s: float) -> None:
            line.update(
                f"watching normal traffic, {BASELINE_S - passed_s:3.0f} s to go · last 10 s: {_seen(shop)}"
            )

        false_alarm = await watch(layer, BASELINE_S, since_s, tick)
        if false_alarm:
            console.print(f"  [red]an incident without a fault:[/] {false_alarm['title']}")
            await wait(BASELINE_S - (time.time() - since_s), tick)
    say("baseline", f"{BASELINE_S:.0f} s of normal traffic: {shop.seen(BASELINE_S)}")


def _seen(shop: Shop) -> str:
    seen = shop.seen(10.0)
    return "nothing yet" if math.isnan(seen.p50_ms) else str(seen)


async def _break(name: str, shop: Shop, layer: LayerClient) -> Outcome:
    what = fault(name)
    console.print(f"  [bold]{what.does}[/]")
    limit_s = QUIET_S if name == "none" else DETECT_LIMIT_S
    with console.status("") as line:

        async def tick(passed_s: float) -> None:
            line.update(f"{passed_s:3.0f} s since then · the layer is watching · last 10 s: {_seen(shop)}")

        def raised(incident: dict[str, Any], after_s: float) -> None:
            console.rule("5. the layer raises an incident")
            console.print(_incident_view(incident, after_s))
            line.update("reading the page before asking")

        return await run_fault(name, shop, layer, limit_s=limit_s, on_tick=tick, on_incident=raised)


def _incident_view(incident: dict[str, Any], after_s: float) -> Panel:
    table = Table.grid(padding=(0, 2))
    table.add_row("severity", incident["severity"])
    table.add_row("services", ", ".join(incident["services"]))
    table.add_row("noticed", f"{after_s:.0f} s after the fault")
    for anomaly in incident.get("anomalies", [])[:6]:
        table.add_row("", f"[dim]{anomaly['sentence']}[/]")
    return Panel(table, title=f"[red]{incident['title']}[/]", title_align="left")


def _verdict(name: str, outcome: Outcome) -> None:
    if name == "none":
        text = (
            "said that nothing is wrong, and raised nothing"
            if outcome.right
            else "saw something where nothing was"
        )
    else:
        first = outcome.answer["causes"][0]["service"] if outcome.answer.get("causes") else "nothing"
        raised = (
            f"noticed after {outcome.detected_s:.0f} s" if outcome.detected_s is not None else "not noticed"
        )
        text = f"{raised}; true cause: {fault(name).cause} First named: {first}."
    console.print(f"  {'[green]✓ right[/]' if outcome.right else '[red]✗ wrong[/]'}  {text}")


async def _questions(layer: LayerClient) -> None:
    console.rule("ask more, Ctrl-C to end")
    while True:
        question = await asyncio.to_thread(Prompt.ask, "[bold]ask[/]", console=console, default=QUESTION)
        try:
            console.print(answer_view(await layer.ask(question)))
        except (RuntimeError, OSError) as error:
            console.print(f"[red]{error}[/]")


def main(
    name: str = typer.Option("slow-query", "--fault", help="What to break: " + ", ".join(FAULTS)),
    once: bool = typer.Option(
        False, "--once", help="Leave at the end; exit code 0 only if the answer was right."
    ),
) -> None:
    """Start the layer and the demo shop, break something, and ask why."""
    if name not in FAULTS:
        console.print(f"[red]no fault {name!r}[/]; there are: {', '.join(FAULTS)}")
        raise typer.Exit(2)
    console.rule("1. the layer")
    try:
        with Layer(demo_settings(), say) as layer:
            say("API", layer.address("http"))

            async def story() -> Outcome:
                async with LayerClient(layer.address("http")) as client:
                    return await tell(client, name, once=once, otlp=layer.address("otlp/http"))

            outcome = asyncio.run(story())
            console.print("[dim]ending the layer…[/]")
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except ObservabilityError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None
    raise typer.Exit(0 if outcome.right else 1)


if __name__ == "__main__":
    typer.run(main)
