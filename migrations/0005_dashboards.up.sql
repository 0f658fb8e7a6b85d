-- Story 4.2: dashboards as data, and who may see them.

CREATE TABLE observability.dashboard_configs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    dashboard_name VARCHAR(255) NOT NULL CHECK (dashboard_name <> ''),
    dashboard_json JSONB NOT NULL CHECK (jsonb_typeof(dashboard_json) = 'object'),
    category VARCHAR(100),
    access_level VARCHAR(50) NOT NULL DEFAULT 'private' CHECK (access_level IN ('private', 'shared', 'public')),
    created_by UUID,
    version INTEGER NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    CONSTRAINT dashboard_configs_once UNIQUE (dashboard_name, version)
);
COMMENT ON TABLE observability.dashboard_configs IS 'Dashboards as JSON, one row a version.';
CREATE INDEX idx_dashboard_configs_category ON observability.dashboard_configs (category);
CALL observability.reference_users('dashboard_configs', 'created_by', 'SET NULL');
CREATE TRIGGER dashboard_configs_touch BEFORE UPDATE ON observability.dashboard_configs
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('dashboard_configs');

CREATE TABLE observability.dashboard_access (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    dashboard_id UUID NOT NULL REFERENCES observability.dashboard_configs (id) ON DELETE CASCADE,
    user_id UUID NOT NULL,
    access_type VARCHAR(20) NOT NULL DEFAULT 'view' CHECK (access_type IN ('view', 'edit', 'admin')),
    granted_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    granted_by UUID,
    -- Its index also serves the foreign key to the dashboard.
    CONSTRAINT dashboard_access_once UNIQUE (dashboard_id, user_id, access_type)
);
COMMENT ON TABLE observability.dashboard_access IS 'Who may view, edit or administer a dashboard, and who granted it.';
CALL observability.reference_users('dashboard_access', 'user_id', 'CASCADE');
CALL observability.reference_users('dashboard_access', 'granted_by', 'SET NULL');
SELECT observability.bring_back('dashboard_access');
