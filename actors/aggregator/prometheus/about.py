"""What is known of metrics, targets, rules, and of the server itself: ``metadata``, ``targets``, ``status/...``."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from actors.aggregator.prometheus.backend import Count, Metadata
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.form import Form
from actors.aggregator.prometheus.language import features
from actors.aggregator.prometheus.printing import duration_text
from actors.aggregator.prometheus.problems import bad_data, invalid_parameter
from actors.aggregator.prometheus.reading import number_parameter, parse_int
from actors.aggregator.prometheus.replies import Reply, TextReply
from actors.aggregator.prometheus.selectors import parse_selector, parse_selectors
from agent.errors import ObservabilityError
from agent.promql.errors import ParseError
from agent.promql.values import Matcher
from agent.version import VERSION
from agent.windows.metrics.matching import takes

# The Prometheus whose API and language this is; clients choose their requests by it.
SPOKEN = "3.5.0"
PLAIN = "text/plain; charset=utf-8"


async def metadata(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = number_parameter("limit", form.one("limit"), -1)
    per_metric = number_parameter("limit_per_metric", form.one("limit_per_metric"), -1)
    out: dict[str, list[dict[str, str]]] = {}
    for one in await doors.backend.metadata(form.tenant, form.one("metric")):
        if one.metric not in out and 0 <= limit <= len(out):
            continue
        entries, entry = out.setdefault(one.metric, []), _metadata(one)
        if entry not in entries and not 0 < per_metric <= len(entries):
            entries.append(entry)
    return Reply(out)


def _metadata(one: Metadata) -> dict[str, str]:
    return {"type": one.type, "help": one.help, "unit": one.unit}


async def target_metadata(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = number_parameter("limit", form.one("limit"), -1)
    matchers: Sequence[Matcher] = ()
    if text := form.one("match_target"):
        try:
            matchers = parse_selector(text)
        except (ParseError, ValueError) as error:
            raise invalid_parameter("match_target", str(error)) from None
    metric = form.one("metric")
    out: list[dict[str, Any]] = []
    for one in await doors.backend.target_metadata(form.tenant, metric):
        if 0 <= limit <= len(out):
            break
        if fits(one.target, matchers):
            name = {} if metric else {"metric": one.metadata.metric}
            out.append({"target": one.target, **name, **_metadata(one.metadata)})
    return Reply(out)


async def targets(doors: Doors, request: web.Request, form: Form) -> Reply:
    found = await doors.backend.targets(form.tenant)
    state, pool = form.one("state").lower(), form.one("scrapePool")

    def of_pool(targets: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        return [one for one in targets if not pool or one.get("scrapePool") == pool]

    active, dropped = state in ("", "any", "active"), state in ("", "any", "dropped")
    return Reply(
        {
            "activeTargets": of_pool(found["activeTargets"]) if active else [],
            "droppedTargets": of_pool(found["droppedTargets"]) if dropped else [],
            "droppedTargetCounts": found["droppedTargetCounts"] if dropped else None,
        }
    )


async def scrape_pools(doors: Doors, request: web.Request, form: Form) -> Reply:
    found = await doors.backend.targets(form.tenant)
    known = {
        one["scrapePool"]
        for kind in ("activeTargets", "droppedTargets")
        for one in found[kind]
        if "scrapePool" in one
    }
    return Reply({"scrapePools": sorted(known | set(found["droppedTargetCounts"] or ()))})


async def rules(doors: Doors, request: web.Request, form: Form) -> Reply:
    kind = form.one("type").lower()
    if kind not in ("", "alert", "record"):
        raise invalid_parameter("type", f'not supported value "{kind}"')
    without_alerts = _bool(form, "exclude_alerts")
    try:
        selectors = parse_selectors(form.all("match[]"))
    except (ParseError, ValueError) as error:
        raise bad_data(str(error)) from None
    wanted = {"alert": "alerting", "record": "recording"}.get(kind)
    names, groups, files = (set(form.all(name)) for name in ("rule_name[]", "rule_group[]", "file[]"))
    out = []
    for group in await doors.backend.rules(form.tenant):
        if (groups and group["name"] not in groups) or (files and group["file"] not in files):
            continue
        kept = [
            {**rule, "alerts": []} if without_alerts and rule["type"] == "alerting" else rule
            for rule in group["rules"]
            if wanted in (None, rule["type"])
            and (not names or rule["name"] in names)
            and (not selectors or any(fits(rule.get("labels") or {}, one) for one in selectors))
        ]
        if kept:
            out.append({**group, "rules": kept})
    return Reply({"groups": out})


async def alerts(doors: Doors, request: web.Request, form: Form) -> Reply:
    return Reply({"alerts": await doors.backend.alerts(form.tenant)})


async def alertmanagers(doors: Doors, request: web.Request, form: Form) -> Reply:
    return Reply({"activeAlertmanagers": [], "droppedAlertmanagers": []})


async def build_info(doors: Doors, request: web.Request, form: Form) -> Reply:
    """``version`` is that of the Prometheus spoken here, ``revision`` that of the layer."""
    return Reply(
        {
            "version": SPOKEN,
            "revision": f"kubechat-obs {VERSION}",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
    )


async def runtime_info(doors: Doors, request: web.Request, form: Form) -> Reply:
    started = _rfc3339(doors.started_s)
    return Reply(
        {
            "startTime": started,
            "CWD": "",
            "hostname": socket.gethostname(),
            "serverTime": _rfc3339(doors.api.wall_clock()),
            "reloadConfigSuccess": True,
            "lastConfigTime": started,
            "corruptionCount": 0,
            "goroutineCount": 0,
            "GOMAXPROCS": os.cpu_count() or 1,
            "GOMEMLIMIT": 0,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": duration_text(round(doors.api.settings.streams.window_s * 1000)),
        }
    )


async def flags(doors: Doors, request: web.Request, form: Form) -> Reply:
    """The settings under the names of Prometheus' flags, for clients that look at them."""
    settings = doors.settings
    return Reply(
        {
            "enable-feature": ",".join(sorted(features(settings))),
            "query.lookback-delta": duration_text(round(settings.query_lookback_s * 1000)),
            "query.max-concurrency": str(settings.query_concurrency),
            "query.max-samples": str(settings.query_max_samples),
            "query.timeout": duration_text(round(settings.query_timeout_s * 1000)),
            "storage.tsdb.retention.time": duration_text(round(doors.api.settings.streams.window_s * 1000)),
            "web.enable-admin-api": "false",
            "web.enable-lifecycle": "false",
            "web.enable-otlp-receiver": "true",
            "web.enable-remote-write-receiver": "true",
            "web.listen-address": f"{settings.host}:{settings.port}",
        }
    )


