"""``series``, ``labels``, ``label/{name}/values``: what there is, found by selectors and time."""

from __future__ import annotations

from aiohttp import web

from actors.aggregator.prometheus.backend import Scope
from actors.aggregator.prometheus.doors import Doors
from actors.aggregator.prometheus.form import Form
from actors.aggregator.prometheus.problems import bad_data, invalid_parameter
from actors.aggregator.prometheus.queries import TRUNCATED
from actors.aggregator.prometheus.reading import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    limit_parameter,
    quoted,
    time_parameter,
    unescape_label,
)
from actors.aggregator.prometheus.replies import Rendered, Reply
from actors.aggregator.prometheus.selectors import parse_selectors
from actors.aggregator.prometheus.series import label_set_pieces
from agent.promql.errors import ParseError


async def series(doors: Doors, request: web.Request, form: Form) -> Reply:
    if not form.all("match[]"):
        raise bad_data("no match[] parameter provided")
    limit = limit_parameter(form.one("limit"))
    found = await doors.backend.series(form.tenant, _scope(form, limit, named=True))
    cut = 0 < limit < len(found)
    shown = found.take(slice(0, limit)) if cut else found
    return Reply(Rendered(b"[", label_set_pieces(shown), b"]", shown.codes.size), [TRUNCATED] if cut else [])


async def names(doors: Doors, request: web.Request, form: Form) -> Reply:
    limit = limit_parameter(form.one("limit"))
    return _limited(await doors.backend.label_names(form.tenant, _scope(form, limit)), limit)


async def values(doors: Doors, request: web.Request, form: Form) -> Reply:
    name = unescape_label(request.match_info["name"])
    if not name or "\ufffd" in name:
        raise bad_data(f"invalid label name: {quoted(name)}")
    limit = limit_parameter(form.one("limit"))
    return _limited(await doors.backend.label_values(form.tenant, name, _scope(form, limit)), limit)


def _scope(form: Form, limit: int, *, named: bool = False) -> Scope:
    """One more than wanted is asked for, which tells whether there are more."""
    start_ms = time_parameter("start", form.one("start"), MIN_TIME_MS)
    end_ms = time_parameter("end", form.one("end"), MAX_TIME_MS)
    try:
        selectors = parse_selectors(form.all("match[]"))
    except (ParseError, ValueError) as error:
        raise invalid_parameter("match[]", str(error)) if named else bad_data(str(error)) from None
    return Scope(selectors, start_ms, end_ms, limit + 1 if limit else 0)


def _limited(found: list[str], limit: int) -> Reply:
    found = sorted(found)
    return Reply(found[:limit], [TRUNCATED]) if 0 < limit < len(found) else Reply(found)
