SELECT observability.keep('api_usage_logs');
DROP TABLE observability.api_usage_logs;

SELECT observability.keep('api_integrations');
DROP TABLE observability.api_integrations;
