-- Who the other tables mean by a user. In KubeChat's own database that is its public.users, which is
-- referenced and never altered; elsewhere a table of the same shape is made here. The choice is made
-- once, written down, and outlives the way back and forth.

CREATE TABLE observability.schema_choices (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    decided_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE observability.schema_choices IS 'What a migration decided by looking at the database.';
SELECT observability.bring_back('schema_choices');

DO $$
DECLARE
    kubechat_columns CONSTANT text[] := ARRAY['username', 'email', 'password_hash', 'role', 'created_at', 'updated_at', 'last_login', 'is_active'];
    theirs regclass := to_regclass('public.users');
    is_kubechats boolean;
BEGIN
    is_kubechats := theirs IS NOT NULL
        AND EXISTS (
            SELECT FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = theirs AND i.indisprimary AND i.indnkeyatts = 1
              AND a.attname = 'id' AND a.atttypid = 'uuid'::regtype)
        AND (SELECT count(*) FROM pg_attribute a
             WHERE a.attrelid = theirs AND NOT a.attisdropped AND a.attname = ANY (kubechat_columns))
            = cardinality(kubechat_columns);

    -- A choice that was brought back stands, unless the table it names is gone.
    DELETE FROM observability.schema_choices WHERE name = 'users' AND value = 'public.users' AND NOT is_kubechats;
    INSERT INTO observability.schema_choices (name, value)
    VALUES ('users', CASE WHEN is_kubechats THEN 'public.users' ELSE 'observability.users' END)
    ON CONFLICT (name) DO NOTHING;
    IF (SELECT value FROM observability.schema_choices WHERE name = 'users') = 'public.users' THEN
        RETURN;
    END IF;

    CREATE TABLE observability.users (
        id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        username VARCHAR(255) NOT NULL UNIQUE,
        email VARCHAR(255) NOT NULL UNIQUE,
        password_hash VARCHAR(255),
        role VARCHAR(50) NOT NULL DEFAULT 'user'
            CHECK (role IN ('admin', 'user', 'viewer', 'auditor', 'compliance_officer')),
        created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        updated_at TIMESTAMPTZ NOT NULL DEFAULT now(),
        last_login TIMESTAMPTZ,
        is_active BOOLEAN NOT NULL DEFAULT true,
        failed_login_attempts INTEGER NOT NULL DEFAULT 0 CHECK (failed_login_attempts >= 0),
        account_locked_until TIMESTAMPTZ,
        password_changed_at TIMESTAMPTZ,
        must_change_password BOOLEAN NOT NULL DEFAULT false,
        created_by UUID,
        updated_by UUID
    );
    COMMENT ON TABLE observability.users IS 'People, in the shape of KubeChat''s own table; made only where the database is not KubeChat''s.';
    CREATE TRIGGER users_touch BEFORE UPDATE ON observability.users
        FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
    PERFORM observability.bring_back('users');
END $$;

CREATE FUNCTION observability.users_table() RETURNS regclass
LANGUAGE sql STABLE AS $$
    SELECT value::regclass FROM observability.schema_choices WHERE name = 'users'
$$;
COMMENT ON FUNCTION observability.users_table() IS 'The table that foreign keys to a user point at.';

CREATE PROCEDURE observability.reference_users(table_name text, column_name text, on_delete text)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format(
        'ALTER TABLE observability.%1$I ADD CONSTRAINT %3$I FOREIGN KEY (%2$I) REFERENCES %4$s (id) ON DELETE %5$s',
        table_name, column_name, table_name || '_' || column_name || '_fkey', observability.users_table(), on_delete);
    EXECUTE format('CREATE INDEX %3$I ON observability.%1$I (%2$I) WHERE %2$I IS NOT NULL',
        table_name, column_name, 'idx_' || table_name || '_' || column_name);
END $$;
COMMENT ON PROCEDURE observability.reference_users(text, text, text) IS
    'Adds a foreign key to the table of users that was chosen, and its index.';
