"""Options that several commands share, and where their values come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.settings import Settings, load
from chatops.terminal.client import Client

Url = Annotated[
    str,
    typer.Option(
        "--url", envvar="KUBECHAT_OBS_URL", show_default=False, metavar="URL",
        help="Where the layer answers. Default: what the settings say, which is http://127.0.0.1:8400.",
    ),
]  # fmt: skip
Config = Annotated[
    Path | None,
    typer.Option(
        "--config", envvar="KUBECHAT_OBS_CONFIG", show_default=False, metavar="FILE",
        help="A TOML file of settings (docs/settings.md lists them).",
    ),
]  # fmt: skip
Token = Annotated[
    str,
    typer.Option(
        "--token", envvar="KUBECHAT_OBS_TOKEN", show_default=False, metavar="TOKEN",
        help="The API's token, where it asks for one; better in the environment, which `ps` does not show.",
    ),
]  # fmt: skip
Tenant = Annotated[str, typer.Option("--tenant", metavar="NAME", help="Whose telemetry it is about.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]


def client(url: str, config: Path | None, token: str, tenant: str = "") -> Client:
    """A client by the options, then the settings."""
    settings = load(config)
    return Client(url or default_url(settings), token or settings.aggregator.auth_token.reveal(), tenant)


def default_url(settings: Settings) -> str:
    host = settings.aggregator.host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return (
        f"http://[{host}]:{settings.aggregator.port}"
        if ":" in host
        else f"http://{host}:{settings.aggregator.port}"
    )
