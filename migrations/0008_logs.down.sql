SELECT observability.keep('log_analytics');
DROP TABLE observability.log_analytics;

SELECT observability.keep('log_sources');
DROP TABLE observability.log_sources;
