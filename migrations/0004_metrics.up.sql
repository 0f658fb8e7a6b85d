-- Story 4.1: which metrics are collected, and the thresholds a person set.

CREATE TABLE observability.metrics_config (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    metric_name VARCHAR(255) NOT NULL CHECK (metric_name <> ''),
    metric_type VARCHAR(50) NOT NULL CHECK (metric_type IN
        ('counter', 'gauge', 'histogram', 'exponential_histogram', 'gaugehistogram', 'summary', 'info', 'stateset', 'unknown')),
    source_service VARCHAR(255),
    scrape_interval INTERVAL NOT NULL DEFAULT '15 seconds' CHECK (scrape_interval > interval '0'),
    retention_period INTERVAL NOT NULL DEFAULT '30 days' CHECK (retention_period > interval '0'),
    labels JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(labels) = 'object'),
    enabled BOOLEAN NOT NULL DEFAULT true,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT metrics_config_once UNIQUE NULLS NOT DISTINCT (metric_name, source_service)
);
COMMENT ON TABLE observability.metrics_config IS 'Metrics to collect: from which service, how often, how long they stay.';
CREATE INDEX idx_metrics_config_source_service ON observability.metrics_config (source_service) WHERE enabled;
CREATE TRIGGER metrics_config_touch BEFORE UPDATE ON observability.metrics_config
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('metrics_config');

CREATE TABLE observability.metric_thresholds (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    metric_name VARCHAR(255) NOT NULL CHECK (metric_name <> ''),
    threshold_type VARCHAR(50) NOT NULL DEFAULT 'static'
        CHECK (threshold_type IN ('static', 'rate_of_change', 'baseline', 'anomaly', 'forecast')),
    warning_value DECIMAL(15,4),
    critical_value DECIMAL(15,4),
    comparison_operator VARCHAR(10) NOT NULL DEFAULT '>' CHECK (comparison_operator IN ('>', '>=', '<', '<=', '==', '!=')),
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT metric_thresholds_once UNIQUE (metric_name, threshold_type, comparison_operator),
    CONSTRAINT metric_thresholds_has_value CHECK (num_nonnulls(warning_value, critical_value) > 0),
    CONSTRAINT metric_thresholds_in_order CHECK (CASE
        WHEN comparison_operator IN ('>', '>=') THEN critical_value >= warning_value
        WHEN comparison_operator IN ('<', '<=') THEN critical_value <= warning_value
        ELSE true END)
);
COMMENT ON TABLE observability.metric_thresholds IS 'At which value of a metric a warning or a critical state begins.';
CALL observability.reference_users('metric_thresholds', 'created_by', 'SET NULL');
CREATE TRIGGER metric_thresholds_touch BEFORE UPDATE ON observability.metric_thresholds
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('metric_thresholds');
