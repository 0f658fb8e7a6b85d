"""Starts the shop's processes, restarts what dies, and breaks things on demand.

Guarantees: after ``start`` every process is ready; a process that dies is started again after
``RESTART_DELAY_S``, as a kubelet would; a service that needs more than its memory limit is killed, as
the kernel would; after ``stop``, and also after the supervisor's own sudden death, none is left.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil

from demo.shop.faults import Fault, Release, RunSql, Step, TakeAway, Turn, fault
from demo.shop.process import ChildProcess, Facts, ProcessFailed
from demo.shop.settings import STOCK_VERSIONS, url_variable
from demo.shop.view import Seen, Visitors

SERVICES = tuple(STOCK_VERSIONS)
NEED_DATABASE = ("catalogue", "cart", "checkout")
WITHOUT_DATABASE = tuple(name for name in SERVICES if name not in NEED_DATABASE)
HELPERS = ("cache", "network")
DATABASE, LOAD = "database", "load"

RESTART_DELAY_S = 3.0
GRACE_S = 6.0
DATABASE_GRACE_S = 20.0  # its keeper ends a start that is under way before it stops the server
MEMORY_LIMIT_BYTES = 330 << 20
MEMORY_CHECK_INTERVAL_S = 0.5
LOAD_PERIOD_S = 240.0


@dataclass(frozen=True, slots=True)
class Member:
    """A process of the shop. ``url`` says where it listens, ``version`` is empty for what is no service."""

    name: str
    pid: int
    url: str
    version: str = ""
    restarts: int = 0


class ShopClosed(Exception):
    """Nothing can be broken or healed in a shop that is not open."""

    def __init__(self) -> None:
        super().__init__("the shop is not open: call start() first, and nothing after stop()")


OnProgress = Callable[[Member], None]


class Shop:
    """``otlp_endpoint`` is a base URL (HTTP: ``http://127.0.0.1:4318``; gRPC: ``http://127.0.0.1:4317``
    with ``otlp_protocol="grpc"``). ``seed`` fixes the customers' choices, ``rate_scale`` multiplies
    their number (1.0 is about eight pages a second), ``period_s`` is the length of their day.
    ``memory_limit_bytes`` (resident) is each service's limit, as a pod has one.
    A Shop is started once. ``data_dir`` keeps the database and, under ``logs/``, what each process writes on stderr."""

    def __init__(
        self,
        data_dir: Path,
        otlp_endpoint: str,
        *,
        otlp_protocol: str = "http/protobuf",
        seed: int = 1,
        rate_scale: float = 1.0,
        period_s: float = LOAD_PERIOD_S,
        memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
    ) -> None:
        self.data_dir = data_dir
        self.visitors = Visitors()
        self._telemetry = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp_endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": otlp_protocol,
        }
        self._load = {
            "SHOP_LOAD_SEED": str(seed),
            "SHOP_LOAD_RATE_SCALE": str(rate_scale),
            "SHOP_LOAD_PERIOD_S": str(period_s),
        }
        self._memory_limit_bytes = memory_limit_bytes
        self._ports: dict[str, socket.socket] = {}
        self._versions = dict(STOCK_VERSIONS)
        self._children: dict[str, ChildProcess] = {}
        self._launched: list[ChildProcess] = []
        self._stopping = False
        self._away: set[str] = set()
        self._restarts: Counter[str] = Counter()
        self._turned: dict[str, dict[str, float]] = {}
        self._injected: list[Fault] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._change = asyncio.Lock()
        self._database_url = ""
        self._on_progress: OnProgress = _say_nothing

    async def start(self, on_progress: OnProgress | None = None) -> None:
        """Start every process; ``on_progress`` gets each as soon as it is ready. Takes some seconds."""
        self._on_progress = on_progress or _say_nothing
        (self.data_dir / "logs").mkdir(parents=True, exist_ok=True)
        self._ports = {name: _reserved_port() for name in (*SERVICES, *HELPERS)}
        try:
            await self._launch_everything()
        except ExceptionGroup as failures:
            await self.stop()
            raise failures.exceptions[0] from None
        except BaseException:
            await self.stop()
            raise
        self._tasks["memory limit"] = asyncio.create_task(self._enforce_memory_limit())

    async def stop(self) -> None:
        """End every process: customers first, the database last. May be called at any time, and again."""
        self._stopping = True
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()
        for names in ((LOAD,), SERVICES, HELPERS, (DATABASE,)):
            children = [child for name in names if (child := self._children.pop(name, None))]
            await asyncio.gather(*map(_stop, children))
        # One that was about to replace another, or to be replaced, has no name here.
        await asyncio.gather(*map(_stop, self._launched))
        self._launched.clear()
        for held in self._ports.values():
            held.close()
        self._ports.clear()

    async def inject(self, name: str) -> None:
        """Break something (``demo.shop.faults``); breaking it twice is breaking it once."""
        what = self._fault(name)
        async with self._change:
            if what not in self._injected:
                self._injected.append(what)
                for step in what.inject:
                    await self._do(step)

    async def heal(self, name: str) -> None:
        """Undo what ``inject`` did; healing what is not broken does nothing."""
        what = self._fault(name)
        async with self._change:
            if what in self._injected:
                self._injected.remove(what)
                for step in reversed(what.inject):
                    await self._undo(step)

    def injected(self) -> tuple[str, ...]:
        """The faults that are in effect."""
        return tuple(what.name for what in self._injected)

    def members(self) -> tuple[Member, ...]:
        """The processes that run now, the database and the customers among them."""
        return tuple(self._member(name) for name, child in self._children.items() if child.running)

    def seen(self, last_s: float) -> Seen:
        """What the customers saw in the last seconds."""
        return self.visitors.last(last_s)

    def _fault(self, name: str) -> Fault:
        what = fault(name)
        if not self._children or self._stopping:
            raise ShopClosed
        return what

    async def _do(self, step: Step) -> None:
        match step:
            case Turn(process, knob, value):
                self._turn(process, knob, value)
            case RunSql(inject=statement):
                await self._run_sql(statement)
            case Release(service, version):
                await self._release(service, version)
            case TakeAway(process):
                self._away.add(process)
                await _stop(self._children[process])

    async def _undo(self, step: Step) -> None:
        match step:
            case Turn(process, knob):
                self._turn(process, knob, 0.0)
            case RunSql(heal=statement):
                await self._run_sql(statement)
            case Release(service):
                await self._release(service, STOCK_VERSIONS[service])
            case TakeAway(process):
                self._away.discard(process)
                await self._launch(process)

    def _turn(self, process: str, knob: str, value: float) -> None:
        self._turned.setdefault(process, {})[knob] = value
        self._children[process].tell(turn={knob: value})

    async def _run_sql(self, statement: str) -> None:
        connection = await asyncpg.connect(self._database_url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _release(self, service: str, version: str) -> None:
        """Roll over: the new version serves before the old one is asked to leave."""
        self._versions[service] = version
        old = self._children[service]
        await self._launch(service)
        await _stop(old)

    async def _launch_everything(self) -> None:
        """The database takes longest and most wait for it, so the others leave it a core meanwhile."""
        room = asyncio.Semaphore(max(1, (os.cpu_count() or 1) - 1))

        async def launch_in_turn(name: str) -> None:
            async with room:
                await self._launch(name)

        async with asyncio.TaskGroup() as group:
            for name in (*HELPERS, *WITHOUT_DATABASE):
                group.create_task(launch_in_turn(name))
            await self._launch(DATABASE)
            for name in NEED_DATABASE:
                group.create_task(self._launch(name))
        await self._launch(LOAD)

    async def _launch(self, name: str) -> None:
        """Start a process, wait until it is ready, and look after it from then on."""
        child = ChildProcess(name, [name], self._environment(name), self.data_dir / "logs" / f"{name}.log")
        self._launched.append(child)
        facts = await child.start(self._hear)
        if self._stopping:
            child.kill()
            raise ProcessFailed(f"{name} was started while the shop was being stopped")
        self._children[name] = child
        self._database_url = str(facts.get("url", self._database_url))
        if turned := self._turned.get(name):
            child.tell(turn=turned)
        self._tasks[f"{name} {child.pid}"] = asyncio.create_task(self._look_after(name, child))
        self._on_progress(self._member(name))

    async def _look_after(self, name: str, child: ChildProcess) -> None:
        await child.ended()
        while name not in self._away and self._children.get(name) is child:
            self._restarts[name] += 1
            await asyncio.sleep(RESTART_DELAY_S)
            with suppress(ProcessFailed):
                await self._launch(name)

    async def _enforce_memory_limit(self) -> None:
        while True:
            await asyncio.sleep(MEMORY_CHECK_INTERVAL_S)
            for name in SERVICES:
                child = self._children[name]
                if child.running and _resident_bytes(child.pid) > self._memory_limit_bytes:
                    child.kill()

    def _hear(self, facts: Facts) -> None:
        self.visitors.add(facts.get("served", ()))

    def _member(self, name: str) -> Member:
        child, version = self._children[name], self._versions.get(name, "")
        return Member(name, child.pid, self._url(name), version, self._restarts[name])

    def _url(self, name: str) -> str:
        if name == DATABASE:
            return self._database_url
        return f"http://127.0.0.1:{self._port(name)}" if name in self._ports else ""

    def _port(self, name: str) -> int:
        port: int = self._ports[name].getsockname()[1]
        return port

    def _environment(self, name: str) -> Mapping[str, str]:
        if name == DATABASE:
            return {"SHOP_DATABASE_DIR": str(self.data_dir.resolve() / "database")}
        # Payment is reached by way of the network process; all others directly, each under its own name.
        urls = {
            url_variable(
                service
            ): f"http://{service}:{self._port('network' if service == 'payment' else service)}"
            for service in SERVICES
        }
        if name == LOAD:
            return {**urls, **self._load}
        own = {"SHOP_PORT": str(self._port(name))}
        if name == "network":
            return {**own, "SHOP_TARGET_PORT": str(self._port("payment"))}
        if name == "cache":
            return own
        return {
            **urls, **own, **self._telemetry,
            "SHOP_VERSION": self._versions[name],
            "SHOP_DATABASE_URL": self._database_url if name in NEED_DATABASE else "",
            "SHOP_CACHE_ADDRESS": f"cache:{self._port('cache')}",
        }  # fmt: skip


async def _stop(child: ChildProcess) -> None:
    await child.stop(DATABASE_GRACE_S if child.name == DATABASE else GRACE_S)


def _reserved_port() -> socket.socket:
    """A port that no stranger is given while the socket is open; the shop's processes share it by
    SO_REUSEPORT, and only those of them that listen get connections."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind(("127.0.0.1", 0))
    return held


def _resident_bytes(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _say_nothing(_: Member) -> None:
    return None
