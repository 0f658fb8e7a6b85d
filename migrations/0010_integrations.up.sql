-- Story 4.7: who may call the API from outside, and what they called. The primary key of api_usage_logs
-- holds its partition key, as in 0006.

CREATE TABLE observability.api_integrations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    integration_name VARCHAR(255) NOT NULL CHECK (integration_name <> ''),
    integration_type VARCHAR(100),
    api_key VARCHAR(255) UNIQUE CHECK (api_key ~ '^sha256:[0-9a-f]{64}$'),
    webhook_url TEXT CHECK (webhook_url ~ '^https?://'),
    data_types JSONB NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(data_types) = 'array'),
    rate_limit_per_hour INTEGER NOT NULL DEFAULT 1000 CHECK (rate_limit_per_hour > 0),
    enabled BOOLEAN NOT NULL DEFAULT true,
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT api_integrations_once UNIQUE (integration_name)
);
COMMENT ON TABLE observability.api_integrations IS 'Systems that read from here or are told by webhook, with their limits.';
COMMENT ON COLUMN observability.api_integrations.api_key IS
    'Never the key: sha256: and the 64 hex digits of the SHA-256 of a long random key. The check refuses anything else.';
CALL observability.reference_users('api_integrations', 'created_by', 'SET NULL');
CREATE TRIGGER api_integrations_touch BEFORE UPDATE ON observability.api_integrations
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('api_integrations');

CREATE TABLE observability.api_usage_logs (
    id BIGSERIAL NOT NULL,
    integration_id UUID REFERENCES observability.api_integrations (id) ON DELETE SET NULL,
    endpoint VARCHAR(255),
    method VARCHAR(10) CHECK (method IN ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS')),
    response_status INTEGER CHECK (response_status BETWEEN 100 AND 599),
    response_time_ms INTEGER CHECK (response_time_ms >= 0),
    data_size_bytes BIGINT CHECK (data_size_bytes >= 0),
    timestamp TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (id, timestamp)
) PARTITION BY RANGE (timestamp);
COMMENT ON TABLE observability.api_usage_logs IS 'One row an API call of an integration; the basis of quotas. One partition a month.';
CREATE INDEX idx_api_usage_logs_timestamp ON observability.api_usage_logs (timestamp);
CREATE INDEX idx_api_usage_logs_integration ON observability.api_usage_logs (integration_id, timestamp DESC);
CALL observability.split_by_time('api_usage_logs', 'timestamp', 'month', interval '13 months');
