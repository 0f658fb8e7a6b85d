"""Prometheus rule files: groups of recording and alerting rules, read and checked as ``promtool check rules`` does.

Every problem of a file is told at once, with its line, group and rule. Templates in the labels and
annotations of alerts are kept as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.errors import ObservabilityError
from agent.promql.errors import ParseError
from agent.promql.parse import parse
from agent.telemetry.labels import METRIC_NAME
from agent.telemetry.scrape_yaml import ConfigError, Value, document

MAX_FILE_BYTES = 16 << 20


class RuleFileError(ObservabilityError):
    """A file holds rules that cannot be taken; none of its groups is. ``problems`` has all of them."""

    def __init__(self, file: str, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))
        self.file, self.problems = file, problems

    def __reduce__(self) -> tuple[type[RuleFileError], tuple[str, tuple[str, ...]]]:
        return type(self), (self.file, self.problems)


@dataclass(frozen=True, slots=True)
class RecordingRule:
    """``labels`` are those of the group and, stronger, those of the rule."""

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertingRule:
    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    for_s: float = 0.0
    keep_firing_for_s: float = 0.0


Rule = RecordingRule | AlertingRule


@dataclass(frozen=True, slots=True)
class RuleGroup:
    """Rules that are evaluated one after the other, every ``interval_s``, on the data of ``query_offset_s``
    before. A rule that gives more series than ``limit`` fails; 0 is no limit."""

    file: str
    name: str
    rules: tuple[Rule, ...]
    interval_s: float
    query_offset_s: float = 0.0
    limit: int = 0

    @property
    def key(self) -> str:
        return f"{self.file};{self.name}"


@dataclass(frozen=True, slots=True)
class GroupDefaults:
    """What holds for groups that do not say it themselves."""

    interval_s: float = 60.0
    query_offset_s: float = 0.0


def parse_rules(text: str, file: str, defaults: GroupDefaults | None = None) -> tuple[RuleGroup, ...]:
    """The groups of a rule file. Raises RuleFileError with everything that is wrong."""
    if len(text) > MAX_FILE_BYTES:
        raise RuleFileError(file, (f"{len(text)} characters, at most {MAX_FILE_BYTES} are read",))
    reader = _Reader(file, defaults or GroupDefaults())
    groups = reader.groups(text)
    if reader.problems:
        raise RuleFileError(file, tuple(reader.problems))
    return groups


class _Reader:
    def __init__(self, file: str, defaults: GroupDefaults) -> None:
        self._file, self._defaults = file, defaults
        self.problems: list[str] = []

    def groups(self, text: str) -> tuple[RuleGroup, ...]:
        try:
            root = document(text)
        except ConfigError as error:
            self._say(error.line, f"not valid YAML: {error.got}")
            return ()
        found = self._fields(root, "the file", {"groups": lambda value: list(value.items())})
        groups: dict[str, RuleGroup] = {}
        for item in found.get("groups", ()):
            group = self._group(item)
            if group.name in groups:
                self._say(item.line, f'groupname: "{group.name}" is repeated in the same file')
            groups[group.name] = group
        return tuple(groups.values())

    def _group(self, item: Value) -> RuleGroup:
        readers: Mapping[str, Callable[[Value], Any]] = {
            "name": Value.text,
            "interval": Value.duration_s,
            "query_offset": Value.duration_s,
            "limit": Value.whole,
            "labels": self._texts,
            "rules": lambda value: list(value.items()),
        }
        found = self._fields(item, "a group", readers)
        name = found.get("name", "")
        if not name:
            self._say(item.line, "Groupname must not be empty")
        labels = found.get("labels", {})
        self._check_labels(item.line, f'group "{name}"', labels)
        rules = (self._rule(rule, name, i, labels) for i, rule in enumerate(found.get("rules", ()), 1))
        return RuleGroup(
            file=self._file,
            name=name,
            rules=tuple(rule for rule in rules if rule is not None),
            interval_s=found.get("interval") or self._defaults.interval_s,
            query_offset_s=found.get("query_offset", self._defaults.query_offset_s),
            limit=found.get("limit", 0),
        )

    def _rule(self, item: Value, group: str, number: int, group_labels: Mapping[str, str]) -> Rule | None:
        readers: Mapping[str, Callable[[Value], Any]] = {
            "record": Value.text,
            "alert": Value.text,
            "expr": Value.text,
            "for": Value.duration_s,
            "keep_firing_for": Value.duration_s,
            "labels": self._texts,
            "annotations": self._texts,
        }
        before = len(self.problems)
        found = self._fields(item, f'group "{group}", rule {number}', readers)
        if len(self.problems) > before:
            return None
        where = f'group "{group}", rule {number}, "{found.get("alert") or found.get("record") or ""}"'
        for problem in _problems_of(found):
            self._say(item.line, f"{where}: {problem}")
        labels = found.get("labels", {})
        self._check_labels(item.line, where, labels)
        if found.get("record"):
            return RecordingRule(found["record"], found.get("expr", ""), {**group_labels, **labels})
        return AlertingRule(
            name=found.get("alert", ""),
            expr=found.get("expr", ""),
            labels={**group_labels, **labels},
            annotations=found.get("annotations", {}),
            for_s=found.get("for", 0.0),
            keep_firing_for_s=found.get("keep_firing_for", 0.0),
        )

    def _fields(
        self, value: Value, what: str, readers: Mapping[str, Callable[[Value], Any]]
    ) -> dict[str, Any]:
        """The fields of a mapping; those that are wrong are told and left out."""
        found: dict[str, Any] = {}
        try:
            for key, one in value.pairs():
                if key not in readers:
                    self._say(one.line, f"{what} has no field {key!r}; known are {', '.join(readers)}")
                    continue
                try:
                    found[key] = readers[key](one)
                except ConfigError as error:
                    self._say(
                        error.line, f"{what}: field {key!r}: got {error.got!r}, expected {error.expected}"
                    )
        except ConfigError as error:
            self._say(error.line, f"{what}: got {error.got}, expected {error.expected}")
        return found

    def _texts(self, value: Value) -> dict[str, str]:
        return {key: one.text() for key, one in value.pairs()}

    def _check_labels(self, line: int, where: str, labels: Mapping[str, str]) -> None:
        for name in labels:
            if not name or name == METRIC_NAME:
                self._say(line, f"{where}: invalid label name: {name!r}")

    def _say(self, line: int, problem: str) -> None:
        self.problems.append(f"{line}: {problem}" if line else problem)


def _problems_of(found: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with one rule, in the words of Prometheus."""
    record, alert, expr = found.get("record", ""), found.get("alert", ""), found.get("expr", "")
    if record and alert:
        yield "only one of 'record' and 'alert' must be set"
    if not record and not alert:
        yield "one of 'record' or 'alert' must be set"
    if not expr:
        yield "field 'expr' must be set in rule"
    else:
        try:
            parse(expr)
        except ParseError as error:
            yield f"could not parse expression: {error}"
    if record:
        for name in ("annotations", "for", "keep_firing_for"):
            if found.get(name):
                yield f"invalid field '{name}' in recording rule"
        if "{" in record or "}" in record:
            yield f"braces present in the recording rule name; should it be in expr?: {record}"
