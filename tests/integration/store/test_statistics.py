from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from actors.exporter import DatabaseExporter
from agent.store.database import Database
from agent.store.embedded import EmbeddedPostgres
from agent.store.statistics import read_statistics


async def test_the_statistics_of_a_database(database: Database) -> None:
    found = await read_statistics(database)
    assert found.database["datname"] == "shared"
    assert found.database["size_bytes"] > 0
    assert found.max_connections == 60
    assert sum(session["sessions"] for session in found.sessions) >= 1
    assert found.statements is None


async def test_the_embedded_server_counts_statements(server: EmbeddedPostgres) -> None:
    database = await Database.open(server.url, max_connections=1)
    try:
        await read_statistics(database)
        found = await read_statistics(database)
    finally:
        await database.close()
    assert found.statements is not None
    assert any("pg_database_size" in one["query"] and one["calls"] >= 1 for one in found.statements)


async def test_what_is_shown(server: EmbeddedPostgres) -> None:
    database = await Database.open(server.url, max_connections=2)
    exporter, registry = DatabaseExporter(database), CollectorRegistry()
    registry.register(exporter)
    try:
        await exporter.read()
        await exporter.read()
        text = generate_latest(registry).decode()
    finally:
        await database.close()
    assert "pg_up 1.0" in text
    assert "kubechat_obs_database_pool_max_connections 2.0" in text
    assert 'pg_stat_database_xact_commit{datid="' in text
    assert "pg_stat_activity_count{" in text
    assert "pg_stat_statements_calls_total{" in text


async def test_a_server_that_is_away_is_told(server: EmbeddedPostgres) -> None:
    database = await Database.open(server.url, max_connections=1, reconnect_for_s=0.1)
    await database.close()
    exporter, registry = DatabaseExporter(database), CollectorRegistry()
    await exporter.read()
    registry.register(exporter)
    assert "pg_up 0.0" in generate_latest(registry).decode()
