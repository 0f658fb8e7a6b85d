"""The scraper actor: the jobs of a Prometheus configuration, scraped into the gateway."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from actors.handles import connect
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from actors.scraper.delivery import Delivery
from actors.scraper.discovery import Discovery, Files, Static
from actors.scraper.fetch import Fetcher
from actors.scraper.pool import JobPool, TargetLoop
from actors.scraper.warm import load_scrape
from agent.errors import NotFound, Overloaded, SettingsError
from agent.observe import configure
from agent.settings import Settings
from agent.telemetry.scrape_config import JobConfig, ScrapeConfig
from agent.telemetry.scrape_load import load_scrape_config, shown_config, with_interval

log = structlog.get_logger("scraper")

END_S = 5.0  # what is queued has so long to reach the gateway when the scraper stops
ANY_HOST = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - what a gateway listens on, not what we do


class Scraper:
    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._progress = Progress(name, "scraper")
        configure(settings.general.log_level, settings.general.log_format, name)
        self._delivery = Delivery(self._gateway, settings.gateway.auth_token, settings.scrape.max_queue_bytes)
        self._config = ScrapeConfig()
        self._pools: dict[str, JobPool] = {}
        self._sender: asyncio.Task[None] | None = None
        self._reloading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Scraper({sum(len(pool.loops) for pool in self._pools.values())} targets)"

    async def start(self) -> Health:
        async with self._progress.starting() as wanted:
            if wanted:
                await asyncio.to_thread(load_scrape)
                self._sender = self._sender or asyncio.create_task(self._delivery.run())
                await self.reload()
        return await self.health()

    async def stop(self) -> None:
        """Scrape no more, and hand over what is queued."""
        await asyncio.gather(*(pool.stop(vanished=False) for pool in self._pools.values()))
        self._pools.clear()
        if self._sender:
            await asyncio.wait([asyncio.ensure_future(self._delivery.drained())], timeout=END_S)
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
            self._sender = None

    async def health(self) -> Health:
        loops = self._loops()
        counts = self._delivery.counts
        figures = {
            "targets": float(len(loops)),
            "targets_up": float(sum(loop.health == "up" for loop in loops)),
            "queued_bytes": float(self._delivery.queued_bytes),
            "bodies_total": float(counts["sent_bodies"]),
            "retries_total": float(counts["retries"]),
            "samples_dropped_total": float(counts["dropped_samples"]),
        }
        refused = {"gateway": counts["refused_bodies"], "queue_full": counts["dropped_bodies"]}
        return self._progress.health(figures, {reason: n for reason, n in refused.items() if n})

    async def reload(self) -> None:
        """Read the configuration again. Jobs that did not change go on as they are. Raises
        ``SettingsError``; then everything stays as it was."""
        async with self._reloading:
            config = await asyncio.to_thread(read_config, self._settings.scrape.config_file)
            same_labels = config.external_labels == self._config.external_labels
            before = {job.name: job for job in self._config.jobs}
            after = {job.name: job for job in config.jobs}
            for name in [
                name for name in self._pools if not (same_labels and before[name] == after.get(name))
            ]:
                await self._pools.pop(name).stop(vanished=name not in after)
            self._config = config
            for job in config.jobs:
                if job.name not in self._pools:
                    await self._begin(job)
        if config.ignored:
            log.info("sections of the scrape configuration are not used here", sections=config.ignored)

    async def set_interval(self, job: str, interval_s: float) -> None:
        """Another scrape interval from now on, until the configuration is read again. Raises ``NotFound``."""
        if job not in self._pools:
            raise NotFound(f"no scrape job is named {job!r}; there are {', '.join(self._pools) or 'none'}")
        if not interval_s > 0:
            raise SettingsError(f"scrape interval of {job}", interval_s, "more than 0 seconds")
        self._pools[job].change(with_interval(self._pools[job].job, interval_s))

    async def targets(self) -> dict[str, Any]:
        """The data of ``/api/v1/targets``."""
        pools = self._pools.values()
        return {
            "activeTargets": [loop.described() for loop in self._loops()],
            "droppedTargets": [
                {"discoveredLabels": dict(sorted(one.discovered.items())), "scrapePool": one.job}
                for pool in pools
                for one in pool.dropped
            ],
            "droppedTargetCounts": {pool.job.name: pool.dropped_count for pool in pools},
        }

    async def metadata(self) -> list[dict[str, Any]]:
        """The data of ``/api/v1/targets/metadata``: what each target says of each metric."""
        return [
            {
                "target": dict(loop.target.labels),
                "metric": metric,
                "type": known.type,
                "help": known.help,
                "unit": known.unit,
            }
            for loop in self._loops()
            for metric, known in list(loop.metadata.items())
        ]

    async def config(self) -> str:
        """The scrape configuration as YAML, secrets left out."""
        text = await asyncio.to_thread(read_text, self._settings.scrape.config_file)
        return shown_config(text)

    def _loops(self) -> list[TargetLoop]:
        return [loop for pool in self._pools.values() for loop in pool.loops]

    async def _begin(self, job: JobConfig) -> None:
        fetcher = Fetcher(job, self._settings.scrape.max_body_bytes)
        pool = JobPool(job, self._config.external_labels, fetcher, self._delivery, time.time)
        try:
            await pool.start(discoveries(job))
        except OSError as error:  # ssl.SSLError among them
            await pool.stop(vanished=False)
            raise SettingsError(
                f"tls_config of job {job.name}", str(error), "files that can be used"
            ) from None
        self._pools[job.name] = pool

    async def _gateway(self) -> str:
        gateway: Any = connect(self._settings).gateway
        health: Health = await gateway.health()
        if "otlp/http" not in health.listens:
            raise Overloaded("the gateway does not listen yet")
        return reachable(health.listens["otlp/http"])


def discoveries(job: JobConfig) -> list[Discovery]:
    found: list[Discovery] = [Static(job.static)] if job.static else []
    found += [Files(config) for config in job.files]
    if job.kubernetes:
        from actors.scraper.kubernetes import Kubernetes  # its import takes a second

        found += [Kubernetes(config) for config in job.kubernetes]
    return found


def read_config(name: str) -> ScrapeConfig:
    """Raises ``SettingsError`` where the file is not there or not valid."""
    return load_scrape_config(read_text(name), Path(name).expanduser().resolve().parent)


def read_text(name: str) -> str:
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError("scrape.config_file", name, f"a file that can be read ({error})") from None


def reachable(url: str) -> str:
    """The address of a server that listens everywhere, as a client writes it."""
    parts = urlsplit(url)
    host, _, port = parts.netloc.rpartition(":")
    return f"{parts.scheme}://{ANY_HOST.get(host.strip('[]'), host)}:{port}"


ScraperActor = actor(Scraper, max_concurrency=100)
