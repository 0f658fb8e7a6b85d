from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from demo import scenario
from demo.scenario import LayerClient, LayerFailed, Outcome, is_right, run_fault
from demo.shop.view import Seen, summarise

CALM = {"verdict": "nothing_unusual", "causes": []}
SLOW = {"verdict": "cause", "causes": [{"service": "catalogue"}]}


@pytest.mark.parametrize(
    ("name", "raised", "false_alarm", "answer", "right"),
    [
        ("none", False, False, CALM, True),
        ("none", False, True, CALM, False),
        ("none", True, False, CALM, False),
        ("none", False, False, SLOW, False),
        ("slow-query", True, False, SLOW, True),
        ("slow-query", True, True, SLOW, True),
        ("slow-query", False, False, SLOW, False),
        ("slow-query", True, False, CALM, False),
        ("slow-model", True, False, SLOW, False),
    ],
)
def test_what_is_right(
    name: str, raised: bool, false_alarm: bool, answer: dict[str, Any], right: bool
) -> None:
    assert is_right(name, raised=raised, false_alarm=false_alarm, answer=answer) is right


class MadeUpLayer:
    """Incidents are ``(began, from which look on it is there)``."""

    def __init__(self, answer: dict[str, Any], *incidents: tuple[float, int]) -> None:
        self._answer, self._incidents, self._looks = answer, incidents, 0
        self.reopened: list[dict[str, Any]] = []

    async def open_incidents(self) -> list[dict[str, Any]]:
        return self.reopened if self._looks > 1 else []

    async def incidents_since(self, since_s: float) -> list[dict[str, Any]]:
        self._looks += 1
        return [
            {"began_s": began_s}
            for began_s, look in self._incidents
            if began_s >= since_s and look <= self._looks
        ]

    async def ask(self, question: str) -> dict[str, Any]:
        return self._answer


class MadeUpShop:
    async def inject(self, name: str) -> None: ...
    async def heal(self, name: str) -> None: ...
    def seen(self, last_s: float) -> Seen:
        return summarise([])


async def outcome_of(name: str, layer: MadeUpLayer) -> Outcome:
    async def tick(passed_s: float) -> None: ...

    return await run_fault(
        name,
        MadeUpShop(),
        layer,
        limit_s=0.02,
        on_tick=tick,
        on_incident=lambda incident, after_s: None,
        healthy_since_s=time.time() - 90,
    )


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POLL_S", "READ_S", "RETRY_PAUSE_S"):
        monkeypatch.setattr(scenario, name, 0.001)


async def test_an_incident_of_the_healthy_while_is_a_false_alarm() -> None:
    outcome = await outcome_of("none", MadeUpLayer(CALM, (time.time() - 30, 1)))
    assert (len(outcome.false_alarms), outcome.incident, outcome.right) == (1, None, False)


async def test_one_that_began_in_it_and_is_raised_later_counts_too() -> None:
    outcome = await outcome_of("none", MadeUpLayer(CALM, (time.time() - 5, 2)))
    assert outcome.incident is not None
    assert not outcome.right


async def test_a_quiet_while_is_right() -> None:
    assert (await outcome_of("none", MadeUpLayer(CALM, (time.time() - 200, 1)))).right


async def test_a_false_alarm_does_not_decide_where_something_is_broken() -> None:
    layer = MadeUpLayer(SLOW, (time.time() - 30, 1), (time.time() + 1, 2))
    outcome = await outcome_of("slow-query", layer)
    assert outcome.right
    assert len(outcome.false_alarms) == 1


async def test_an_incident_that_comes_back_is_noticed() -> None:
    layer = MadeUpLayer(SLOW)
    layer.reopened = [{"id": "old", "began_s": time.time() - 300}]
    outcome = await outcome_of("slow-query", layer)
    assert (outcome.incident, outcome.right) == (layer.reopened[0], True)


class Front:
    """Says what it is given, one after another, the last for ever."""

    def __init__(self) -> None:
        self.replies: list[web.Response] = []
        self.requests = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        given = self.replies[min(self.requests, len(self.replies)) - 1]
        return web.Response(status=given.status, body=given.body, content_type=given.content_type)


@pytest.fixture
async def front() -> AsyncIterator[tuple[Front, LayerClient]]:
    front, app = Front(), web.Application()
    app.router.add_route("*", "/{path:.*}", front.answer)
    async with TestServer(app) as server, LayerClient(str(server.make_url(""))) as client:
        yield front, client


AWAY = web.Response(status=503, text="<html>busy</html>", content_type="text/html")


async def test_what_fails_for_the_moment_is_tried_again(front: tuple[Front, LayerClient]) -> None:
    front[0].replies = [AWAY, AWAY, web.json_response({"incidents": [{"id": "1"}]})]
    assert await front[1].incidents_since(0.0) == [{"id": "1"}]


async def test_what_is_refused_is_not(front: tuple[Front, LayerClient]) -> None:
    front[0].replies = [web.json_response({"error": {"message": "no such time"}}, status=400)]
    with pytest.raises(LayerFailed, match=r"400.*no such time"):
        await front[1].ask("why?")
    assert front[0].requests == 1


async def test_it_gives_up_in_the_end(
    front: tuple[Front, LayerClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenario, "RETRY_FOR_S", 0.01)
    front[0].replies = [AWAY]
    with pytest.raises(LayerFailed, match="503"):
        await front[1].status()


async def test_nobody_there_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenario, "RETRY_FOR_S", 0.01)
    async with TestServer(web.Application()) as server:
        url = str(server.make_url(""))
    async with LayerClient(url) as client:
        with pytest.raises(LayerFailed, match="no answer"):
            await client.status()
