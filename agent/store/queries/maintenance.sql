-- name: maintain_partitions
SELECT table_name, partition_name, action FROM maintain_partitions($1);

-- name: users_table
SELECT users_table()::text;
