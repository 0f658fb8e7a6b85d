"""The correlator: learns what is normal, groups anomalies into incidents, answers why."""
