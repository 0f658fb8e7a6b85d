"""``kubechat-obs migrate``: the database's schema, forward, back, and how far it is."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table

from agent.settings import load
from chatops.terminal import options

EPILOG = """
Examples:

  kubechat-obs migrate status

  kubechat-obs migrate up

  kubechat-obs migrate down --to 3

The database is that of DATABASE_URL; without it the embedded one, which is started for this where it does not run.
"""

To = Annotated[
    int | None, typer.Option("--to", metavar="N", min=0, show_default=False, help="The version to stop at.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before tables are taken down.")]

app = typer.Typer(
    help="Bring the database's schema forward or back, or see how far it is.",
    epilog=EPILOG,
    no_args_is_help=True,
)


@contextmanager
def database_url(config: Path | None) -> Iterator[str]:
    """The database of the settings; the embedded one runs while it is used."""
    from actors.places import database_folder
    from agent.store.embedded import EmbeddedPostgres

    settings = load(config)
    if settings.database.url:
        yield settings.database.url.reveal()
        return
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    postgres = EmbeddedPostgres(database_folder(settings))
    try:
        yield postgres.start()
    finally:
        postgres.stop()


@app.command(epilog=EPILOG)
def up(to: To = None, config: options.Config = None) -> None:
    """Apply what is pending."""
    from agent.store.migrations import migrate_up

    with database_url(config) as url:
        _report("applied", asyncio.run(migrate_up(url, to)))


@app.command(epilog=EPILOG)
def down(to: To = None, yes: Yes = False, config: options.Config = None) -> None:
    """Take back the last migration, or all above --to. Rows are kept and come back with `migrate up`."""
    from agent.store.migrations import migrate_down

    if not yes:
        typer.confirm(
            f"Take back {'the last migration' if to is None else f'all migrations above {to}'}?", abort=True
        )
    with database_url(config) as url:
        _report("taken back", asyncio.run(migrate_down(url, to)))


@app.command(epilog=EPILOG)
def status(as_json: options.AsJson = False, config: options.Config = None) -> None:
    """List the migrations and which are applied."""
    from agent.store.migrations import migration_status

    with database_url(config) as url:
        found = asyncio.run(migration_status(url))
    if as_json:
        sys.stdout.write(
            orjson.dumps([_plain(one) for one in found], option=orjson.OPT_INDENT_2).decode() + "\n"
        )
        return
    table = Table("version", "name", "state", "applied", box=None, header_style="bold")
    for one in found:
        table.add_row(
            f"{one.version:04d}",
            one.name,
            one.state.value,
            f"{one.applied_at:%Y-%m-%d %H:%M}" if one.applied_at else "",
        )
    Console().print(table)


def _plain(one: Any) -> dict[str, Any]:
    return {"version": one.version, "name": one.name, "state": one.state.value, "applied_at": one.applied_at}


def _report(done: str, migrations: tuple[Any, ...]) -> None:
    console = Console()
    for migration in migrations:
        console.print(f"{done} {migration}", markup=False)
    if not migrations:
        console.print("nothing to do")