async def config(doors: Doors, request: web.Request, form: Form) -> Reply:
    return Reply({"yaml": await doors.backend.scrape_config()})


async def cardinality(doors: Doors, request: web.Request, form: Form) -> Reply:
    try:
        limit = parse_int(form.one("limit") or "10")
    except ValueError:
        limit = 0
    if limit < 1:
        raise bad_data("limit must be a positive number")
    found = await doors.backend.cardinality(form.tenant, limit)
    return Reply(
        {
            "headStats": {
                "numSeries": found.series,
                "numLabelPairs": found.label_pairs,
                "chunkCount": found.chunks,
                "minTime": found.min_time_ms,
                "maxTime": found.max_time_ms,
            },
            "seriesCountByMetricName": _counts(found.series_by_metric, limit),
            "labelValueCountByLabelName": _counts(found.values_by_label, limit),
            "memoryInBytesByLabelName": _counts(found.bytes_by_label, limit),
            "seriesCountByLabelValuePair": _counts(found.series_by_pair, limit),
        }
    )


async def healthy(doors: Doors, request: web.Request, form: Form) -> TextReply:
    return TextReply("The observability layer is Healthy.\n", PLAIN)


async def ready(doors: Doors, request: web.Request, form: Form) -> TextReply:
    try:
        state = (await doors.api.status()).state
    except ObservabilityError:
        state = "unknown"
    if state == "ready":
        return TextReply("The observability layer is Ready.\n", PLAIN)
    return TextReply(f"Service Unavailable: the layer is {state}.\n", PLAIN, 503)


def fits(labels: dict[str, str], matchers: Sequence[Matcher]) -> bool:
    return all(takes(one, labels.get(one.name, "")) for one in matchers)


def _counts(counts: Sequence[Count], limit: int) -> list[dict[str, Any]]:
    return [{"name": one.name, "value": one.value} for one in counts[:limit]]


def _bool(form: Form, name: str) -> bool:
    text = form.one(name).lower()
    if text in ("1", "t", "true"):
        return True
    if text in ("", "0", "f", "false"):
        return False
    raise invalid_parameter(
        name, f'error converting {name}: strconv.ParseBool: parsing "{text}": invalid syntax'
    )


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
