"""Prometheus' test scripts: the language, a storage in memory, and the runner."""
