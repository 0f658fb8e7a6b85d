"""Prometheus' test language for PromQL: text to commands. The language is told in Prometheus'
promql/promqltest/README.md; the deprecated ``eval_fail``, ``eval_warn``, ``eval_info`` and ``eval_ordered`` are
read, too."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agent.errors import ObservabilityError
from agent.promql.lex import duration_ms, unquote
from agent.telemetry.labels import Labels
from tests.promql.series import Point, Points, series_of

_LOAD = re.compile(r"load(?:_(with_nhcb))?\s+(.+?)")
_INSTANT = re.compile(r"eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)")
_RANGE = re.compile(r"eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)")
_EXPECT = re.compile(r"expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?")
_RANGE_VECTOR = re.compile(r"expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)")


class ScriptError(ValueError):
    """A line that is not of the language."""


@dataclass
class Clear:
    pass


@dataclass
class Load:
    gap_ms: int
    with_nhcb: bool
    series: list[tuple[Labels, Points]] = field(default_factory=list)


@dataclass(frozen=True)
class Expectation:
    """A text that must be equal, a pattern that must be found, or (neither) anything."""

    message: str | None = None
    pattern: str | None = None

    def fits(self, text: str) -> bool:
        if self.message is not None:
            return text == self.message
        return self.pattern is None or re.search(self.pattern, text) is not None

    def __str__(self) -> str:
        return self.message or self.pattern or "anything"


@dataclass
class Eval:
    """``step_ms`` 0 is an instant query at ``start_ms``. ``window`` are the times of an expected range vector."""

    line: int
    query: str
    start_ms: int
    end_ms: int
    step_ms: int
    fail: bool = False
    warn: bool = False
    info: bool = False
    ordered: bool = False
    no_warn: bool = False
    no_info: bool = False
    failures: list[Expectation] = field(default_factory=list)
    warnings: list[Expectation] = field(default_factory=list)
    infos: list[Expectation] = field(default_factory=list)
    text: str | None = None
    scalar: float | None = None
    window: tuple[int, int, int] | None = None
    series: dict[Labels, Points] = field(default_factory=dict)
    order: list[Labels] = field(default_factory=list)

    @property
    def instant(self) -> bool:
        return self.step_ms == 0


@dataclass
class Broken:
    """A command that cannot be read; the others of the script stand."""

    line: int
    text: str
    reason: str


Command = Clear | Load | Eval | Broken


def read(text: str) -> list[Command]:
    """What cannot be read is ``Broken``."""
    lines = ["" if line.strip().startswith("#") else line.strip() for line in text.split("\n")]
    out: list[Command] = []
    at = 0
    while at < len(lines):
        line, first = lines[at], at
        at += 1
        if not line:
            continue
        body = []
        word = re.split(r"[\t ]+", line, maxsplit=1)[0].lower()
        if word != "clear":
            while at < len(lines) and lines[at]:
                body.append(lines[at])
                at += 1
        try:
            out.append(_command(word, line, body, first + 1))
        except (ValueError, IndexError, ObservabilityError) as error:
            out.append(Broken(first + 1, line, f"unreadable: {error}"))
    return out


def _command(word: str, line: str, body: list[str], number: int) -> Command:
    if word == "clear":
        return Clear()
    if word.startswith("load"):
        found = _LOAD.fullmatch(line)
        if found is None:
            raise ScriptError("load[_with_nhcb] <step>")
        return Load(time_ms(found.group(2)), found.group(1) is not None, [series_of(one) for one in body])
    if word.startswith("eval"):
        command = _eval(line, number)
        for one in body:
            if not _expectation(command, one):
                break
        return command
    raise ScriptError("an unknown command")


def time_ms(text: str) -> int:
    """A duration, or a bare 0."""
    return 0 if text.strip() in ("0", "+0") else duration_ms(text.strip())


def _eval(line: str, number: int) -> Eval:
    if found := _INSTANT.fullmatch(line):
        at = time_ms(found.group(2) or "0")
        command = Eval(number, found.group(3), at, at, 0)
    elif found := _RANGE.fullmatch(line):
        start, end, step = (time_ms(found.group(k)) for k in (2, 3, 4))
        command = Eval(number, found.group(5), start, end, step)
    else:
        raise ScriptError("eval instant [at <time>] <query>, or eval range from .. to .. step .. <query>")
    if found.group(1):
        setattr(command, found.group(1), True)
    return command


def _expectation(command: Eval, line: str) -> bool:
    """Take one line below ``eval``; whether more may follow."""
    if command.fail and line.startswith("expected_fail_message"):
        command.failures.append(Expectation(line.removeprefix("expected_fail_message").strip()))
        return False
    if command.fail and line.startswith("expected_fail_regexp"):
        command.failures.append(Expectation(pattern=line.removeprefix("expected_fail_regexp").strip()))
        return False
    if found := _RANGE_VECTOR.fullmatch(line):
        start, end, step = (time_ms(found.group(k)) for k in (1, 2, 3))
        command.window = (start, end, step)
        return True
    if line.startswith("expect string"):
        command.text = unquote(line.removeprefix("expect string").strip())
        return True
    if line.split(" ")[0] == "expect":
        _annotation(command, line)
        return True
    number = _number(line)
    if number is not None:
        command.scalar = number
        return False
    labels, points = series_of(line)
    if len(points) > 1 and command.instant and command.window is None:
        raise ScriptError("more than one value of an instant query")
    command.series[labels] = points
    command.order.append(labels)
    return True


def _annotation(command: Eval, line: str) -> None:
    found = _EXPECT.fullmatch(line)
    if found is None:
        raise ScriptError(f"expect <type> <match_type>: <string>, got {line!r}")
    kind, how, text = found.groups()
    expectation = Expectation()
    if how == "msg":
        expectation = Expectation(text.strip())
    elif how == "regex":
        expectation = Expectation(pattern=text.strip())
    if kind in ("ordered", "no_warn", "no_info"):
        setattr(command, kind, True)
    else:
        if kind == "fail":
            command.fail = True
        {"fail": command.failures, "warn": command.warnings, "info": command.infos}[kind].append(expectation)


def _number(text: str) -> float | None:
    try:
        return float(int(text, 0))
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return None


__all__ = ["Broken", "Clear", "Command", "Eval", "Expectation", "Load", "Point", "ScriptError", "read"]
