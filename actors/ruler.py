"""The ruler: evaluates Prometheus rule files against the layer's metrics and writes the results back.

Each group runs on its own, its rules one after the other: a rule sees what the one before it wrote. Files are
read again when they change; one that is wrong changes nothing and is told in ``detail`` and the log. By the
wall clock a slot that was missed is skipped, as in Prometheus; by event time each slot that the data has
passed is evaluated, so that a recorded day gets its rules at whatever speed it is replayed.
"""

from __future__ import annotations

import asyncio
import glob
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog

from actors.places import RULER
from actors.placing import actor
from actors.ports import Health
from actors.progress import Progress
from agent.errors import ObservabilityError
from agent.observe import configure
from agent.promql.rule_groups import GroupRun, RuleSample, RuleWrite
from agent.promql.rules import GroupDefaults, RecordingRule, RuleFileError, RuleGroup, parse_rules
from agent.settings import RuleSettings, Settings

log = structlog.get_logger("ruler")

LOOK_S = 1.0  # how often event time is asked for
RELOAD_S = 5.0
MAX_CATCH_UP = 1000  # slots of a group that are evaluated in one go; older ones are skipped and counted


class RulePort(Protocol):
    """What the ruler asks of the layer. Raises ``ObservabilityError`` where it cannot be had."""

    async def now_ms(self, tenant: str) -> int:
        """How far the tenant's event time has come."""
        ...

    async def query(self, tenant: str, expr: str, time_ms: int) -> Sequence[RuleSample]: ...

    async def write(self, tenant: str, write: RuleWrite) -> None:
        """Returns when queries see the samples."""
        ...

    async def close(self) -> None: ...


def read_groups(settings: RuleSettings) -> tuple[RuleGroup, ...]:
    """The groups of all files that the settings name. Raises RuleFileError with all that is wrong."""
    defaults = GroupDefaults(settings.interval_s, settings.query_offset_s)
    groups: list[RuleGroup] = []
    for pattern in (part.strip() for part in settings.files.split(",")):
        files = _matching(pattern)
        if pattern and not files and not glob.has_magic(pattern):
            raise RuleFileError(pattern, ("there is no such file; correct rules.files",))
        for file in files:
            try:
                text = Path(file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise RuleFileError(file, (f"cannot be read: {error}",)) from None
            groups += parse_rules(text, file, defaults)
    return tuple({group.key: group for group in groups}.values())


def _matching(pattern: str) -> list[str]:
    # Path.glob takes no absolute pattern.
    return sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True)) if pattern else []  # noqa: PTH207


