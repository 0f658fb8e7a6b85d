-- Story 4.4: alert rules and the incidents that came of rules or of the correlator.

CREATE TABLE observability.alert_rules (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    rule_name VARCHAR(255) NOT NULL CHECK (rule_name <> ''),
    metric_query TEXT NOT NULL CHECK (metric_query <> ''),
    condition_expression TEXT NOT NULL CHECK (condition_expression <> ''),
    severity VARCHAR(20) NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    notification_channels JSONB NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(notification_channels) IN ('array', 'object')),
    enabled BOOLEAN NOT NULL DEFAULT true,
    created_by UUID,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT alert_rules_once UNIQUE (rule_name)
);
COMMENT ON TABLE observability.alert_rules IS 'What to watch, when it is wrong, how bad that is and whom to tell.';
CALL observability.reference_users('alert_rules', 'created_by', 'SET NULL');
CREATE TRIGGER alert_rules_touch BEFORE UPDATE ON observability.alert_rules
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('alert_rules');

CREATE TABLE observability.alert_incidents (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    alert_rule_id UUID REFERENCES observability.alert_rules (id) ON DELETE SET NULL,
    title VARCHAR(500) NOT NULL CHECK (title <> ''),
    description TEXT,
    severity VARCHAR(20) NOT NULL DEFAULT 'warning' CHECK (severity IN ('critical', 'warning', 'info')),
    status VARCHAR(20) NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'acknowledged', 'resolved')),
    triggered_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    acknowledged_at TIMESTAMPTZ,
    resolved_at TIMESTAMPTZ,
    acknowledged_by UUID,
    resolved_by UUID,
    metadata JSONB NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(metadata) = 'object'),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT alert_incidents_acknowledged CHECK (status <> 'acknowledged' OR acknowledged_at IS NOT NULL),
    CONSTRAINT alert_incidents_resolved CHECK ((status = 'resolved') = (resolved_at IS NOT NULL)),
    CONSTRAINT alert_incidents_in_order CHECK (resolved_at >= triggered_at)
);
COMMENT ON TABLE observability.alert_incidents IS 'What went wrong, from raised to resolved. The id is the writer''s: writing an incident twice is one row.';
COMMENT ON COLUMN observability.alert_incidents.metadata IS 'services, onset, anomalies, causes, as the correlator found them.';
CREATE INDEX idx_alert_incidents_triggered_at ON observability.alert_incidents (triggered_at DESC);
CREATE INDEX idx_alert_incidents_unresolved ON observability.alert_incidents (severity, triggered_at DESC) WHERE status <> 'resolved';
CREATE INDEX idx_alert_incidents_alert_rule_id ON observability.alert_incidents (alert_rule_id) WHERE alert_rule_id IS NOT NULL;
CREATE INDEX idx_alert_incidents_metadata ON observability.alert_incidents USING gin (metadata jsonb_path_ops);
CALL observability.reference_users('alert_incidents', 'acknowledged_by', 'SET NULL');
CALL observability.reference_users('alert_incidents', 'resolved_by', 'SET NULL');
CREATE TRIGGER alert_incidents_touch BEFORE UPDATE ON observability.alert_incidents
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('alert_incidents');
