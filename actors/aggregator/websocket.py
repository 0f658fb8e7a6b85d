"""One WebSocket connection: reads its messages, writes its outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import WSMsgType, web

from actors.aggregator.live import Client, LiveHub
from actors.aggregator.problems import refusal_of
from actors.aggregator.reading import BadRequest
from actors.aggregator.subscriptions import Ping, Subscribe, Subscription, read_message, subscription

MAX_MESSAGE_BYTES = 64 << 10
UNSENT_BYTES = 32 << 10  # written without looking whether the reader keeps up


class Connection:
    """``tenant`` is that of subscriptions which name none."""

    def __init__(self, hub: LiveHub, tenant: str, heartbeat_s: float, now_s: Callable[[], float]) -> None:
        self._hub, self._tenant, self._heartbeat_s, self._now_s = hub, tenant, heartbeat_s, now_s
        # No compression: it would cost more than the bytes on a local network do.
        self.socket = web.WebSocketResponse(
            compress=False, max_msg_size=MAX_MESSAGE_BYTES, writer_limit=UNSENT_BYTES, timeout=2.0
        )

    async def run(self, request: web.Request, wanted: Subscription | None) -> web.WebSocketResponse:
        await self.socket.prepare(request)
        client = self._hub.join()
        writer = asyncio.create_task(self._write(client))
        try:
            if wanted is not None:
                await self._subscribe(client, wanted)
            await self._read(client)
        finally:
            self._hub.leave(client)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return self.socket

    async def _read(self, client: Client) -> None:
        async for message in self.socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            try:
                await self._obey(client, message.data)
            except BadRequest as error:
                self._say(client, {"type": "error", "error": msgspec.to_builtins(refusal_of(error).problem)})

    async def _obey(self, client: Client, text: str | bytes) -> None:
        message = read_message(text)
        if isinstance(message, Subscribe):
            await self._subscribe(client, subscription(message, self._tenant))
        elif isinstance(message, Ping):
            self._say(client, {"type": "pong", "time": self._now_s()})
        else:
            self._hub.unsubscribe(client, message.id)
            self._say(client, {"type": "unsubscribed", "id": message.id})

    async def _subscribe(self, client: Client, wanted: Subscription) -> None:
        await self._hub.subscribe(client, wanted)
        self._say(client, wanted.confirmation())

    def _say(self, client: Client, message: dict[str, Any]) -> None:
        client.outbox.put(msgspec.json.encode(message))

    async def _write(self, client: Client) -> None:
        try:
            while True:
                payload = client.outbox.take()
                if payload is None:
                    payload = await self._quiet(client)
                if payload is not None:
                    await self.socket.send_frame(payload, WSMsgType.TEXT)
        except (ConnectionError, RuntimeError):
            await self.socket.close()  # the reader is gone; the reading side ends too

    async def _quiet(self, client: Client) -> bytes | None:
        """Wait for news; a heartbeat where none comes."""
        try:
            async with asyncio.timeout(self._heartbeat_s):
                await client.outbox.wait()
        except TimeoutError:
            return msgspec.json.encode({"type": "heartbeat", "time": self._now_s()})
        return None
