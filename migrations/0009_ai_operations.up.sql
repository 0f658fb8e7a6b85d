-- Story 4.6: calls of models, and what is normal for a model. The primary key of ai_operation_metrics
-- holds its partition key, as in 0006.

CREATE TABLE observability.ai_operation_metrics (
    id BIGSERIAL NOT NULL,
    model_name VARCHAR(255) NOT NULL CHECK (model_name <> ''),
    model_version VARCHAR(50),
    operation_type VARCHAR(100),
    input_tokens INTEGER CHECK (input_tokens >= 0),
    output_tokens INTEGER CHECK (output_tokens >= 0),
    response_time_ms INTEGER CHECK (response_time_ms >= 0),
    cost_estimate DECIMAL(10,4) CHECK (cost_estimate >= 0),
    quality_score DECIMAL(3,2) CHECK (quality_score BETWEEN 0 AND 1),
    user_id UUID,
    session_id UUID,
    timestamp TIMESTAMPTZ NOT NULL DEFAULT now(),
    trace_id VARCHAR(32) CHECK (trace_id ~ '^[0-9a-f]{32}$'),
    PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE observability.ai_operation_metrics IS 'One row a model call: tokens, time, estimated cost, quality. One partition a month.';
COMMENT ON COLUMN observability.ai_operation_metrics.cost_estimate IS 'US dollars; null where the price is not known.';
CREATE INDEX idx_ai_operation_metrics_timestamp ON observability.ai_operation_metrics (timestamp);
CREATE INDEX idx_ai_operation_metrics_model ON observability.ai_operation_metrics (model_name, model_version, timestamp DESC);
CREATE INDEX idx_ai_operation_metrics_trace ON observability.ai_operation_metrics (trace_id) WHERE trace_id IS NOT NULL;
CREATE INDEX idx_ai_operation_metrics_session_id ON observability.ai_operation_metrics (session_id) WHERE session_id IS NOT NULL;
CALL observability.reference_users('ai_operation_metrics', 'user_id', 'SET NULL');
CALL observability.split_by_time('ai_operation_metrics', 'timestamp', 'month', interval '13 months');

CREATE TABLE observability.model_performance_baselines (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    model_name VARCHAR(255) NOT NULL CHECK (model_name <> ''),
    baseline_type VARCHAR(50),
    baseline_metrics JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(baseline_metrics) = 'object'),
    measurement_period INTERVAL CHECK (measurement_period > interval '0'),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    valid_until TIMESTAMPTZ,
    CONSTRAINT model_performance_baselines_in_order CHECK (valid_until > created_at)
);
COMMENT ON TABLE observability.model_performance_baselines IS 'What was normal for a model, over which period, and until when that holds.';
CREATE INDEX idx_model_performance_baselines_model ON observability.model_performance_baselines (model_name, baseline_type, created_at DESC);
SELECT observability.bring_back('model_performance_baselines');
