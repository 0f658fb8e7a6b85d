"""The demo: the layer, a shop of real processes, a fault, an incident, a question, an answer.

python -m demo [--fault NAME] [--once]
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from ray.exceptions import RayError
from rich.text import Text

from actors.runtime import Layer
from agent.errors import ObservabilityError, SettingsError
from agent.settings import Settings, load
from chatops.terminal.answers import render as answer_view
from chatops.terminal.prompt import Lines
from chatops.terminal.untrusted import shown
from demo import views
from demo.questions import ask_more
from demo.scenario import QUESTION, LayerClient, Outcome, run_fault, wait, watch
from demo.screen import DATA_DIR, console, progress, say
from demo.shop.faults import FAULTS, fault
from demo.shop.process import ProcessFailed
from demo.shop.supervisor import Shop, ShopClosed

BASELINE_S = 90.0
DETECT_LIMIT_S = 90.0
QUIET_S = 120.0  # how long ``none`` is watched
HOW_ON = (
    "  what to try: end other copies of the demo; leave it 3 GB of memory; `rm -rf .demo` and once more.\n"
    "  Ray's logs are in the folder session_latest/logs below its temporary folder (mostly /tmp/ray)."
)


class Stopwatch:
    """How long each part of the story took."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, float]] = []
        self._since_s = time.monotonic()

    def lap(self, what: str) -> None:
        now_s = time.monotonic()
        self.parts.append((what, now_s - self._since_s))
        self._since_s = now_s


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


async def tell(layer: LayerClient, name: str, *, once: bool, otlp: str, times: Stopwatch) -> Outcome:
    """The whole story on the screen; leaves the shop running for questions unless ``once``."""
    shop = Shop((DATA_DIR / "shop").resolve(), otlp, seed=int(time.time()))
    console.rule("2. the shop")
    try:
        with progress("starting the shop's processes"):
            await shop.start(lambda member: say(member.name, views.where(member, DATA_DIR / "shop")))
        times.lap("the shop")
        console.rule("3. healthy")
        healthy_since_s = time.time()
        await _healthy(shop, layer, healthy_since_s)
        times.lap("healthy")
        console.rule(f"4. {name}")
        outcome = await _break(name, shop, layer, healthy_since_s)
        times.lap("fault to answer")
        console.rule(f"6. {QUESTION}")
        console.print(answer_view(outcome.answer))
        console.print(views.verdict(outcome))
        console.print(views.times(times.parts))
        if not once and sys.stdin is not None:
            await ask_more(layer, Lines(sys.stdin.fileno()))
        return outcome
    finally:
        with progress("ending the shop"):
            await shop.stop()


async def _healthy(shop: Shop, layer: LayerClient, since_s: float) -> None:
    """Let the layer see normal traffic for a while; an incident now would be a false one."""
    with progress("watching normal traffic") as line:

        async def tick(passed_s: float) -> None:
            left_s = BASELINE_S - (time.time() - since_s)
            line.show(
                f"watching normal traffic, {left_s:.0f} s to go · last 10 s: {views.seen(shop.seen(10.0))}"
            )

        raised = await watch(layer, BASELINE_S, since_s, tick)
        if raised:
            console.print(views.false_alarm(raised))
            await wait(BASELINE_S - (time.time() - since_s), tick)
    say("baseline", f"{BASELINE_S:.0f} s of normal traffic: {shop.seen(BASELINE_S)}")


async def _break(name: str, shop: Shop, layer: LayerClient, healthy_since_s: float) -> Outcome:
    console.print(Text(f"  {fault(name).does}", style="bold"))
    limit_s = QUIET_S if name == "none" else DETECT_LIMIT_S
    with progress("breaking it") as line:

        async def tick(passed_s: float) -> None:
            line.show(
                f"{passed_s:.0f} s since then · the layer is watching · last 10 s: {views.seen(shop.seen(10.0))}"
            )

        def raised(incident: dict[str, Any], after_s: float) -> None:
            console.rule("5. the layer raises an incident")
            console.print(views.incident(incident, after_s))
            line.show("reading the page before asking")

        return await run_fault(
            name,
            shop,
            layer,
            limit_s=limit_s,
            on_tick=tick,
            on_incident=raised,
            healthy_since_s=healthy_since_s,
        )


@contextmanager
def running(times: Stopwatch) -> Iterator[Layer]:
    """The layer, ended with the block. Ends the program with the reason where it does not start."""
    console.rule("1. the layer")
    layer = Layer(demo_settings(), say)
    try:
        try:
            with progress("starting the layer"):
                layer.start()
        except SettingsError:
            raise
        except (ObservabilityError, RayError, OSError, RuntimeError) as error:
            console.print(Text(f"the layer did not start: {shown(str(error) or repr(error))}", style="red"))
            console.print(HOW_ON, markup=False)
            raise typer.Exit(1) from None
        say("API", layer.address("http"))
        times.lap("the layer")
        yield layer
    finally:
        with progress("ending the layer"):
            layer.stop()


def main(
    name: str = typer.Option("slow-query", "--fault", help="What to break: " + ", ".join(FAULTS)),
    once: bool = typer.Option(
        False, "--once", help="Leave at the end; exit code 0 only if the answer was right."
    ),
) -> None:
    """Start the layer and the demo shop, break something, and ask why."""
    if name not in FAULTS:
        console.print(Text(f"no fault {name!r}; there are: {', '.join(FAULTS)}", style="red"))
        raise typer.Exit(2)
    began_s = time.monotonic()
    try:
        with running(times := Stopwatch()) as layer:

            async def story() -> Outcome:
                async with LayerClient(layer.address("http")) as client:
                    return await tell(client, name, once=once, otlp=layer.address("otlp/http"), times=times)

            outcome = asyncio.run(story())
    except KeyboardInterrupt:
        console.print("ended", style="dim")
        raise typer.Exit(130) from None
    except (ObservabilityError, ProcessFailed, ShopClosed, RayError, OSError) as error:
        console.print(Text(shown(str(error)), style="red"))
        raise typer.Exit(1) from None
    say("ended", f"everything is stopped, after {views.duration(time.monotonic() - began_s)}")
    raise typer.Exit(0 if outcome.right else 1)


if __name__ == "__main__":
    typer.run(main)
