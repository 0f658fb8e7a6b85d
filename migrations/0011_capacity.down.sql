SELECT observability.keep('performance_baselines');
DROP TABLE observability.performance_baselines;

SELECT observability.keep('capacity_forecasts');
DROP TABLE observability.capacity_forecasts;
