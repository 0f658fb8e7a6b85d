-- Story 4.5: where logs come from, and the lines that are kept for good. The primary key of
-- log_analytics holds its partition key, as in 0006.

CREATE TABLE observability.log_sources (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    source_name VARCHAR(255) NOT NULL CHECK (source_name <> ''),
    source_type VARCHAR(100),
    log_format VARCHAR(50),
    parsing_rules JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parsing_rules) IN ('object', 'array')),
    retention_days INTEGER NOT NULL DEFAULT 30 CHECK (retention_days > 0),
    enabled BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT log_sources_once UNIQUE (source_name)
);
COMMENT ON TABLE observability.log_sources IS 'Where logs come from, how they are parsed and how long they stay.';
CREATE TRIGGER log_sources_touch BEFORE UPDATE ON observability.log_sources
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('log_sources');

CREATE TABLE observability.log_analytics (
    id BIGSERIAL NOT NULL,
    log_source VARCHAR(255),
    log_level VARCHAR(20) CHECK (log_level IN ('trace', 'debug', 'info', 'warn', 'error', 'fatal')),
    message TEXT,
    structured_data JSONB CHECK (jsonb_typeof(structured_data) = 'object'),
    timestamp TIMESTAMPTZ NOT NULL,
    trace_id VARCHAR(32) CHECK (trace_id ~ '^[0-9a-f]{32}$'),
    span_id VARCHAR(16) CHECK (span_id ~ '^[0-9a-f]{16}$'),
    -- No foreign keys: a line names whom its writer meant, known here or not.
    user_id UUID,
    session_id UUID,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE observability.log_analytics IS 'Log lines kept for good, with what was parsed from them. One partition a day.';
CREATE INDEX idx_log_analytics_timestamp ON observability.log_analytics (timestamp);
CREATE INDEX idx_log_analytics_trace ON observability.log_analytics (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX idx_log_analytics_level ON observability.log_analytics (log_level, timestamp DESC);
CREATE INDEX idx_log_analytics_source ON observability.log_analytics (log_source, timestamp DESC);
CREATE INDEX idx_log_analytics_user_id ON observability.log_analytics (user_id, timestamp DESC) WHERE user_id IS NOT NULL;
CREATE INDEX idx_log_analytics_session_id ON observability.log_analytics (session_id) WHERE session_id IS NOT NULL;

CALL observability.split_by_time('log_analytics', 'timestamp', 'day', interval '30 days');
