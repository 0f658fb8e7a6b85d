"""The entry point of ``kubechat-obs``.

Exit codes: 0 done, 1 the layer cannot be reached or says an error, 2 the command is not understood.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from agent.errors import ObservabilityError
from agent.version import VERSION
from chatops.terminal import ask, live, migrate, query, replay, status, up
from chatops.terminal.untrusted import shown

EPILOG = """
Start here:

  kubechat-obs up                          (in one terminal)

  kubechat-obs ask "why is latency up?"    (in another)

Each command has --help with examples.
"""


class FriendlyGroup(TyperGroup):
    """Errors that were raised on purpose are told in a sentence, not as a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ObservabilityError as error:
            Console(stderr=True, soft_wrap=True).print(shown(f"error: {error}"), style="red", markup=False)
            raise typer.Exit(1) from None


app = typer.Typer(
    name="kubechat-obs",
    cls=FriendlyGroup,
    help="Takes in metrics, traces and logs, notices what is wrong, and says why.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
)
app.command(epilog=up.EPILOG)(up.up)
app.command(epilog=ask.EPILOG)(ask.ask)
app.command(epilog=query.EPILOG)(query.query)
app.command(epilog=status.EPILOG)(status.status)
app.command(epilog=live.EPILOG)(live.live)
app.command(epilog=replay.EPILOG)(replay.replay)
app.add_typer(migrate.app, name="migrate")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(VERSION)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
