SELECT observability.keep('trace_operations');
DROP TABLE observability.trace_operations;
