"""``/federate``: the newest sample of each selected series in the text format, for another Prometheus to scrape."""

from __future__ import annotations

import asyncio
import re
from functools import partial

import numpy as np
from aiohttp import hdrs, web

from actors.aggregator.prometheus.backend import QueryOptions
from actors.aggregator.prometheus.digits import float_text
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.form import Form
from actors.aggregator.prometheus.printing import duration_text
from actors.aggregator.prometheus.replies import TextReply
from actors.aggregator.prometheus.selectors import parse_selectors
from agent.promql.errors import ParseError
from agent.promql.values import STALE_NAN_BITS, Selection
from agent.telemetry.labels import METRIC_NAME, Labels

PLAIN = "text/plain; charset=utf-8"
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8; escaping="
_ODD = re.compile(r"[^a-zA-Z0-9_:]")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*", re.ASCII)


async def federate(doors: Doors, request: web.Request, form: Form) -> TextReply:
    try:
        parse_selectors(form.all("match[]"))
    except (ParseError, ValueError) as error:
        return TextReply(f"{error}\n", PLAIN, 400)
    utf8 = "escaping=allow-utf-8" in request.headers.get(hdrs.ACCEPT, "").replace(" ", "")
    now_ms, options = doors.now_ms(), QueryOptions(doors.settings.query_timeout_s, doors.engine)
    newest: dict[Labels, tuple[int, float]] = {}
    for text in form.all("match[]"):
        # The line break keeps a comment at the selector's end from taking the range with it.
        query = f"{text}\n[{duration_text(options.engine.lookback_ms)}]"
        start = partial(doors.backend.instant, form.tenant, query, now_ms, options)
        found, _ = await doors.run(request, options, start)
        if isinstance(found.value, Selection):
            newest |= await asyncio.to_thread(_newest, found.value)
    text = await asyncio.to_thread(_exposition, newest, utf8)
    return TextReply(text, TEXT_FORMAT + ("allow-utf-8" if utf8 else "underscores"))


def _newest(selection: Selection) -> dict[Labels, tuple[int, float]]:
    """Series whose last sample is a stale marker, and those of native histograms alone, are left out: the
    text format has neither."""
    newest = {}
    bits = np.ascontiguousarray(selection.value).view(np.uint64)
    for i in range(len(selection)):
        begin, end = int(selection.offsets[i]), int(selection.offsets[i + 1])
        if begin < end and int(bits[end - 1]) != STALE_NAN_BITS:
            newest[selection.labels.row(i)] = int(selection.time_ms[end - 1]), float(selection.value[end - 1])
    return newest


def _exposition(newest: dict[Labels, tuple[int, float]], utf8: bool) -> str:
    by_name: dict[str, list[str]] = {}
    for labels, (time_ms, value) in sorted(newest.items()):
        own = dict(labels)
        name = own.pop(METRIC_NAME, "")
        if not name:
            continue
        own.setdefault("instance", "")
        shown = _sample_name(name, own, utf8=utf8)
        by_name.setdefault(name, []).append(f"{shown} {float_text(value)} {time_ms}\n")
    parts = []
    for name in sorted(by_name):
        parts.append(f"# TYPE {_name(name, _METRIC, utf8=utf8)} untyped\n")
        parts += by_name[name]
    return "".join(parts)


def _sample_name(name: str, labels: dict[str, str], *, utf8: bool) -> str:
    pairs = [f'{_name(n, _LABEL, utf8=utf8)}="{_escaped(v)}"' for n, v in sorted(labels.items())]
    shown = _name(name, _METRIC, utf8=utf8)
    if shown.startswith('"'):
        return f"{{{','.join([shown, *pairs])}}}"
    return f"{shown}{{{','.join(pairs)}}}"


def _name(name: str, plain: re.Pattern[str], *, utf8: bool) -> str:
    """A name that the old format does not know: quoted for who asked for UTF-8, else with underscores."""
    if plain.fullmatch(name):
        return name
    if utf8:
        return f'"{_escaped(name)}"'
    shown = _ODD.sub("_", name)
    return f"_{shown}" if shown[:1].isdigit() else shown


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
