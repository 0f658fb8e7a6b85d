"""At least one row in every table, bound to each other by every foreign key."""

from __future__ import annotations

import json

from agent.store.database import Connection

ANN = "00000000-0000-4000-8000-00000000000a"
BOB = "00000000-0000-4000-8000-00000000000b"

USERS = """
INSERT INTO {users} (id, username, email, password_hash, role) VALUES
    ('00000000-0000-4000-8000-00000000000a', 'ann', 'ann@example.org', 'x', 'admin'),
    ('00000000-0000-4000-8000-00000000000b', 'bob', 'bob@example.org', 'x', 'viewer');
"""

ROWS = """
INSERT INTO metrics_config (metric_name, metric_type, source_service, scrape_interval, labels)
    VALUES ('http_requests_total', 'counter', 'cart', '5 seconds', '{"team": "shop"}'), ('up', 'gauge', NULL, DEFAULT, DEFAULT);
INSERT INTO metric_thresholds (metric_name, warning_value, critical_value, created_by)
    VALUES ('http_requests_total', 10.5, 99.25, '00000000-0000-4000-8000-00000000000a');
INSERT INTO dashboard_configs (id, dashboard_name, dashboard_json, created_by)
    VALUES ('00000000-0000-4000-8000-0000000000d1', 'shop', '{"panels": []}', '00000000-0000-4000-8000-00000000000a');
INSERT INTO dashboard_access (dashboard_id, user_id, granted_by) VALUES
    ('00000000-0000-4000-8000-0000000000d1', '00000000-0000-4000-8000-00000000000b', '00000000-0000-4000-8000-00000000000a');
INSERT INTO trace_operations (operation_name, service_name, trace_id, span_id, start_time, end_time, duration_ms, tags, logs)
    VALUES ('GET /', 'front', repeat('a', 32), repeat('b', 16), now(), now() + interval '5 ms', 5, '{"a": 1}', '[]'),
           ('GET /old', 'front', repeat('c', 32), repeat('d', 16), now() - interval '3 days', now(), 5, NULL, NULL);
INSERT INTO alert_rules (id, rule_name, metric_query, condition_expression, severity, created_by)
    VALUES ('00000000-0000-4000-8000-0000000000e1', 'slow', 'p99', '> 1', 'critical', '00000000-0000-4000-8000-00000000000a');
INSERT INTO alert_incidents (alert_rule_id, title, status, triggered_at, acknowledged_at, resolved_at, acknowledged_by, resolved_by, metadata)
    VALUES ('00000000-0000-4000-8000-0000000000e1', 'slow', 'resolved', now(), now(), now(), '00000000-0000-4000-8000-00000000000a',
            '00000000-0000-4000-8000-00000000000b', '{"services": ["cart"]}');
INSERT INTO log_sources (source_name, log_format, retention_days) VALUES ('cart', 'json', 7);
INSERT INTO log_analytics (log_source, log_level, message, structured_data, timestamp, trace_id, user_id)
    VALUES ('cart', 'error', 'boom', '{"k": [1]}', now(), repeat('a', 32), '00000000-0000-4000-8000-00000000000a'),
           ('cart', 'info', 'long ago', NULL, '2022-08-22', NULL, NULL);
INSERT INTO ai_operation_metrics (model_name, input_tokens, cost_estimate, quality_score, user_id)
    VALUES ('llama3.2:3b', 12, 0.0012, 0.95, '00000000-0000-4000-8000-00000000000b');
INSERT INTO model_performance_baselines (model_name, baseline_metrics, measurement_period, valid_until)
    VALUES ('llama3.2:3b', '{"p99_ms": 900}', '7 days', now() + interval '30 days');
INSERT INTO api_integrations (id, integration_name, api_key, webhook_url, created_by) VALUES
    ('00000000-0000-4000-8000-0000000000f1', 'wiki', 'sha256:' || repeat('0', 64), 'https://wiki.example.org/hook', '00000000-0000-4000-8000-00000000000a');
INSERT INTO api_usage_logs (integration_id, endpoint, method, response_status)
    VALUES ('00000000-0000-4000-8000-0000000000f1', '/api/v1/status', 'GET', 200);
INSERT INTO capacity_forecasts (resource_type, forecast_period, current_utilization, predicted_utilization, confidence_level)
    VALUES ('cpu', '7 days', 61.5, 120, 0.8);
INSERT INTO performance_baselines (component_name, metric_name, baseline_value, baseline_period)
    VALUES ('cart', 'p99_ms', 120, '1 day');
UPDATE partition_policies SET keep_for = '99 days' WHERE table_name = 'log_analytics';
"""


async def fill(connection: Connection, users: str = "observability.users") -> None:
    await connection.execute(USERS.replace("{users}", users))
    await connection.execute(ROWS)


async def tables(connection: Connection) -> list[str]:
    """The tables of the schema; a partitioned one stands for its partitions."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'observability'::regnamespace "
        "AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname"
    )
    return [row["relname"] for row in rows]


async def dump(connection: Connection) -> dict[str, list[str]]:
    """Every row of every table, but for the history of migrations."""
    found: dict[str, list[str]] = {}
    for table in await tables(connection):
        if table != "schema_migrations":
            rows = await connection.fetch(f"SELECT to_jsonb(t) AS row FROM {table} t")
            found[table] = sorted(json.dumps(json.loads(row["row"]), sort_keys=True) for row in rows)
    return found
