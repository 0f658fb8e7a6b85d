"""The gateway of a node: OTLP on two ports, one write-ahead log a stream."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from aiohttp import web

from actors.gateway.committer import Committer
from actors.gateway.intake import Intake
from actors.gateway.otlp_grpc import otlp_server
from actors.gateway.otlp_http import otlp_app
from actors.handles import stream_handles
from actors.places import log_folder, stream_count
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from agent.errors import Overloaded
from agent.observe import configure
from agent.settings import Settings
from agent.telemetry.batch import Reject, Signal
from agent.windows.log import LogWriter

INLINE_BYTES = 256 << 10  # a larger body is decoded in a thread, so that others are not held up
DRAIN_S = 5.0


class Gateway:
    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._progress = Progress(name, "gateway")
        configure(settings.general.log_level, settings.general.log_format, name)
        self._streams = stream_count(settings)
        self._intake = Intake(settings.gateway, self._streams)
        self._committer: Committer | None = None
        self._http: web.AppRunner | None = None
        self._grpc: Any = None

    def __repr__(self) -> str:
        return f"Gateway({self._progress.state})"

    async def start(self) -> Health:
        """Open the logs and the ports; does nothing when it is open already."""
        async with self._progress.starting() as wanted:
            if wanted:
                await self._open()
        return await self.health()

    async def stop(self) -> None:
        if self._http:
            await self._http.cleanup()
        if self._grpc:
            await self._grpc.stop(DRAIN_S)
        if self._committer:
            await self._committer.stop()

    async def health(self) -> Health:
        counts, committer = self._intake.counts, self._committer
        figures = {f"{signal.value}_total": float(counts.accepted[signal.value]) for signal in Signal}
        figures |= {"requests_total": float(counts.requests), "bytes_total": float(counts.bytes)}
        if committer:
            figures |= {
                "commits_total": float(committer.commits),
                "pending_bytes": float(committer.pending_bytes),
            }
        return self._progress.health(figures, dict(counts.refused))

    async def positions(self) -> list[int]:
        return self._committer.positions if self._committer else []

    async def take(self, signal: Signal, body: bytes, tenant: str) -> dict[Reject, int]:
        """Make a body durable; the rows that were refused, by reason."""
        if self._committer is None:
            raise Overloaded("the gateway is starting")
        now_ns = time.time_ns()
        if len(body) > INLINE_BYTES:
            accepted = await asyncio.to_thread(self._intake.accept, signal, body, tenant, now_ns)
        else:
            accepted = self._intake.accept(signal, body, tenant, now_ns)
        await self._committer.commit(accepted.writes)
        return accepted.rejected

    async def _open(self) -> None:
        settings = self._settings
        handles = stream_handles(settings)
        writers = [
            LogWriter(log_folder(settings, stream), settings.streams.segment_bytes)
            for stream in range(self._streams)
        ]

        async def tell(stream: int, position: int) -> None:
            await handles[stream].advance(position)

        self._committer = Committer(writers, settings.gateway.max_pending_bytes, tell)
        self._committer.start()
        self._grpc, grpc_port = otlp_server(settings.gateway, self.take, self._intake.refuse)
        await self._grpc.start()
        app = otlp_app(settings.gateway, self.take, self._intake.refuse)
        self._http = web.AppRunner(app, access_log=None, auto_decompress=False, handle_signals=False)
        await self._http.setup()
        site = web.TCPSite(self._http, settings.gateway.host, settings.gateway.otlp_http_port)
        await site.start()
        http_port = self._http.addresses[0][1]
        self._progress.listens = {
            "otlp/grpc": f"{settings.gateway.host}:{grpc_port}",
            "otlp/http": f"http://{settings.gateway.host}:{http_port}",
        }


GatewayActor = actor(Gateway, max_concurrency=10_000)
