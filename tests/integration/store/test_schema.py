"""What the tables hold, refuse and find quickly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio

from agent.store.database import Connection
from agent.store.embedded import EmbeddedPostgres
from tests.integration.store.conftest import connected, new_database
from tests.integration.store.rows import BOB, fill

# Every table and column of the specification.
SPECIFIED = {
    "metrics_config": "id metric_name metric_type source_service scrape_interval retention_period labels enabled created_at",
    "metric_thresholds": "id metric_name threshold_type warning_value critical_value comparison_operator created_by created_at",
    "dashboard_configs": "id dashboard_name dashboard_json category access_level created_by version created_at updated_at",
    "dashboard_access": "id dashboard_id user_id access_type granted_at granted_by",
    "trace_operations": "id operation_name service_name trace_id span_id parent_span_id start_time end_time duration_ms status tags logs created_at",
    "alert_rules": "id rule_name metric_query condition_expression severity notification_channels enabled created_by created_at",
    "alert_incidents": "id alert_rule_id title description severity status triggered_at acknowledged_at resolved_at acknowledged_by resolved_by metadata",
    "log_sources": "id source_name source_type log_format parsing_rules retention_days enabled created_at",
    "log_analytics": "id log_source log_level message structured_data timestamp trace_id span_id user_id session_id created_at",
    "ai_operation_metrics": "id model_name model_version operation_type input_tokens output_tokens response_time_ms cost_estimate quality_score user_id session_id timestamp trace_id",
    "model_performance_baselines": "id model_name baseline_type baseline_metrics measurement_period created_at valid_until",
    "api_integrations": "id integration_name integration_type api_key webhook_url data_types rate_limit_per_hour enabled created_by created_at",
    "api_usage_logs": "id integration_id endpoint method response_status response_time_ms data_size_bytes timestamp",
    "capacity_forecasts": "id resource_type forecast_period current_utilization predicted_utilization recommended_capacity confidence_level generated_at forecast_model model_parameters",
    "performance_baselines": "id component_name metric_name baseline_value baseline_period measurement_count last_updated",
}  # fmt: skip

HEX32, HEX16 = "a" * 32, "b" * 16
SPAN = f"INSERT INTO trace_operations (operation_name, service_name, trace_id, span_id, start_time, end_time, duration_ms, status) VALUES ('o', 's', '{HEX32}', '{HEX16}', '2026-01-02', '2026-01-03', 5, 'ok')"
INCIDENT = (
    "INSERT INTO alert_incidents (title, severity, status, metadata) VALUES ('t', 'info', 'open', '{}')"
)
USAGE = "INSERT INTO api_usage_logs (method, response_status, response_time_ms) VALUES ('GET', 200, 1)"
AI = "INSERT INTO ai_operation_metrics (model_name, input_tokens, quality_score) VALUES ('m', 1, 0.5)"
THRESHOLD = "INSERT INTO metric_thresholds (metric_name, warning_value, critical_value, comparison_operator) VALUES ('m', 1, 2, '>')"
METRIC = "INSERT INTO metrics_config (metric_name, metric_type, labels, scrape_interval) VALUES ('m', 'gauge', '{}', '1 s')"
RULE = "INSERT INTO alert_rules (rule_name, metric_query, condition_expression, severity) VALUES ('r', 'q', 'c', 'info')"
LOG = f"INSERT INTO log_analytics (timestamp, log_level, trace_id) VALUES (now(), 'info', '{HEX32}')"
KEY = f"INSERT INTO api_integrations (integration_name, api_key, webhook_url) VALUES ('i', 'sha256:{HEX32 * 2}', 'https://example.org')"
FORECAST = "INSERT INTO capacity_forecasts (resource_type, forecast_period, confidence_level) VALUES ('cpu', '1 day', 0.5)"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def connection(server: EmbeddedPostgres, migrated: str) -> AsyncIterator[Connection]:
    async with new_database(server, migrated) as url, connected(url) as opened:
        yield opened


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_column_of_the_specification_is_there(connection: Connection) -> None:
    for table, columns in SPECIFIED.items():
        rows = await connection.fetch(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'observability' AND table_name = $1",
            table,
        )
        assert set(columns.split()) <= {row["column_name"] for row in rows}, table


async def test_every_time_has_a_time_zone(connection: Connection) -> None:
    naive = await connection.fetch(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = 'observability' AND data_type = 'timestamp without time zone'"
    )
    assert naive == []


async def test_every_foreign_key_says_what_a_delete_does_and_has_an_index(connection: Connection) -> None:
    keys = await connection.fetch(
        """
        SELECT c.conname, c.confdeltype,
               EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1]) AS indexed
        FROM pg_constraint c
        WHERE c.contype = 'f' AND c.conparentid = 0 AND c.connamespace = 'observability'::regnamespace
        """
    )
    assert len(keys) == 12
    assert [
        key["conname"] for key in keys if key["confdeltype"] not in (b"n", b"c") or not key["indexed"]
    ] == []


@pytest.mark.parametrize(
    ("good", "replaced", "by"),
    [
        (SPAN, HEX32, "a" * 31),
        (SPAN, HEX32, "A" * 32),
        (SPAN, HEX16, "g" * 16),
        (SPAN, "'2026-01-03'", "'2026-01-01'"),
        (SPAN, ", 5,", ", -5,"),
        (SPAN, "'ok'", "'fine'"),
        (INCIDENT, "'info'", "'urgent'"),
        (INCIDENT, "'open'", "'closed'"),
        (INCIDENT, "'open'", "'acknowledged'"),
        (INCIDENT, "'open'", "'resolved'"),
        (INCIDENT, "'{}'", "'[]'"),
        (INCIDENT, "'t'", "''"),
        (USAGE, "200", "99"),
        (USAGE, "200", "600"),
        (USAGE, "'GET'", "'FETCH'"),
        (AI, "0.5", "1.5"),
        (AI, "1,", "-1,"),
        (THRESHOLD, "'>'", "'=>'"),
        (THRESHOLD, "1, 2", "2, 1"),
        (THRESHOLD, "1, 2", "NULL, NULL"),
        (METRIC, "'gauge'", "'number'"),
        (METRIC, "'{}'", "'[]'"),
        (METRIC, "'1 s'", "'0 s'"),
        (RULE, "'info'", "'page'"),
        (LOG, "'info'", "'INFO'"),
        (LOG, HEX32, "xyz"),
        (KEY, f"sha256:{HEX32 * 2}", "a-plain-key"),
        (KEY, "https:", "ftp:"),
        (FORECAST, "0.5", "80"),
    ],
)
async def test_bad_values_are_refused(connection: Connection, good: str, replaced: str, by: str) -> None:
    rolled_back = connection.transaction()
    await rolled_back.start()
    try:
        await connection.execute(good)
        with pytest.raises((asyncpg.CheckViolationError, asyncpg.NumericValueOutOfRangeError)):
            await connection.execute(good.replace(replaced, by))
    finally:
        await rolled_back.rollback()


@pytest.mark.parametrize("twice", [SPAN, THRESHOLD, METRIC, RULE, KEY])
async def test_the_same_thing_twice_is_refused(connection: Connection, twice: str) -> None:
    rolled_back = connection.transaction()
    await rolled_back.start()
    try:
        await connection.execute(twice)
        with pytest.raises(asyncpg.UniqueViolationError):
            await connection.execute(twice)
    finally:
        await rolled_back.rollback()


async def test_deleting_a_user_takes_access_away_and_keeps_the_rest(connection: Connection) -> None:
    rolled_back = connection.transaction()
    await rolled_back.start()
    try:
        await fill(connection)
        await connection.execute(f"DELETE FROM users WHERE id = '{BOB}'")
        assert await connection.fetchval("SELECT count(*) FROM dashboard_access") == 0
        assert (
            await connection.fetchval("SELECT count(*) FROM ai_operation_metrics WHERE user_id IS NULL") == 1
        )
        assert (
            await connection.fetchval("SELECT count(*) FROM alert_incidents WHERE resolved_by IS NULL") == 1
        )
    finally:
        await rolled_back.rollback()


async def test_updating_a_row_is_seen_in_updated_at(connection: Connection) -> None:
    rolled_back = connection.transaction()
    await rolled_back.start()
    try:
        await connection.execute(RULE.replace("severity)", "severity, updated_at)").replace("'info'", "'info', '2020-01-01'"))  # fmt: skip
        await connection.execute("UPDATE alert_rules SET enabled = false")
        assert await connection.fetchval("SELECT updated_at = now() FROM alert_rules")
    finally:
        await rolled_back.rollback()
