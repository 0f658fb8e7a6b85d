"""Calls between actors: names become proxies, Ray's errors become those of ``agent.errors``.

A proxy finds its actor by name at the first call and again after the actor was replaced. A call to an actor
that is away raises ``Overloaded``: it restarts in seconds, and the caller decides whether to wait.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import PendingCallsLimitExceeded, RayError, RayTaskError

from actors.places import (
    AGGREGATOR,
    CORRELATOR,
    GATEWAY,
    RULER,
    SCRAPER,
    SUPERVISOR,
    stream_count,
    stream_name,
)
from actors.ports import Ports
from agent.errors import Overloaded
from agent.settings import Settings


class Proxy:
    """An actor by name; every attribute is an async method of it."""

    def __init__(self, name: str, namespace: str) -> None:
        self._name, self._namespace = name, namespace
        self._handle: Any = None

    def __repr__(self) -> str:
        return f"Proxy({self._name})"

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        if method.startswith("_"):
            raise AttributeError(method)

        async def call(*args: Any) -> Any:
            try:
                if self._handle is None:
                    self._handle = ray.get_actor(self._name, self._namespace)
                return await getattr(self._handle, method).remote(*args)
            except RayTaskError as error:
                if isinstance(error.cause, Exception):
                    raise error.cause from None
                raise
            except PendingCallsLimitExceeded:
                raise Overloaded(f"{self._name} has too many calls waiting") from None
            except (RayError, ValueError) as error:  # ValueError: no actor has the name
                self._handle = None
                raise Overloaded(
                    f"{self._name} is away ({type(error).__name__}); it restarts by itself"
                ) from None

        return call


@dataclass(frozen=True, slots=True)
class Handles(Ports):
    """Everything that an actor may call."""

    aggregator: Any
    ruler: Any  # None where no rules are set
    scraper: Any  # None where nothing is to be scraped


def connect(settings: Settings) -> Handles:
    def proxy(name: str) -> Any:
        return Proxy(name, settings.ray.namespace)

    return Handles(
        supervisor=proxy(SUPERVISOR),
        gateway=proxy(GATEWAY),
        streams=tuple(proxy(stream_name(i)) for i in range(stream_count(settings))),
        correlator=proxy(CORRELATOR),
        aggregator=proxy(AGGREGATOR),
        ruler=proxy(RULER) if settings.rules.files else None,
        scraper=proxy(SCRAPER) if settings.scrape.config_file else None,
    )
