DROP PROCEDURE observability.reference_users(text, text, text);
DROP FUNCTION observability.users_table();

DO $$
BEGIN
    IF to_regclass('observability.users') IS NOT NULL THEN
        PERFORM observability.keep('users');
        DROP TABLE observability.users;
    END IF;
END $$;

SELECT observability.keep('schema_choices');
DROP TABLE observability.schema_choices;
