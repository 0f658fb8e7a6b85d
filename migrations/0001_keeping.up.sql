-- The way back loses no row: before a table is dropped its rows are moved to the schema
-- observability_kept, and the migration that makes the table again brings them home.

CREATE FUNCTION observability.keep(table_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    CREATE SCHEMA IF NOT EXISTS observability_kept;
    IF to_regclass(format('observability_kept.%I', table_name)) IS NOT NULL THEN
        RAISE EXCEPTION 'observability_kept.% already exists', table_name
            USING HINT = 'It holds rows of an earlier way back. Look at them, then drop or rename the table.';
    END IF;
    EXECUTE format('CREATE TABLE observability_kept.%1$I AS TABLE observability.%1$I', table_name);
END $$;

COMMENT ON FUNCTION observability.keep(text) IS
    'Copies the rows of observability.<table> to observability_kept.<table>; the down migrations call it before a drop.';

-- What a kept row refers to may have gone meanwhile (KubeChat may delete a user of its own). The row is
-- then treated as the foreign key would have treated it: ON DELETE SET NULL empties the column, anything
-- else leaves the row out.
CREATE FUNCTION observability.bring_back(table_name text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    home regclass := format('observability.%I', table_name)::regclass;
    kept regclass := to_regclass(format('observability_kept.%I', table_name));
    reference record;
    columns text;
    serial record;
    brought bigint;
BEGIN
    IF kept IS NULL THEN
        RETURN 0;
    END IF;
    FOR reference IN
        SELECT c.confdeltype, c.confrelid::regclass AS target, here.attname AS here, there.attname AS there
        FROM pg_constraint c
        JOIN pg_attribute here ON here.attrelid = c.conrelid AND here.attnum = c.conkey[1]
        JOIN pg_attribute there ON there.attrelid = c.confrelid AND there.attnum = c.confkey[1]
        WHERE c.conrelid = home AND c.contype = 'f' AND c.confrelid <> home AND cardinality(c.conkey) = 1
    LOOP
        EXECUTE format(
            CASE reference.confdeltype
                WHEN 'n' THEN 'UPDATE %1$s AS k SET %2$I = NULL WHERE k.%2$I IS NOT NULL AND NOT EXISTS (SELECT FROM %3$s t WHERE t.%4$I = k.%2$I)'
                ELSE 'DELETE FROM %1$s AS k WHERE k.%2$I IS NOT NULL AND NOT EXISTS (SELECT FROM %3$s t WHERE t.%4$I = k.%2$I)'
            END, kept, reference.here, reference.target, reference.there);
    END LOOP;

    SELECT string_agg(quote_ident(h.attname), ', ') INTO columns
    FROM pg_attribute h
    JOIN pg_attribute k ON k.attrelid = kept AND k.attname = h.attname AND NOT k.attisdropped
    WHERE h.attrelid = home AND h.attnum > 0 AND NOT h.attisdropped;
    EXECUTE format('INSERT INTO %1$s (%2$s) SELECT %2$s FROM %3$s', home, columns, kept);
    GET DIAGNOSTICS brought = ROW_COUNT;

    FOR serial IN
        SELECT a.attname, pg_get_serial_sequence(home::text, a.attname) AS sequence
        FROM pg_attribute a
        WHERE a.attrelid = home AND a.attnum > 0 AND NOT a.attisdropped
          AND pg_get_serial_sequence(home::text, a.attname) IS NOT NULL
    LOOP
        EXECUTE format('SELECT setval(%L, coalesce(max(%I), 0) + 1, false) FROM %s', serial.sequence, serial.attname, home);
    END LOOP;

    EXECUTE format('DROP TABLE %s', kept);
    IF NOT EXISTS (SELECT FROM pg_class WHERE relnamespace = 'observability_kept'::regnamespace AND relkind IN ('r', 'p')) THEN
        DROP SCHEMA observability_kept;
    END IF;
    RETURN brought;
END $$;

COMMENT ON FUNCTION observability.bring_back(text) IS
    'Moves the rows of observability_kept.<table> home and returns how many; 0 where none were kept.';

CREATE FUNCTION observability.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

COMMENT ON FUNCTION observability.touch_updated_at() IS 'Trigger: sets updated_at on every update.';
