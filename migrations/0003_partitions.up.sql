-- Tables that grow with time are split by it, so that old rows leave by dropping a table. A row whose
-- time has no partition yet lies in the default partition; nothing is refused for its time.

CREATE TABLE observability.partition_policies (
    table_name TEXT PRIMARY KEY,
    time_column TEXT NOT NULL,
    step TEXT NOT NULL CHECK (step IN ('day', 'month')),
    steps_ahead INTEGER NOT NULL DEFAULT 3 CHECK (steps_ahead BETWEEN 1 AND 60),
    keep_for INTERVAL CHECK (keep_for > interval '0'),
    updated_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
COMMENT ON TABLE observability.partition_policies IS 'How each table is split by time, and how long its rows stay.';
COMMENT ON COLUMN observability.partition_policies.keep_for IS 'A partition is dropped when all of it is older. Null keeps for ever.';
CREATE TRIGGER partition_policies_touch BEFORE UPDATE ON observability.partition_policies
    FOR EACH ROW EXECUTE FUNCTION observability.touch_updated_at();
SELECT observability.bring_back('partition_policies');

-- Partitions begin at midnight UTC, whatever the session's time zone.
CREATE FUNCTION observability.partition_start(step text, at timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT date_trunc(step, at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
$$;

CREATE FUNCTION observability.partition_after(step text, start timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT ((start AT TIME ZONE 'UTC') + ('1 ' || step)::interval) AT TIME ZONE 'UTC'
$$;

-- Makes the partition that begins at start; rows of its time that lie in the default partition move in.
CREATE FUNCTION observability.make_partition(policy observability.partition_policies, start timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    ending timestamptz := observability.partition_after(policy.step, start);
    name text := policy.table_name || '_p' || to_char(start AT TIME ZONE 'UTC', CASE policy.step WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMM' END);
BEGIN
    IF to_regclass(format('observability.%I', name)) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    EXECUTE format('LOCK TABLE observability.%I IN SHARE ROW EXCLUSIVE MODE', policy.table_name);
    EXECUTE format('CREATE TABLE observability.%I (LIKE observability.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, policy.table_name);
    EXECUTE format(
        'WITH moved AS (DELETE FROM observability.%2$I WHERE %3$I >= %4$L AND %3$I < %5$L RETURNING *) INSERT INTO observability.%1$I SELECT * FROM moved',
        name, policy.table_name || '_default', policy.time_column, start, ending);
    EXECUTE format('ALTER TABLE observability.%I ATTACH PARTITION observability.%I FOR VALUES FROM (%L) TO (%L)',
        policy.table_name, name, start, ending);
    RETURN name;
END $$;

-- The time at which a partition ends, from its name: the day or month after the one it is named after.
CREATE FUNCTION observability.partition_end(policy observability.partition_policies, partition text) RETURNS timestamptz
LANGUAGE sql STABLE AS $$
    SELECT observability.partition_after(policy.step,
        to_date(substring(partition FROM '_p(\d+)$'), CASE policy.step WHEN 'day' THEN 'YYYYMMDD' ELSE 'YYYYMM' END)::timestamp AT TIME ZONE 'UTC')
$$;

-- The policies of the tables that are there: after a partial way back some are not.
CREATE VIEW observability.partitioned AS
    SELECT * FROM observability.partition_policies p
    WHERE to_regclass(format('observability.%I', p.table_name)) IS NOT NULL;
COMMENT ON VIEW observability.partitioned IS 'The policies whose tables exist.';

CREATE FUNCTION observability.make_partitions(at timestamptz)
RETURNS TABLE (table_name text, partition_name text, action text)
LANGUAGE plpgsql AS $$
DECLARE
    policy observability.partition_policies;
    start timestamptz;
BEGIN
    action := 'made';
    FOR policy IN SELECT * FROM observability.partitioned LOOP
        table_name := policy.table_name;
        start := observability.partition_start(policy.step, at);
        FOR ahead IN 0..policy.steps_ahead LOOP
            partition_name := observability.make_partition(policy, start);
            IF partition_name IS NOT NULL THEN
                RETURN NEXT;
            END IF;
            start := observability.partition_after(policy.step, start);
        END LOOP;
        -- Rows that came late, or were brought back, lie in the default partition: give them their own.
        FOR start IN EXECUTE format(
            'SELECT DISTINCT observability.partition_start(%1$L, %2$I) FROM observability.%3$I WHERE %2$I < %4$L AND %2$I >= %5$L',
            policy.step, policy.time_column, policy.table_name || '_default', at, coalesce(at - policy.keep_for, '-infinity'))
        LOOP
            partition_name := observability.make_partition(policy, start);
            IF partition_name IS NOT NULL THEN
                RETURN NEXT;
            END IF;
        END LOOP;
    END LOOP;
END $$;
COMMENT ON FUNCTION observability.make_partitions(timestamptz) IS
    'Makes the partitions that are coming, and those for rows that wait in a default partition. Drops nothing.';

CREATE FUNCTION observability.drop_old_partitions(at timestamptz)
RETURNS TABLE (table_name text, partition_name text, action text)
LANGUAGE plpgsql AS $$
DECLARE
    policy observability.partition_policies;
BEGIN
    action := 'dropped';
    FOR policy IN SELECT * FROM observability.partitioned p WHERE p.keep_for IS NOT NULL LOOP
        table_name := policy.table_name;
        FOR partition_name IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = format('observability.%I', policy.table_name)::regclass
              AND c.relname ~ '_p\d+$' AND observability.partition_end(policy, c.relname) <= at - policy.keep_for
            ORDER BY c.relname
        LOOP
            EXECUTE format('DROP TABLE observability.%I', partition_name);
            RETURN NEXT;
        END LOOP;
        EXECUTE format('DELETE FROM observability.%I WHERE %I < %L', policy.table_name || '_default', policy.time_column, at - policy.keep_for);
    END LOOP;
END $$;
COMMENT ON FUNCTION observability.drop_old_partitions(timestamptz) IS 'Drops the partitions, and the late rows, that are older than their policy allows.';

CREATE FUNCTION observability.maintain_partitions(at timestamptz)
RETURNS TABLE (table_name text, partition_name text, action text)
LANGUAGE sql AS $$
    SELECT * FROM observability.make_partitions(at)
    UNION ALL
    SELECT * FROM observability.drop_old_partitions(at)
$$;
COMMENT ON FUNCTION observability.maintain_partitions(timestamptz) IS 'What has to happen to the partitions, all of it. Run it a few times a day.';

-- Called by the migrations that make a partitioned table: its default partition, its policy, its rows of old.
CREATE PROCEDURE observability.split_by_time(of_table text, by_column text, of_step text, keep interval)
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE observability.%I PARTITION OF observability.%I DEFAULT', of_table || '_default', of_table);
    INSERT INTO observability.partition_policies (table_name, time_column, step, keep_for)
    VALUES (of_table, by_column, of_step, keep) ON CONFLICT ON CONSTRAINT partition_policies_pkey DO NOTHING;
    PERFORM observability.bring_back(of_table);
END $$;
