"""The gateway of a node: OTLP on two ports, remote write on one of them, one write-ahead log a stream."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack

from aiohttp import web

from actors.gateway.committer import Committer
from actors.gateway.intake import Intake
from actors.gateway.otlp_grpc import otlp_server
from actors.gateway.otlp_http import otlp_app
from actors.gateway.remote_write import add_remote_write
from actors.gateway.room import Room, Starting, work
from actors.memory import keep_freed_memory, leave_to_stay
from actors.places import log_folder, position_socket, stream_count
from actors.placing import actor
from actors.ports import Health
from actors.positions import PositionSender
from actors.progress import Progress
from actors.warm import load_ingest
from agent.errors import SettingsError
from agent.observe import configure
from agent.settings import Settings
from agent.telemetry.batch import Reject, Signal
from agent.telemetry.remote_write import Packed
from agent.telemetry.samples import SAMPLES
from agent.windows.log import LogWriter
from agent.windows.refusals import Outcome
from agent.windows.sampleintake import SampleIntake

DRAIN_S = 5.0


class Gateway:
    def __init__(self, settings: Settings, name: str) -> None:
        keep_freed_memory()
        self._settings = settings
        self._progress = Progress(name, "gateway")
        configure(settings.general.log_level, settings.general.log_format, name)
        self._streams = stream_count(settings)
        self._intake = Intake(settings.gateway, self._streams)
        self._room = Room(settings.gateway.max_pending_bytes)
        self._samples = SampleIntake(settings.gateway, self._streams)
        self._committer: Committer | None = None
        self._opened = AsyncExitStack()

    def __repr__(self) -> str:
        return f"Gateway({self._progress.state})"

    async def start(self) -> Health:
        """Open the logs and the ports; does nothing when it is open already."""
        async with self._progress.starting() as wanted:
            if wanted:
                await self._open()
                leave_to_stay()
        return await self.health()

    async def stop(self) -> None:
        """Let nobody in, answer those who are, commit what was taken."""
        await self._opened.aclose()

    async def health(self) -> Health:
        counts, committer = self._intake.counts, self._committer
        figures = {f"{signal.value}_total": float(counts.accepted[signal.value]) for signal in Signal}
        figures |= {
            "samples_total": float(counts.accepted[SAMPLES]),
            "series": float(self._samples.series),
            "requests_total": float(counts.requests),
            "bytes_total": float(counts.bytes),
            "in_hand_bytes": float(self._room.used_bytes),
        }
        if committer:
            figures |= {
                "commits_total": float(committer.commits),
                "pending_bytes": float(committer.pending_bytes),
            }
        return self._progress.health(figures, dict(counts.refused))

    async def positions(self) -> list[int]:
        return self._ready_committer().positions

    async def take(self, signal: Signal, body: bytes, tenant: str) -> dict[Reject, int]:
        """Make a body durable; the rows that were refused, by reason."""
        committer = self._ready_committer()
        accepted = await work(len(body), self._intake.accept, signal, body, tenant, time.time_ns())
        await committer.commit(accepted.writes)
        return accepted.rejected

    async def write(self, tenant: str, packed: Packed) -> Outcome:
        """Make a body of remote write durable. Raises ``BadInput`` or ``Overloaded``."""
        committer = self._ready_committer()
        self._intake.admit(tenant, time.time_ns())
        outcome: Outcome = await committer.write(tenant, packed)
        self._intake.count_samples(outcome, len(packed.body))
        return outcome

    def _ready_committer(self) -> Committer:
        if self._committer is None:
            raise Starting("the gateway is starting")
        return self._committer

    async def _open(self) -> None:
        """The ports first, so that one that is taken leaves the logs alone; then the logs; then accept.
        What was opened is closed again where the rest cannot be."""
        settings = self._settings.gateway
        async with AsyncExitStack() as opened:
            door = opened.enter_context(_bound(settings.host, settings.otlp_http_port))
            grpc, grpc_port = otlp_server(settings, self._room, self.take, self._intake.refuse)
            await grpc.start()  # a server that never started would keep its port; it answers "starting"
            opened.push_async_callback(grpc.stop, None)
            committer = await self._open_logs(opened)
            await asyncio.to_thread(load_ingest)
            app = otlp_app(settings, self._room, self.take, self._intake.refuse)
            add_remote_write(app, settings, self._room, self.write, self._intake.refuse)
            http = web.AppRunner(app, access_log=None, auto_decompress=False, handle_signals=False)
            opened.push_async_callback(http.cleanup)
            await http.setup()
            await web.SockSite(http, door).start()
            opened.push_async_callback(grpc.stop, DRAIN_S)
            self._committer = committer
            self._opened = opened.pop_all()
        self._progress.listens = {
            "otlp/grpc": f"{settings.host}:{grpc_port}",
            "otlp/http": f"http://{settings.host}:{door.getsockname()[1]}",
        }

    async def _open_logs(self, opened: AsyncExitStack) -> Committer:
        sender = PositionSender([position_socket(self._settings, i) for i in range(self._streams)])
        opened.callback(sender.close)
        writers = []
        for stream in range(self._streams):
            folder = log_folder(self._settings, stream)
            segment_bytes = self._settings.streams.segment_bytes
            writers.append(await asyncio.to_thread(LogWriter, folder, segment_bytes))  # finds the end
            opened.callback(writers[-1].close)

        committer = Committer(writers, self._samples, self._settings.gateway.max_pending_bytes, sender.tell)
        opened.push_async_callback(committer.stop)
        committer.start()
        return committer


def _bound(host: str, port: int) -> socket.socket:
    """A socket that holds its port and takes nobody yet. Raises ``SettingsError`` when the port is taken."""
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except OSError as error:
        made.close()
        raise SettingsError("gateway.otlp_http_port", port, f"a port that is free ({error})") from None
    return made


GatewayActor = actor(Gateway, max_concurrency=10_000)
