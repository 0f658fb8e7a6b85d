"""The supervisor places, names and watches the other actors.

Ray restarts a process that died (``max_restarts=-1``), the supervisor included. The supervisor makes the
new process start its work, counts the restarts, and ends a process that no longer answers, so that Ray
restarts that as well. It asks for ``health``, which every actor answers while it starts; the start itself
may take as long as the log to replay is long, and nobody waits for it. Its watch is a loop of short calls,
and nobody waits for that on the way of the data either.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import ray
import structlog
from ray.exceptions import RayError, RayTaskError
from ray.util.metrics import Gauge

from actors.places import SUPERVISOR
from actors.placing import actor, on_this_node
from actors.ports import Health, Status
from actors.progress import Progress
from agent.observe import configure
from agent.settings import Settings
from agent.version import VERSION

PERIOD_S = 1.0  # as long as an actor that came back may wait for its start
ANSWER_S = 5.0  # one call; a process that is only being made takes longer, and is asked again
SILENT_S = 60.0  # no answer for so long: the process is ended and comes back


@dataclass(frozen=True, slots=True)
class Place:
    """An actor to be there: its name, kind, class and arguments."""

    name: str
    kind: str
    cls: Any
    args: tuple[Any, ...]


@dataclass(slots=True)
class Watched:
    place: Place
    health: Health
    handle: Any = None
    pid: int = 0
    restarts: int = 0
    last_answer_s: float = 0.0
    starting: asyncio.Task[None] | None = None  # the one start that is under way


class Supervisor:
    def __init__(self, settings: Settings, places: Sequence[Place], dashboard_url: str) -> None:
        self._settings = settings
        self._dashboard_url = dashboard_url
        self._progress = Progress(SUPERVISOR, "supervisor")
        configure(settings.general.log_level, settings.general.log_format, SUPERVISOR)
        self._watched = {place.name: Watched(place, _unknown(place)) for place in places}
        self._event_time_ns: dict[str, int] = {}
        self._gauges: dict[str, Gauge] = {}
        self._tasks: list[asyncio.Task[None]] = []
        # Ray makes an async actor inside its event loop. Nobody need ask a restarted supervisor to go on.
        self._begun = asyncio.get_running_loop().create_task(self.start())

    def __repr__(self) -> str:
        ready = sum(w.health.state == "ready" for w in self._watched.values())
        return f"Supervisor({ready} of {len(self._watched)} ready)"

    async def start(self) -> Health:
        """Place the actors that are not there and begin to watch; does nothing when that is done."""
        async with self._progress.starting() as wanted:
            if wanted:
                for watched in self._watched.values():
                    if watched.handle is None:
                        watched.handle = self._place(watched.place)
                        watched.last_answer_s = time.monotonic()
                        self._tasks.append(asyncio.create_task(self._watch(watched)))
        return self._progress.health({}, {})

    async def status(self) -> Status:
        await self.start()
        actors = tuple(watched.health for watched in self._watched.values())
        ready = all(health.state == "ready" for health in actors)
        return Status(
            state="ready" if ready else "starting",
            version=VERSION,
            actors=(self._progress.health({}, {}), *actors),
            restarts={name: watched.restarts for name, watched in self._watched.items()},
            event_time_ns=dict(self._event_time_ns),
            dashboard_url=self._dashboard_url,
        )

    async def stop(self) -> None:
        """End the other actors, the gateway first so that it commits what it took."""
        for task in [*self._tasks, *(w.starting for w in self._watched.values() if w.starting)]:
            task.cancel()
        for kind in ("gateway", "aggregator", "correlator", "detector", "stream"):
            for watched in self._watched.values():
                if watched.place.kind == kind and watched.handle is not None:
                    with contextlib.suppress(RayError, TimeoutError):
                        if hasattr(watched.place.cls.__ray_metadata__.modified_class, "stop"):
                            await asyncio.wait_for(watched.handle.stop.remote(), ANSWER_S)
                    ray.kill(watched.handle, no_restart=True)

    def _place(self, place: Place) -> Any:
        return place.cls.options(
            name=place.name,
            namespace=self._settings.ray.namespace,
            lifetime="detached",
            get_if_exists=True,
            **on_this_node(self._settings),
        ).remote(*place.args)

    async def _watch(self, watched: Watched) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._look(watched)
            except Exception:  # whatever it is, the others and the next look must not miss it
                structlog.get_logger().exception("a look failed", actor=watched.place.name)
            await asyncio.sleep(max(0.0, PERIOD_S - (time.monotonic() - began)))

    async def _look(self, watched: Watched) -> None:
        """Ask an actor how it is, and set it going where it is not."""
        try:
            health = await asyncio.wait_for(watched.handle.health.remote(), ANSWER_S)
        except RayTaskError as error:  # it lives, but cannot say how it is
            watched.last_answer_s = time.monotonic()
            watched.health = msgspec.structs.replace(watched.health, detail=f"no health ({error.cause!r})")
            self._set_going(watched)
        except (TimeoutError, RayError) as error:
            self._miss(watched, error, time.monotonic())
        else:
            self._note(watched, health)
            if health.state != "ready":
                self._set_going(watched)

    def _set_going(self, watched: Watched) -> None:
        if watched.starting is None or watched.starting.done():
            watched.starting = asyncio.create_task(_start(watched.handle))

    def _note(self, watched: Watched, health: Health) -> None:
        watched.last_answer_s = time.monotonic()
        if watched.pid and health.pid != watched.pid:
            watched.restarts += 1
            structlog.get_logger().warning("actor restarted", actor=health.name, pid=health.pid)
        watched.pid = health.pid
        watched.health = msgspec.structs.replace(health, incarnation=watched.restarts)
        self._export(watched.health)

    def _miss(self, watched: Watched, error: Exception, now_s: float) -> None:
        detail = f"no answer ({type(error).__name__})"
        watched.health = msgspec.structs.replace(watched.health, state="starting", detail=detail)
        if now_s - watched.last_answer_s > SILENT_S:
            structlog.get_logger().error("actor is silent, ending it", actor=watched.place.name)
            watched.last_answer_s = now_s
            ray.kill(watched.handle, no_restart=False)

    def _export(self, health: Health) -> None:
        """Show an actor's figures in Ray's own metrics, so that its dashboard has them."""
        for name, value in health.figures.items():
            key = f"kubechat_obs_{name}"
            if key not in self._gauges:
                self._gauges[key] = Gauge(key, description=f"{name} of an actor", tag_keys=("actor",))
            self._gauges[key].set(value, tags={"actor": health.name})

    async def event_time(self, tenant: str, watermark_ns: int) -> None:
        """The correlator tells how far event time has come, each second; a start that failed is tried again."""
        await self.start()
        self._event_time_ns[tenant] = watermark_ns


async def _start(handle: Any) -> None:
    """How it went is in the health; a process that died meanwhile is started again."""
    with contextlib.suppress(RayError):
        await handle.start.remote()


def _unknown(place: Place) -> Health:
    return Health(name=place.name, kind=place.kind, pid=0, incarnation=0, state="starting")


SupervisorActor = actor(Supervisor, max_concurrency=1000)
