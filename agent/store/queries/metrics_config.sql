-- Every query here does the same when it runs twice with the same values.

-- name: list_metrics_config
SELECT id, metric_name, metric_type, source_service, scrape_interval, retention_period, labels, enabled, created_at, updated_at
FROM metrics_config
WHERE ($1::text IS NULL OR metric_name = $1)
  AND ($2::text IS NULL OR source_service = $2)
  AND ($3::boolean IS NULL OR enabled = $3)
ORDER BY metric_name, source_service NULLS FIRST
LIMIT $4;

-- name: get_metrics_config
SELECT id, metric_name, metric_type, source_service, scrape_interval, retention_period, labels, enabled, created_at, updated_at
FROM metrics_config
WHERE id = $1;

-- name: create_metrics_config
-- No row where another one has this name and service.
WITH made AS (
    INSERT INTO metrics_config
        (id, metric_name, metric_type, source_service, scrape_interval, retention_period, labels, enabled)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT DO NOTHING
    RETURNING *
)
SELECT id, metric_name, metric_type, source_service, scrape_interval, retention_period, labels, enabled, created_at, updated_at
FROM made
UNION ALL
SELECT id, metric_name, metric_type, source_service, scrape_interval, retention_period, labels, enabled, created_at, updated_at
FROM metrics_config
WHERE id = $1;

-- name: change_metrics_config
-- No row where there is none of this id, or where another one has this name and service.
UPDATE metrics_config
SET metric_name = $2, metric_type = $3, source_service = $4, scrape_interval = $5, retention_period = $6,
    labels = $7, enabled = $8
WHERE id = $1
  AND NOT EXISTS (
      SELECT FROM metrics_config other
      WHERE other.id <> $1 AND other.metric_name = $2 AND other.source_service IS NOT DISTINCT FROM $4)
RETURNING id, metric_name, metric_type, source_service, scrape_interval, retention_period, labels, enabled, created_at, updated_at;

-- name: delete_metrics_config
DELETE FROM metrics_config WHERE id = $1;

-- name: list_metric_thresholds
SELECT id, metric_name, threshold_type, comparison_operator, warning_value, critical_value, created_by, created_at, updated_at
FROM metric_thresholds
WHERE ($1::text IS NULL OR metric_name = $1)
ORDER BY metric_name, threshold_type, comparison_operator
LIMIT $2;

-- name: get_metric_threshold
SELECT id, metric_name, threshold_type, comparison_operator, warning_value, critical_value, created_by, created_at, updated_at
FROM metric_thresholds
WHERE id = $1;

-- name: create_metric_threshold
-- No row where another one has this name, type and operator.
WITH made AS (
    INSERT INTO metric_thresholds
        (id, metric_name, threshold_type, comparison_operator, warning_value, critical_value, created_by)
    VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT DO NOTHING
    RETURNING *
)
SELECT id, metric_name, threshold_type, comparison_operator, warning_value, critical_value, created_by, created_at, updated_at
FROM made
UNION ALL
SELECT id, metric_name, threshold_type, comparison_operator, warning_value, critical_value, created_by, created_at, updated_at
FROM metric_thresholds
WHERE id = $1;

-- name: change_metric_threshold
-- No row where there is none of this id, or where another one has this name, type and operator.
UPDATE metric_thresholds
SET metric_name = $2, threshold_type = $3, comparison_operator = $4, warning_value = $5, critical_value = $6
WHERE id = $1
  AND NOT EXISTS (
      SELECT FROM metric_thresholds other
      WHERE other.id <> $1 AND other.metric_name = $2 AND other.threshold_type = $3 AND other.comparison_operator = $4)
RETURNING id, metric_name, threshold_type, comparison_operator, warning_value, critical_value, created_by, created_at, updated_at;

-- name: delete_metric_threshold
DELETE FROM metric_thresholds WHERE id = $1;
