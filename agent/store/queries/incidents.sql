-- Every query here does the same when it runs twice with the same values.

-- name: upsert_incident
-- What was found out replaces what stood there; the life cycle only goes forward, so that a late write of
-- an open incident does not undo that somebody acknowledged or resolved it. Only an incident that was opened
-- again (a higher ``reopened`` in its metadata) begins anew.
INSERT INTO alert_incidents AS stored
    (id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO UPDATE SET
    title = excluded.title,
    description = excluded.description,
    severity = excluded.severity,
    status = CASE
        WHEN (excluded.metadata->>'reopened')::int > coalesce((stored.metadata->>'reopened')::int, 0) THEN excluded.status
        WHEN 'resolved' IN (stored.status, excluded.status) THEN 'resolved'
        WHEN 'acknowledged' IN (stored.status, excluded.status) THEN 'acknowledged'
        ELSE 'open' END,
    triggered_at = least(stored.triggered_at, excluded.triggered_at),
    acknowledged_at = coalesce(stored.acknowledged_at, excluded.acknowledged_at),
    resolved_at = CASE
        WHEN (excluded.metadata->>'reopened')::int > coalesce((stored.metadata->>'reopened')::int, 0) THEN excluded.resolved_at
        ELSE coalesce(stored.resolved_at, excluded.resolved_at) END,
    metadata = stored.metadata || excluded.metadata
RETURNING id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata;

-- name: list_incidents
SELECT id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata
FROM alert_incidents
WHERE ($1::text IS NULL OR status = $1)
  AND ($2::text IS NULL OR severity = $2)
  AND ($3::jsonb IS NULL OR metadata @> $3)
  AND ($4::timestamptz IS NULL OR triggered_at >= $4)
  AND ($5::text IS NULL OR coalesce(metadata->>'tenant', 'default') = $5)
ORDER BY triggered_at DESC, id
LIMIT $6;

-- name: get_incident
SELECT id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata
FROM alert_incidents
WHERE id = $1;

-- name: acknowledge_incident
-- Acknowledging what is acknowledged or resolved changes nothing.
WITH changed AS (
    UPDATE alert_incidents
    SET status = 'acknowledged', acknowledged_at = $2, acknowledged_by = coalesce($3, acknowledged_by)
    WHERE id = $1 AND status = 'open'
    RETURNING *
)
SELECT id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata FROM changed
UNION ALL
SELECT id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata
FROM alert_incidents
WHERE id = $1 AND NOT EXISTS (SELECT FROM changed);

-- name: resolve_incident
-- The clock of whoever resolves may lag behind the telemetry's, hence greatest().
WITH changed AS (
    UPDATE alert_incidents
    SET status = 'resolved', resolved_at = greatest($2, triggered_at), resolved_by = coalesce($3, resolved_by)
    WHERE id = $1 AND status <> 'resolved'
    RETURNING *
)
SELECT id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata FROM changed
UNION ALL
SELECT id, title, description, severity, status, triggered_at, acknowledged_at, resolved_at, metadata
FROM alert_incidents
WHERE id = $1 AND NOT EXISTS (SELECT FROM changed);
