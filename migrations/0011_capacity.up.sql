-- Story 4.8: what will be needed, and what was normal. A ratio of use may pass 100: demand beyond capacity.

CREATE TABLE observability.capacity_forecasts (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    resource_type VARCHAR(100) NOT NULL CHECK (resource_type <> ''),
    forecast_period INTERVAL NOT NULL CHECK (forecast_period > interval '0'),
    current_utilization DECIMAL(5,2) CHECK (current_utilization >= 0),
    predicted_utilization DECIMAL(5,2) CHECK (predicted_utilization >= 0),
    recommended_capacity DECIMAL(10,2) CHECK (recommended_capacity >= 0),
    confidence_level DECIMAL(3,2) CHECK (confidence_level BETWEEN 0 AND 1),
    generated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    forecast_model VARCHAR(100),
    model_parameters JSONB CHECK (jsonb_typeof(model_parameters) = 'object')
);
COMMENT ON TABLE observability.capacity_forecasts IS 'Forecasts of use of a resource, with the model that made them. Utilization in per cent.';
CREATE INDEX idx_capacity_forecasts_resource ON observability.capacity_forecasts (resource_type, generated_at DESC);
CREATE INDEX idx_capacity_forecasts_generated_at ON observability.capacity_forecasts (generated_at);
SELECT observability.bring_back('capacity_forecasts');

CREATE TABLE observability.performance_baselines (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    component_name VARCHAR(255) NOT NULL CHECK (component_name <> ''),
    metric_name VARCHAR(255) NOT NULL CHECK (metric_name <> ''),
    baseline_value DECIMAL(15,4),
    baseline_period INTERVAL CHECK (baseline_period > interval '0'),
    measurement_count INTEGER CHECK (measurement_count >= 0),
    last_updated TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT performance_baselines_once UNIQUE NULLS NOT DISTINCT (component_name, metric_name, baseline_period)
);
COMMENT ON TABLE observability.performance_baselines IS 'What is normal for a metric of a component, over which period, from how many measurements.';
CREATE INDEX idx_performance_baselines_metric ON observability.performance_baselines (metric_name);
SELECT observability.bring_back('performance_baselines');
