SELECT observability.keep('alert_incidents');
DROP TABLE observability.alert_incidents;

SELECT observability.keep('alert_rules');
DROP TABLE observability.alert_rules;
