"""From what discovery found to targets: default labels, relabelling, address and intervals, as Prometheus 3.

A ``Target`` is what remains; its identity is its labels and its URL. ``Dropped`` is what relabelling took
away, which the API shows.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from agent.telemetry.labels import Labels, labels_of
from agent.telemetry.relabel import relabel
from agent.telemetry.scrape_config import JobConfig, TargetGroup
from agent.telemetry.scrape_yaml import format_duration, parse_duration

ADDRESS, SCHEME, PATH = "__address__", "__scheme__", "__metrics_path__"
INTERVAL, TIMEOUT, PARAM, META = "__scrape_interval__", "__scrape_timeout__", "__param_", "__meta_"
_HOST_PORT = re.compile(r"(?:\[[^\]/]*\]|[^:/\[\]]+)(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Target:
    job: str
    labels: Labels
    discovered: Mapping[str, str]
    url: str
    interval_s: float
    timeout_s: float

    @property
    def key(self) -> str:
        """The same for the same target in any process."""
        text = "\xff".join([self.job, self.url, *(part for pair in self.labels for part in pair)])
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Dropped:
    job: str
    discovered: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Refused:
    """A target that cannot be scraped, and why."""

    discovered: Mapping[str, str]
    reason: str


def targets_of(job: JobConfig, groups: Iterable[TargetGroup]) -> Iterator[Target | Dropped | Refused]:
    """What becomes of every target of the groups, in their order."""
    for group in groups:
        for own in group.targets:
            yield target_of(job, {**group.labels, **own})


def target_of(job: JobConfig, found: Mapping[str, str]) -> Target | Dropped | Refused:
    discovered = _with_defaults(job, found)
    labels = relabel(discovered, job.relabel)
    if labels is None:
        return Dropped(job.name, discovered)
    address, scheme = labels.get(ADDRESS, ""), labels.get(SCHEME, "")
    interval_s, timeout_s = parse_duration(labels.get(INTERVAL, "")), parse_duration(labels.get(TIMEOUT, ""))
    reason = _refusal(address, scheme, interval_s, timeout_s)
    if reason or interval_s is None or timeout_s is None:
        return Refused(discovered, reason)
    labels.setdefault("instance", address)
    return Target(
        job=job.name,
        labels=labels_of((name, value) for name, value in labels.items() if not name.startswith("__")),
        discovered=discovered,
        url=_url(job, labels, f"{scheme}://{address}"),
        interval_s=interval_s,
        timeout_s=timeout_s,
    )


def _with_defaults(job: JobConfig, found: Mapping[str, str]) -> dict[str, str]:
    defaults = {
        "job": job.name,
        INTERVAL: format_duration(job.interval_s),
        TIMEOUT: format_duration(job.timeout_s),
        PATH: job.metrics_path,
        SCHEME: job.scheme,
        **{PARAM + name: values[0] for name, values in job.params.items() if values},
    }
    return defaults | {name: value for name, value in found.items() if value}


def _refusal(address: str, scheme: str, interval_s: float | None, timeout_s: float | None) -> str:
    if not address:
        return "no address"
    if not _HOST_PORT.fullmatch(address):
        return f"{address!r} is not a valid address; expected host:port"
    if scheme not in ("http", "https"):
        return f"invalid scheme: {scheme!r}"
    if not interval_s or not timeout_s:
        return "scrape interval and time-out must be durations above 0"
    if timeout_s > interval_s:
        return "scrape timeout cannot be greater than scrape interval"
    return ""


def _url(job: JobConfig, labels: Mapping[str, str], base: str) -> str:
    params = {name: list(values) for name, values in job.params.items()}
    for name, value in labels.items():
        if name.startswith(PARAM):
            params[name.removeprefix(PARAM)] = [value, *params.get(name.removeprefix(PARAM), [])[1:]]
    path = labels.get(PATH, "")
    query = urlencode([(name, value) for name in sorted(params) for value in params[name]])
    return base + (path if path.startswith("/") else f"/{path}") + (f"?{query}" if query else "")


def next_scrape_s(key: str, interval_s: float, now_s: float) -> float:
    """The next time at or after ``now_s`` at which a target is due: each has its own place in the interval,
    the same after a restart."""
    offset_s = int(key[:12], 16) / float(1 << 48) * interval_s
    return math.ceil((now_s - offset_s) / interval_s) * interval_s + offset_s
