-- Story 4.3: the spans that are kept for good. A partition key must be part of every unique key, so the
-- primary key of the specification (id) is (id, start_time) here.

CREATE TABLE observability.trace_operations (
    id UUID NOT NULL DEFAULT gen_random_uuid(),
    operation_name VARCHAR(255) NOT NULL,
    service_name VARCHAR(255) NOT NULL,
    trace_id VARCHAR(32) NOT NULL CHECK (trace_id ~ '^[0-9a-f]{32}$'),
    span_id VARCHAR(16) NOT NULL CHECK (span_id ~ '^[0-9a-f]{16}$'),
    parent_span_id VARCHAR(16) CHECK (parent_span_id ~ '^[0-9a-f]{16}$'),
    start_time TIMESTAMPTZ NOT NULL,
    end_time TIMESTAMPTZ NOT NULL,
    duration_ms INTEGER NOT NULL CHECK (duration_ms >= 0),
    status VARCHAR(20) NOT NULL DEFAULT 'unset' CHECK (status IN ('unset', 'ok', 'error')),
    tags JSONB CHECK (jsonb_typeof(tags) = 'object'),
    logs JSONB CHECK (jsonb_typeof(logs) = 'array'),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (id, start_time),
    CONSTRAINT trace_operations_forward CHECK (end_time >= start_time)
) PARTITION BY RANGE (start_time);
COMMENT ON TABLE observability.trace_operations IS 'Spans kept for good: errors, slow traces, traces round an anomaly, all AI operations. One partition a day.';
-- Unique, so that a span that is sent twice is one row.
CREATE UNIQUE INDEX idx_trace_operations_trace_id ON observability.trace_operations (trace_id, span_id, start_time);
CREATE INDEX idx_trace_operations_service ON observability.trace_operations (service_name, start_time DESC);
CREATE INDEX idx_trace_operations_time ON observability.trace_operations (start_time);
CREATE INDEX idx_trace_operations_errors ON observability.trace_operations (service_name, start_time DESC) WHERE status = 'error';

CALL observability.split_by_time('trace_operations', 'start_time', 'day', interval '14 days');
