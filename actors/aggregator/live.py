"""The live feed: frames of the streams and incidents of the correlator, fanned out to WebSocket clients.

One task a (stream, tenant) asks the stream for news, and only while somebody of that tenant wants telemetry. A
frame is put into the outbox of each client that wants it and never waited for: a slow reader loses the
oldest frames of its own outbox, is told how many rows that were, and holds nobody else up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import structlog

from actors.aggregator.outbox import Outbox
from actors.aggregator.reading import BadRequest
from actors.aggregator.subscriptions import INCIDENTS, Subscription
from actors.ports import LiveBatch, LiveFrame, StreamPort

WAIT_S = 5.0  # how long a stream may hold a question for news; it forgets readers after ten seconds
PRIMED_S = 2.0  # how long a new subscriber waits to be told that it misses nothing from now on
BACKOFF_S, MAX_BACKOFF_S = 0.1, 2.0
MAX_SUBSCRIPTIONS = 100
NO_EPOCH = -1

log = structlog.get_logger("live")


class Client:
    """One WebSocket connection: its subscriptions and what waits for it."""

    def __init__(self, max_bytes: int) -> None:
        self.outbox = Outbox(max_bytes)
        self.subscriptions: dict[str, Subscription] = {}

    def wants(self, frame: LiveFrame) -> bool:
        return any(one.wants(frame) for one in self.subscriptions.values())

    def wants_incident(self, tenant: str, incident: dict[str, Any]) -> bool:
        return any(one.wants_incident(tenant, incident) for one in self.subscriptions.values())

    def wants_signal(self, tenant: str, signal: str) -> bool:
        return any(one.tenant == tenant and signal in one.signals for one in self.subscriptions.values())

    def telemetry_of(self, tenant: str) -> bool:
        return any(one.tenant == tenant and one.wants_telemetry for one in self.subscriptions.values())


class LiveHub:
    def __init__(self, streams: Sequence[StreamPort], queue_bytes: int) -> None:
        self._streams = streams
        self._queue_bytes = queue_bytes
        self._clients: set[Client] = set()
        self._pollers: dict[str, Pollers] = {}
        self._missed_of_gone = 0

    @property
    def client_count(self) -> int:
        return len(self._clients)

    @property
    def missed_total(self) -> int:
        """Rows that clients were told they miss, over the life of this process."""
        return self._missed_of_gone + sum(client.outbox.missed_total for client in self._clients)

    @property
    def waiting_bytes(self) -> int:
        return sum(client.outbox.waiting_bytes for client in self._clients)

    def join(self) -> Client:
        client = Client(self._queue_bytes)
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        self._clients.discard(client)
        self._missed_of_gone += client.outbox.missed_total
        self._stop_idle()

    async def subscribe(self, client: Client, wanted: Subscription) -> None:
        """From its return on, the client gets all that comes in."""
        if len(client.subscriptions) >= MAX_SUBSCRIPTIONS and wanted.id not in client.subscriptions:
            hint = "unsubscribe one, or name more services in one"
            raise BadRequest("too_many_subscriptions", f"{MAX_SUBSCRIPTIONS} are held already", hint)
        client.subscriptions[wanted.id] = wanted
        self._stop_idle()
        if wanted.wants_telemetry and client in self._clients:
            pollers = self._pollers.get(wanted.tenant)
            if pollers is None:
                pollers = self._pollers[wanted.tenant] = Pollers(self, wanted.tenant, self._streams)
            await pollers.primed()

    def unsubscribe(self, client: Client, subscription_id: str) -> None:
        client.subscriptions.pop(subscription_id, None)
        self._stop_idle()

    def deliver(self, tenant: str, batch: LiveBatch) -> None:
        clients = [client for client in self._clients if client.telemetry_of(tenant)]
        for frame in batch.frames:
            for client in clients:
                if client.wants(frame):
                    client.outbox.put(frame.payload, frame.signal, frame.rows)
        for signal, rows in batch.missed.items():
            for client in clients:
                if client.wants_signal(tenant, signal):
                    client.outbox.miss(signal, rows)

    def tell(self, tenant: str, message: dict[str, Any]) -> None:
        """A message to all who watch a tenant's telemetry."""
        payload = msgspec.json.encode(message)
        for client in self._clients:
            if client.telemetry_of(tenant):
                client.outbox.put(payload)

    def publish_incident(self, tenant: str, change: dict[str, Any]) -> None:
        payload = msgspec.json.encode({"type": "incident", "tenant": tenant, "incident": change})
        for client in self._clients:
            if client.wants_incident(tenant, change):
                client.outbox.put(payload, INCIDENTS, 1)

    async def close(self) -> None:
        pollers, self._pollers = list(self._pollers.values()), {}
        await asyncio.gather(*(one.stop() for one in pollers))

    def _stop_idle(self) -> None:
        for tenant in list(self._pollers):
            if not any(client.telemetry_of(tenant) for client in self._clients):
                self._pollers.pop(tenant).cancel()


class Pollers:
    """The tasks that ask every stream for one tenant's news."""

    def __init__(self, hub: LiveHub, tenant: str, streams: Iterable[StreamPort]) -> None:
        self._hub, self._tenant = hub, tenant
        self._first: list[asyncio.Event] = []
        self._tasks: list[asyncio.Task[None]] = []
        for number, stream in enumerate(streams):
            first = asyncio.Event()
            self._first.append(first)
            name = f"live-{tenant}-{number}"
            self._tasks.append(asyncio.create_task(self._poll(number, stream, first), name=name))

    async def primed(self) -> None:
        """Until every stream has told its cursor once; a stream that is away is not waited for long."""
        try:
            async with asyncio.timeout(PRIMED_S):
                for first in self._first:
                    await first.wait()
        except TimeoutError:
            log.info("a stream does not answer yet", tenant=self._tenant)

    def cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def stop(self) -> None:
        self.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _poll(self, number: int, stream: StreamPort, first: asyncio.Event) -> None:
        epoch, cursor, backoff_s = NO_EPOCH, 0, BACKOFF_S
        while True:
            try:
                batch = await stream.live(self._tenant, epoch, cursor, WAIT_S)
            except Exception as error:  # whatever it is: the feed goes on when the stream is back
                log.info("stream is away", stream=number, tenant=self._tenant, error=repr(error))
                await asyncio.sleep(backoff_s)
                backoff_s = min(2 * backoff_s, MAX_BACKOFF_S)
                continue
            if epoch not in (NO_EPOCH, batch.epoch):
                why = f"stream-{number} restarted; what came in meanwhile was not shown"
                self._hub.tell(self._tenant, {"type": "missed", "rows": {}, "reason": why})
            self._hub.deliver(self._tenant, batch)
            epoch, cursor, backoff_s = batch.epoch, batch.cursor, BACKOFF_S
            first.set()
