"""The exporter of the layer's own PostgreSQL: statistics and pool as Prometheus metrics, under the names of
``postgres_exporter`` where it has them, so that dashboards for that one work.

It reads every few seconds beside the requests; who scrapes gets what was read last, and never waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric, UnknownMetricFamily
from prometheus_client.registry import Collector

from agent.errors import ObservabilityError
from agent.store.database import Database, PoolSizes
from agent.store.statistics import Statistics, read_statistics

log = structlog.get_logger("exporter")

READ_S = 10.0

# Of pg_stat_database: running totals, which that exporter writes without ``_total``.
DATABASE_TOTALS: Mapping[str, str] = {
    "xact_commit": "Transactions that were committed.",
    "xact_rollback": "Transactions that were rolled back.",
    "blks_read": "Blocks read from the disk.",
    "blks_hit": "Blocks found in the cache.",
    "tup_returned": "Rows that scans read.",
    "tup_fetched": "Rows that queries fetched by index.",
    "tup_inserted": "Rows inserted.",
    "tup_updated": "Rows updated.",
    "tup_deleted": "Rows deleted.",
    "conflicts": "Queries cancelled because of recovery.",
    "temp_files": "Temporary files that queries made.",
    "temp_bytes": "Bytes written to temporary files.",
    "deadlocks": "Deadlocks.",
    "blk_read_time": "Milliseconds spent reading blocks, where the server measures it.",
    "blk_write_time": "Milliseconds spent writing blocks, where the server measures it.",
}
STATEMENT_TOTALS: Mapping[str, str] = {
    "calls": "How often a statement ran.",
    "rows": "Rows that a statement returned or changed.",
    "seconds": "Time that a statement took.",
    "shared_blks_hit": "Blocks of a statement found in the cache.",
    "shared_blks_read": "Blocks of a statement read from the disk.",
    "temp_blks_written": "Temporary blocks that a statement wrote.",
}
OWN = "kubechat_obs_database_pool_"


class DatabaseExporter(Collector):
    def __init__(self, database: Database) -> None:
        self._database = database
        self._statistics: Statistics | None = None

    async def run(self) -> None:
        """Read for good. While PostgreSQL is away ``pg_up`` is 0 and nothing else is shown."""
        while True:
            await self.read()
            await asyncio.sleep(READ_S)

    async def read(self) -> None:
        try:
            self._statistics = await read_statistics(self._database)
        except ObservabilityError as error:
            self._statistics = None
            log.info("no statistics of PostgreSQL", reason=str(error))

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first reading; the registry must not ask ``collect``."""
        return ()

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("pg_up", "1 where PostgreSQL answers.", float(self._statistics is not None))
        yield from _pool(self._database.pool_sizes)
        if self._statistics is not None:
            yield from families(self._statistics)


def families(statistics: Statistics) -> Iterable[Metric]:
    yield from _database(statistics.database)
    yield from _sessions(statistics.sessions, str(statistics.database.get("datname", "")))
    yield GaugeMetricFamily(
        "pg_settings_max_connections", "Sessions that the server takes.", float(statistics.max_connections)
    )
    if statistics.statements is not None:
        yield from _statements(statistics.statements, str(statistics.database.get("datname", "")))


def _pool(sizes: PoolSizes) -> Iterable[Metric]:
    yield GaugeMetricFamily(OWN + "connections", "Connections that the pool holds.", sizes.open)
    yield GaugeMetricFamily(OWN + "idle_connections", "Of these, those that nobody uses.", sizes.idle)
    yield GaugeMetricFamily(OWN + "max_connections", "Connections that the pool may hold.", sizes.most)


def _database(row: Mapping[str, Any]) -> Iterable[Metric]:
    if not row:
        return
    labels = {"datid": str(row["datid"]), "datname": str(row["datname"])}
    size = GaugeMetricFamily("pg_database_size_bytes", "Bytes on the disk.", labels=["datname"])
    size.add_metric([labels["datname"]], float(row["size_bytes"]))
    yield size
    sessions = GaugeMetricFamily("pg_stat_database_numbackends", "Sessions.", labels=list(labels))
    sessions.add_metric(list(labels.values()), float(row["numbackends"]))
    yield sessions
    for name, doc in DATABASE_TOTALS.items():
        family = UnknownMetricFamily("pg_stat_database_" + name, doc, labels=list(labels))
        family.add_metric(list(labels.values()), float(row[name] or 0))
        yield family


def _sessions(rows: Iterable[Mapping[str, Any]], database: str) -> Iterable[Metric]:
    names = ["datname", "application_name", "state", "wait_event_type"]
    count = GaugeMetricFamily("pg_stat_activity_count", "Sessions by what they do.", labels=names)
    longest = GaugeMetricFamily(
        "pg_stat_activity_max_tx_duration", "Seconds of the longest transaction.", labels=names
    )
    for row in rows:
        values = [database, str(row["application_name"]), str(row["state"]), str(row["wait_event_type"])]
        count.add_metric(values, float(row["sessions"]))
        longest.add_metric(values, float(row["longest_transaction_s"]))
    return count, longest


def _statements(rows: Iterable[Mapping[str, Any]], database: str) -> Iterable[Metric]:
    names = ["user", "datname", "queryid"]
    counters = {
        name: CounterMetricFamily("pg_stat_statements_" + name, doc, labels=names)
        for name, doc in STATEMENT_TOTALS.items()
    }
    texts = GaugeMetricFamily(
        "pg_stat_statements_query_id", "The text of a statement, by its id.", labels=["queryid", "query"]
    )
    for row in rows:
        number = str(row["queryid"])
        for name, family in counters.items():
            family.add_metric([str(row["username"]), database, number], float(row[name]))
        texts.add_metric([number, str(row["query"])], 1.0)
    return (*counters.values(), texts)
