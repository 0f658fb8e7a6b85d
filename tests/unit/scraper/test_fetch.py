"""One scrape over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors.scraper.fetch import Fetched, Fetcher
from agent.errors import BadInput
from agent.secret import Secret
from agent.telemetry.scrape_config import Credentials, HttpConfig, JobConfig, Limits, TlsConfig
from agent.telemetry.scrape_target import Target, target_of
from tests.unit.scraper.servers import FakeTarget

JOB = JobConfig("shop", 5.0, 5.0)


@asynccontextmanager
async def opened(job: JobConfig, max_body_bytes: int = 1 << 20) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(job, max_body_bytes)
    await fetcher.open()
    try:
        yield fetcher
    finally:
        await fetcher.close()


async def fetched(target: FakeTarget, **changes: Any) -> Fetched:
    job = replace(JOB, **changes)
    found = target_of(job, {"__address__": target.address})
    assert isinstance(found, Target)
    async with opened(job) as fetcher:
        return await fetcher.fetch(found)


async def test_the_body_and_what_was_asked(target: FakeTarget) -> None:
    target.packed = True
    found = await fetched(target, params={"match[]": ("a b",)})
    assert found.body == b"a 1\n# EOF\n"
    (request,) = target.asked
    assert request.query == {"match[]": "a b"}
    assert request.headers["Accept"].startswith("application/openmetrics-text;version=1.0.0;q=0.5")
    assert request.headers["Accept-Encoding"] == "gzip"
    assert request.headers["X-Prometheus-Scrape-Timeout-Seconds"] == "5"
    assert request.headers["User-Agent"].startswith("kubechat-obs/")


@pytest.mark.parametrize("packed", [True, False])
async def test_a_body_ends_at_its_limit(target: FakeTarget, packed: bool) -> None:
    target.text, target.packed = "a" * 100_000, packed
    with pytest.raises(BadInput, match="body size limit exceeded: more than 99999 bytes"):
        await fetched(target, limits=Limits(body_bytes=99_999))
    assert len((await fetched(target, limits=Limits(body_bytes=100_000))).body) == 100_000


async def test_another_status_is_an_error(target: FakeTarget) -> None:
    target.status = 404
    with pytest.raises(BadInput, match="HTTP status 404 Not Found"):
        await fetched(target)


async def test_a_slow_target_is_given_up(target: FakeTarget) -> None:
    target.delay_s = 1.0
    with pytest.raises(BadInput, match=r"within 0.02 s"):
        await fetched(target, timeout_s=0.02)


async def test_a_target_that_is_away(target: FakeTarget) -> None:
    target.address = "127.0.0.1:1"
    with pytest.raises(BadInput, match="ClientConnectorError"):
        await fetched(target)


async def test_gzip_that_is_none(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    target.packed = True
    monkeypatch.setattr("tests.unit.scraper.servers.gzip.compress", lambda body: body)
    with pytest.raises(BadInput, match="not gzip"):
        await fetched(target)


async def test_gzip_that_is_cut_off(target: FakeTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    target.packed = True
    monkeypatch.setattr("tests.unit.scraper.servers.gzip.compress", lambda body: b"\x1f\x8b\x08\x00")
    with pytest.raises(BadInput, match="too early"):
        await fetched(target)


@pytest.mark.parametrize(
    ("credentials", "shown"),
    [
        (Credentials("Basic", "u", Secret("p")), "Basic dTpw"),
        (Credentials("Bearer", secret=Secret("t")), "Bearer t"),
        (Credentials("Token", secret=Secret("t")), "Token t"),
    ],
)
async def test_credentials_are_shown(target: FakeTarget, credentials: Credentials, shown: str) -> None:
    await fetched(target, http=HttpConfig(credentials))
    assert target.asked[0].headers["Authorization"] == shown


async def test_a_secret_in_a_file_is_read_at_each_scrape(target: FakeTarget, tmp_path: Path) -> None:
    file = tmp_path / "token"
    http = HttpConfig(Credentials("Bearer", secret_file=str(file)))
    with pytest.raises(BadInput, match="cannot read the secret"):
        await fetched(target, http=http)
    for token in ("one", "two"):
        file.write_text(f"{token}\n")
        await fetched(target, http=http)
        assert target.asked[-1].headers["Authorization"] == f"Bearer {token}"


async def test_files_of_tls_that_are_missing_are_said_at_the_start() -> None:
    fetcher = Fetcher(replace(JOB, http=HttpConfig(tls=TlsConfig(ca_file="/nowhere.pem"))), 1 << 20)
    with pytest.raises(OSError, match="No such file"):
        await fetcher.open()
