SELECT observability.keep('dashboard_access');
DROP TABLE observability.dashboard_access;

SELECT observability.keep('dashboard_configs');
DROP TABLE observability.dashboard_configs;
