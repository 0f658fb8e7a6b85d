"""Prometheus remote write over HTTP."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from actors.gateway.otlp_http import OVERLOADED, Refuse, read_body, retry_after
from actors.gateway.room import Room
from agent.errors import BadInput, Overloaded, TooLarge, Unsupported
from agent.settings import GatewaySettings
from agent.telemetry.remote_write import Packed, Version, content_encoding, message_version
from agent.windows.refusals import Outcome

PATH = "/api/v1/write"
WRITTEN = "X-Prometheus-Remote-Write-{}-Written"

Write = Callable[[str, Packed], Awaitable[Outcome]]


def add_remote_write(
    app: web.Application, settings: GatewaySettings, room: Room, write: Write, refuse: Refuse
) -> None:
    """The route of remote write. ``write`` makes a body durable, or raises ``BadInput`` or ``Overloaded``."""

    async def handle(request: web.Request) -> web.Response:
        try:
            version = message_version(request.headers.get("Content-Type", ""))
            encoding = content_encoding(request.headers.get("Content-Encoding", ""))
            length, limit = request.content_length, settings.max_body_bytes
            with room.hold(limit if length is None else min(length, limit)):
                packed = Packed(await read_body(request, settings), version, encoding)
                outcome = await write(request.headers.get("X-Scope-OrgID", "default"), packed)
            if outcome.error is not None:
                raise outcome.error
        except BadInput as error:
            refuse(error.reason)
            status = {TooLarge: 413, Unsupported: 415}.get(type(error), 400)
            return web.Response(status=status, text=error.message + "\n")
        except Overloaded as error:
            refuse(OVERLOADED)
            return web.Response(
                status=503, text=error.message + "\n", headers=retry_after(error.retry_after_s)
            )
        return _answer(version, outcome)

    app.router.add_post(PATH, handle)


def _answer(version: Version, outcome: Outcome) -> web.Response:
    """204; 400 where samples were refused: the others are written, and none must be sent again; 429 where some are
    left for the rate of their source, whatever else was refused: then the whole body is to be sent again (remote
    write 2.0, section Retries on Partial Writes). The headers say what was written this time."""
    headers = {}
    if version is Version.V2:
        written = {
            "Samples": outcome.samples,
            "Histograms": outcome.histograms,
            "Exemplars": outcome.exemplars,
        }
        headers = {WRITTEN.format(kind): str(n) for kind, n in written.items()}
    if outcome.later is not None:
        text = "; ".join(filter(None, (outcome.later.message, outcome.message)))
        headers |= retry_after(outcome.later.after_s)
        return web.Response(status=429, text=text + "\n", headers=headers)
    if outcome.message:
        return web.Response(status=400, text=outcome.message + "\n", headers=headers)
    return web.Response(status=204, headers=headers)
