DROP PROCEDURE observability.split_by_time(text, text, text, interval);
DROP FUNCTION observability.maintain_partitions(timestamptz);
DROP FUNCTION observability.drop_old_partitions(timestamptz);
DROP FUNCTION observability.make_partitions(timestamptz);
DROP VIEW observability.partitioned;
DROP FUNCTION observability.partition_end(observability.partition_policies, text);
DROP FUNCTION observability.make_partition(observability.partition_policies, timestamptz);
DROP FUNCTION observability.partition_after(text, timestamptz);
DROP FUNCTION observability.partition_start(text, timestamptz);

SELECT observability.keep('partition_policies');
DROP TABLE observability.partition_policies;
