SELECT observability.keep('model_performance_baselines');
DROP TABLE observability.model_performance_baselines;

SELECT observability.keep('ai_operation_metrics');
DROP TABLE observability.ai_operation_metrics;
