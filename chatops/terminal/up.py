"""``kubechat-obs up``: the layer in the foreground, until Ctrl-C."""

from __future__ import annotations

import signal
import threading

from rich.console import Console
from rich.text import Text

from chatops.terminal import options

EPILOG = """
Examples:

  kubechat-obs up

  DATABASE_URL=postgresql://user:password@host/kubechat kubechat-obs up

  RAY_ADDRESS=auto kubechat-obs up --config layer.toml

Without DATABASE_URL and RAY_ADDRESS it starts its own PostgreSQL and its own Ray. Send OTLP to
127.0.0.1:4317 (gRPC) or http://127.0.0.1:4318, then ask: kubechat-obs ask "why is latency up?"
"""


def up(config: options.Config = None) -> None:
    """Start the layer here, and keep it running until Ctrl-C."""
    from actors.runtime import Layer  # Ray takes a second to import, and only this command needs it
    from agent.settings import load

    console = Console()
    settings = load(config)

    def say(what: str, detail: str) -> None:
        console.print(Text.assemble(("✓ ", "green"), (what, "bold"), " ", detail))

    with console.status("starting the layer") as spinner:
        layer = Layer(settings, say)
        try:
            layer.start()
        except BaseException:
            layer.stop()
            raise
        spinner.stop()
    try:
        console.print(
            f'[bold green]ready[/]  API {layer.address("http")}  ask: kubechat-obs ask "why is latency up?"'
        )
        console.print("Ctrl-C stops it", style="dim")
        wait_for_stop()
        console.print("stopping")
    finally:
        layer.stop()


def wait_for_stop() -> None:
    """Until SIGINT or SIGTERM; a second one is left to Python, so that a stop that hangs can be broken."""
    stop = threading.Event()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {one: signal.signal(one, lambda *_: stop.set()) for one in signals}
    try:
        while not stop.wait(0.5):  # a wait without end would not run the handler on every platform
            pass
    finally:
        for one in signals:
            signal.signal(one, signal.default_int_handler if one is signal.SIGINT else before[one])