class Rules:
    """The groups at work. ``counts``: ``evaluations``, ``failures``, ``samples``, ``missed``."""

    def __init__(
        self, settings: RuleSettings, port: RulePort, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings, self._port, self._clock = settings, port, clock
        self.runs: dict[str, GroupRun] = {}
        self.counts: Counter[str] = Counter()

    def use(self, groups: Sequence[RuleGroup]) -> list[GroupRun]:
        """Take these groups in place of those before; the runs of groups that are gone come back."""
        before = self.runs
        self.runs = {group.key: _continued(group, before.get(group.key)) for group in groups}
        return [run for key, run in before.items() if key not in self.runs]

    async def now_ms(self) -> int:
        if self._settings.clock == "event":
            return await self._port.now_ms(self._settings.tenant)
        return round(self._clock() * 1000)

    async def evaluate_due(self, run: GroupRun) -> None:
        """Evaluate a group at the times that have come since the last call."""
        before, now_ms = run.last_slot_ms, await self.now_ms()
        slots = run.due(now_ms, skip_missed=self._settings.clock == "wall")[-MAX_CATCH_UP:]
        if slots and before:
            self.counts["missed"] += (slots[0] - before) // run.interval_ms - 1
        for slot_ms in slots:
            await self.evaluate(run, slot_ms)

    async def evaluate(self, run: GroupRun, slot_ms: int) -> None:
        began = time.perf_counter()
        for number, state in enumerate(run.rules):
            if isinstance(state.rule, RecordingRule):
                await self._evaluate_rule(run, number, slot_ms)
        await self._write(run.finish(slot_ms, time.perf_counter() - began))

    async def end(self, run: GroupRun) -> None:
        """Write the last words of a group that is gone."""
        await self._write(run.last_words(await self.now_ms()))

    async def _evaluate_rule(self, run: GroupRun, number: int, slot_ms: int) -> None:
        began = time.perf_counter()
        self.counts["evaluations"] += 1
        try:
            vector = await self._port.query(
                self._settings.tenant, run.rules[number].rule.expr, run.sample_time_ms(slot_ms)
            )
        except ObservabilityError as error:
            run.failed(number, slot_ms, str(error), time.perf_counter() - began)
        else:
            write = run.take(number, slot_ms, vector, time.perf_counter() - began)
            try:
                await self._write(write)
            except ObservabilityError as error:
                run.unwritten(number, write, str(error))
        self.counts["failures"] += run.rules[number].health == "err"

    async def _write(self, write: RuleWrite) -> None:
        if write.samples:
            await self._port.write(self._settings.tenant, write)
            self.counts["samples"] += len(write.samples)

    def wait_s(self, run: GroupRun) -> float:
        """How long until the group may be due."""
        if self._settings.clock == "event" or not run.last_slot_ms:
            return LOOK_S
        return max(0.0, (run.last_slot_ms + run.interval_ms) / 1000 - self._clock())


def _continued(group: RuleGroup, before: GroupRun | None) -> GroupRun:
    """A group that did not change keeps its run, which may be at work."""
    return before if before is not None and before.group == group else GroupRun.of(group, before)


class Ruler:
    def __init__(self, settings: Settings, make_port: Callable[[Settings], RulePort] | None = None) -> None:
        self._settings, self._make_port = settings, make_port or _layer_port
        self._progress = Progress(RULER, "ruler")
        configure(settings.general.log_level, settings.general.log_format, RULER)
        self._rules: Rules | None = None
        self._port: RulePort | None = None
        self._following: asyncio.Task[None] | None = None
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def __repr__(self) -> str:
        return f"Ruler({len(self._rules.runs) if self._rules else 0} groups)"

    async def start(self) -> Health:
        async with self._progress.starting() as wanted:
            if wanted:
                groups = await asyncio.to_thread(read_groups, self._settings.rules)
                self._port = self._make_port(self._settings)
                self._rules = Rules(self._settings.rules, self._port)
                self._use(self._rules, groups)
                self._following = asyncio.create_task(self._follow(self._rules, groups))
        return await self.health()

    async def stop(self) -> None:
        tasks = [*self._tasks.values(), *([self._following] if self._following else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        if self._port is not None:
            await self._port.close()

    async def health(self) -> Health:
        rules = self._rules
        figures: dict[str, float] = {}
        if rules is not None:
            figures = {f"rule_{name}_total": float(rules.counts[name]) for name in COUNTS}
            figures["rule_groups"] = float(len(rules.runs))
            figures["rules"] = float(sum(len(run.rules) for run in rules.runs.values()))
        return self._progress.health(figures, {})

    async def rules(self, tenant: str) -> list[dict[str, Any]]:
        """The groups as ``/api/v1/rules`` shows them."""
        if self._rules is None or tenant != self._settings.rules.tenant:
            return []
        return [run.as_json() for run in self._rules.runs.values()]

    def _use(self, rules: Rules, groups: Sequence[RuleGroup]) -> None:
        before = dict(rules.runs)
        gone = rules.use(groups)
        for key in [key for key, run in before.items() if rules.runs.get(key) is not run]:
            self._tasks.pop(key).cancel()
        for key, run in rules.runs.items():
            if key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._run(rules, run))
        for run in gone:
            self._tasks[f"end of {run.group.key}"] = asyncio.create_task(self._end(rules, run))

    async def _run(self, rules: Rules, run: GroupRun) -> None:
        while True:
            try:
                await rules.evaluate_due(run)
                await asyncio.sleep(rules.wait_s(run))
            except ObservabilityError as error:
                log.info("a group waits", group=run.group.key, reason=str(error))
                await asyncio.sleep(LOOK_S)
            except Exception:
                log.exception("a group failed", group=run.group.key)
                await asyncio.sleep(max(LOOK_S, run.group.interval_s))

    async def _end(self, rules: Rules, run: GroupRun) -> None:
        try:
            await rules.end(run)
        except ObservabilityError as error:
            log.warning(
                "the series of a group that is gone got no end", group=run.group.key, reason=str(error)
            )
        finally:
            self._tasks.pop(f"end of {run.group.key}", None)

    async def _follow(self, rules: Rules, groups: Sequence[RuleGroup]) -> None:
        """Look at the files every few seconds."""
        while True:
            await asyncio.sleep(RELOAD_S)
            try:
                fresh = await asyncio.to_thread(read_groups, self._settings.rules)
            except RuleFileError as error:
                if self._progress.detail != str(error):
                    log.error("the rule files are wrong; the rules before stay", reason=str(error))
                self._progress.detail = str(error)
                continue
            self._progress.detail = ""
            if fresh != groups:
                groups = fresh
                self._use(rules, groups)
                log.info("rule files read again", groups=len(groups))


COUNTS = ("evaluations", "failures", "samples", "missed")


def _layer_port(settings: Settings) -> RulePort:
    from actors.handles import connect
    from actors.ruler_port import LayerRulePort

    found = connect(settings)
    return LayerRulePort(found.supervisor, found.aggregator, settings.gateway.auth_token)


RulerActor = actor(Ruler, max_concurrency=100)
