"""The policy of metrics that people set, as the layer acts on it: read from the store every few seconds and after
every change made here, handed to whoever asks. While the store is away the last one holds."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from typing import Protocol

import structlog

from agent.errors import ObservabilityError
from agent.store.metrics_config import MetricConfig, MetricThreshold
from agent.telemetry.metric_policy import MetricPolicy, Threshold

log = structlog.get_logger("api")

REFRESH_S = 5.0


class PolicyStore(Protocol):
    async def configs(
        self, metric: str | None = None, service: str | None = None, enabled: bool | None = None
    ) -> list[MetricConfig]: ...

    async def thresholds(self, metric: str | None = None) -> list[MetricThreshold]: ...


class PolicyKeeper:
    def __init__(self, store: PolicyStore) -> None:
        self._store = store
        self.policy = MetricPolicy()
        self._read = False
        self.thresholds: tuple[Threshold, ...] = ()

    async def run(self) -> None:
        """Read it again for good."""
        while True:
            try:
                await self.refresh()
            except ObservabilityError as error:
                log.info("the policy of metrics stays as it was", reason=str(error))
            await asyncio.sleep(REFRESH_S)

    async def refresh(self) -> None:
        """Raises ``ObservabilityError`` where the store is away."""
        configs, thresholds = await asyncio.gather(self._store.configs(), self._store.thresholds())
        self._read = True
        version = version_of(configs)
        if version != self.policy.version:
            self.policy = MetricPolicy([config.rule() for config in configs], version)
            log.info("the policy of metrics changed", rules=len(configs))
        self.thresholds = tuple(row.threshold() for row in thresholds)

    def newer_than(self, version: int) -> MetricPolicy | None:
        """The policy, where it is another one than that of ``version``; None also until it was read: that there
        are no rules would let go of what a rule keeps."""
        return self.policy if self._read and self.policy.version != version else None


def version_of(configs: Sequence[MetricConfig]) -> int:
    """A number that follows from the rules, so that a restart changes nothing; 0 where there are none."""
    if not configs:
        return 0
    rules = sorted(repr(config.rule()) for config in configs)
    return int.from_bytes(blake2b("\n".join(rules).encode(), digest_size=7).digest(), "big") or 1
