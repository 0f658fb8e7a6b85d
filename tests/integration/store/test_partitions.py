from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest_asyncio

from agent.store.database import Database
from tests.integration.store.conftest import connected

NOON = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
SPAN = """INSERT INTO trace_operations (operation_name, service_name, trace_id, span_id, start_time, end_time, duration_ms)
          VALUES ('o', 's', md5(random()::text), substr(md5(random()::text), 1, 16), $1, $1, 0)"""


@pytest_asyncio.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await Database.open(url)
    yield opened
    await opened.close()


async def maintain(database: Database, at: datetime) -> dict[str, str]:
    rows = await database.fetch("maintain_partitions", at)
    return {row["partition_name"]: row["action"] for row in rows}


async def where(url: str) -> list[str]:
    async with connected(url) as connection:
        rows = await connection.fetch(
            "SELECT tableoid::regclass::text AS t FROM trace_operations ORDER BY start_time"
        )
    return [row["t"] for row in rows]


async def write(url: str, *times: datetime) -> None:
    async with connected(url) as connection:
        await connection.executemany(SPAN, [(time,) for time in times])


async def test_after_up_todays_partitions_are_there(url: str) -> None:
    await write(url, datetime.now(UTC), datetime.now(UTC) + timedelta(days=2))
    assert "trace_operations_default" not in await where(url)


async def test_coming_days_and_months_are_made_once(database: Database) -> None:
    made = await maintain(database, NOON)
    for name in ("trace_operations_p20300131", "log_analytics_p20300203", "ai_operation_metrics_p203001", "api_usage_logs_p203004"):  # fmt: skip
        assert made[name] == "made"
    assert "trace_operations_p20300204" not in made
    assert await maintain(database, NOON) == {}


async def test_a_day_begins_at_midnight_utc_whatever_the_session_says(url: str) -> None:
    async with connected(url) as connection:
        await connection.execute("SET timezone = 'Asia/Kolkata'")
        await connection.execute("SELECT maintain_partitions($1)", NOON)
    midnight = NOON.replace(hour=0)
    await write(url, midnight, midnight + timedelta(hours=23, minutes=59), midnight + timedelta(days=1))
    assert await where(url) == ["trace_operations_p20300131"] * 2 + ["trace_operations_p20300201"]


async def test_a_row_without_a_partition_waits_in_the_default_one(database: Database, url: str) -> None:
    days = [NOON - timedelta(days=2), NOON, NOON + timedelta(days=1)]
    await write(url, *days)
    assert await where(url) == ["trace_operations_default"] * 3
    made = await maintain(database, NOON)
    assert {"trace_operations_p20300129", "trace_operations_p20300131"} <= made.keys()
    assert await where(url) == [f"trace_operations_p{day:%Y%m%d}" for day in days]


async def test_what_is_older_than_its_policy_leaves(database: Database, url: str) -> None:
    await maintain(database, NOON)
    await write(url, NOON - timedelta(days=1), NOON)
    edge = datetime(2030, 2, 1, tzinfo=UTC) + timedelta(days=14)
    assert "trace_operations_p20300131" not in await maintain(database, edge - timedelta(seconds=1))
    assert len(await where(url)) == 1, "the row in the default partition is past its time"
    assert (await maintain(database, edge))["trace_operations_p20300131"] == "dropped"
    assert await where(url) == []


async def test_without_a_limit_rows_stay_for_ever(database: Database, url: str) -> None:
    async with connected(url) as connection:
        await connection.execute("UPDATE partition_policies SET keep_for = NULL")
    await write(url, NOON)
    await maintain(database, NOON + timedelta(days=9999))
    assert await where(url) == ["trace_operations_p20300131"]
