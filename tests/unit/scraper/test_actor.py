"""The scraper between a target and a gateway that are real HTTP servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from actors.ports import Health
from actors.runtime import places
from actors.scraper import actor
from actors.scraper.actor import Scraper, reachable
from agent.errors import NotFound, SettingsError
from agent.settings import Settings, load
from tests.unit.scraper.servers import FakeGateway, FakeTarget
from tests.unit.telemetry.write_requests import is_stale


class Listening:
    """What the gateway's actor says of itself."""

    def __init__(self, gateway: FakeGateway) -> None:
        self._gateway = gateway

    async def health(self) -> Health:
        return Health("gateway-0", "gateway", 1, 0, "ready", listens={"otlp/http": self._gateway.url})


Start = Callable[[str], Awaitable[Scraper]]
JOB = """
scrape_configs:
- job_name: shop
  scrape_interval: 50ms
  scrape_timeout: 50ms
  static_configs:
  - targets: ['{address}']
"""


def configure(scraper: Scraper, text: str) -> None:
    Path(scraper._settings.scrape.config_file).write_text(text)


@pytest.fixture
async def start(
    tmp_path: Path, gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Start]:
    made: list[Scraper] = []
    handles = SimpleNamespace(gateway=Listening(gateway))
    monkeypatch.setattr(actor, "connect", lambda settings: handles)
    file = tmp_path / "prometheus.yml"

    async def start(text: str) -> Scraper:
        file.write_text(text)
        settings: Settings = load(environ={})
        scraper = Scraper(
            replace(settings, scrape=replace(settings.scrape, config_file=str(file))), "scraper-0"
        )
        made.append(scraper)
        await scraper.start()
        return scraper

    yield start
    for scraper in made:
        await scraper.stop()


async def test_a_target_is_scraped_into_the_gateway(
    start: Start, target: FakeTarget, gateway: FakeGateway
) -> None:
    target.text = '# TYPE b counter\n# HELP b some\nb_total{code="200"} 7 # {trace_id="x"} 1.5\n# EOF\n'
    scraper = await start(JOB.format(address=target.address))
    assert await gateway.until("up") == [1.0]
    labels, _, value = next(row for row in gateway.samples() if dict(row[0])["__name__"] == "b_total")
    assert value == 7.0
    assert dict(labels) == {"__name__": "b_total", "code": "200", "instance": target.address, "job": "shop"}
    assert gateway.requests[0].metadata["b"] == (1, "some", "")
    assert gateway.requests[0].exemplars[0][1] == (("trace_id", "x"),)
    assert gateway.values("scrape_samples_scraped")[0] == 1.0
    (active,) = (await scraper.targets())["activeTargets"]
    assert (active["health"], active["scrapePool"], active["scrapeInterval"]) == ("up", "shop", "50ms")
    assert (await scraper.metadata())[0]["help"] == "some"
    assert (await scraper.health()).figures["targets_up"] == 1.0


async def test_a_target_that_fails_is_down_and_its_series_end(
    start: Start, target: FakeTarget, gateway: FakeGateway
) -> None:
    scraper = await start(JOB.format(address=target.address))
    await gateway.until("a")
    target.status = 500
    while gateway.values("up")[-1:] != [0.0]:
        await gateway.until("up", len(gateway.values("up")) + 1)
    assert is_stale(gateway.values("a")[-1])
    assert "500" in (await scraper.targets())["activeTargets"][0]["lastError"]


async def test_a_job_that_is_gone_after_a_reload_ends_all_its_series(
    start: Start, target: FakeTarget, gateway: FakeGateway
) -> None:
    scraper = await start(JOB.format(address=target.address))
    await gateway.until("up")
    configure(scraper, "scrape_configs: []\n")
    await scraper.reload()
    await scraper._delivery.drained()
    assert is_stale(gateway.values("a")[-1])
    assert is_stale(gateway.values("up")[-1])
    assert (await scraper.targets())["activeTargets"] == []


async def test_an_interval_is_changed_while_it_runs(
    start: Start, target: FakeTarget, gateway: FakeGateway
) -> None:
    scraper = await start(
        JOB.format(address=target.address).replace("scrape_interval: 50ms", "scrape_interval: 1h")
    )
    assert gateway.requests == []
    await scraper.set_interval("shop", 0.05)
    await gateway.until("up")
    assert (await scraper.targets())["activeTargets"][0]["scrapeInterval"] == "50ms"
    with pytest.raises(NotFound, match="shop"):
        await scraper.set_interval("other", 1.0)


async def test_a_configuration_that_is_wrong_is_said_and_the_running_one_stays(
    start: Start, target: FakeTarget
) -> None:
    scraper = await start(JOB.format(address=target.address))
    configure(scraper, "scrape_configs:\n- job_name: a\n  color: red\n")
    with pytest.raises(SettingsError, match=r"scrape_configs\[0\].color \(line 3\)"):
        await scraper.reload()
    assert len((await scraper.targets())["activeTargets"]) == 1


async def test_a_missing_configuration_fails_the_start() -> None:
    settings = load(environ={"KUBECHAT_OBS_SCRAPE_CONFIG_FILE": "/nowhere.yml"})
    scraper = Scraper(settings, "scraper-0")
    health = await scraper.start()
    assert (health.state, health.detail[:34]) == ("failed", "setting scrape.config_file: got '/")
    await scraper.stop()


async def test_secrets_are_not_shown(start: Start, target: FakeTarget) -> None:
    job = JOB.format(address=target.address) + "  basic_auth: {username: a, password: hunter2}\n"
    scraper = await start(job)
    assert "hunter2" not in await scraper.config()
    assert "hunter2" not in repr(scraper._config)


@pytest.mark.parametrize(
    ("listens", "expected"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("http://0.0.0.0:4318", "http://127.0.0.1:4318"),
        ("http://:::4318", "http://[::1]:4318"),
    ],
)
def test_a_gateway_that_listens_everywhere_is_reached_here(listens: str, expected: str) -> None:
    assert reachable(listens) == expected


@pytest.mark.parametrize("file", ["", "prometheus.yml"])
def test_a_scraper_is_placed_where_a_configuration_is_set(file: str) -> None:
    placed = places(load(environ={"KUBECHAT_OBS_SCRAPE_CONFIG_FILE": file} if file else {}))
    assert ("scraper-0" in [place.name for place in placed]) is bool(file)
