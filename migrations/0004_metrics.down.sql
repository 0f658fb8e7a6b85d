SELECT observability.keep('metric_thresholds');
DROP TABLE observability.metric_thresholds;

SELECT observability.keep('metrics_config');
DROP TABLE observability.metrics_config;
