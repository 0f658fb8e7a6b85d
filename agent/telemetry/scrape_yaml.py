"""Reading YAML with the line of every key at hand, so that an error can say where it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import yaml

from agent.errors import SettingsError

T = TypeVar("T")
_DURATION = re.compile(
    r"(?:([0-9]+)y)?(?:([0-9]+)w)?(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9]+)s)?(?:([0-9]+)ms)?"
)
_SECONDS = (365 * 86400.0, 7 * 86400.0, 86400.0, 3600.0, 60.0, 1.0, 0.001)
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGTPE]?i?B?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50, "E": 1 << 60}
MAX_DEPTH = 50


class ConfigError(SettingsError):
    """A key of the scrape configuration is unknown or has a wrong value; ``line`` is counted from 1."""

    def __init__(self, key: str, got: object, expected: str, line: int = 0) -> None:
        super().__init__(f"{key} (line {line})" if line else key, got, expected)
        self.where, self.line = key, line

    def __reduce__(self) -> tuple[type[ConfigError], tuple[Any, ...]]:
        return type(self), (self.where, self.got, self.expected, self.line)


class Value:
    """A node of the document with its path, such as ``scrape_configs[0].job_name``."""

    def __init__(self, node: yaml.Node, path: str) -> None:
        self._node, self.path = node, path

    @property
    def line(self) -> int:
        return int(self._node.start_mark.line) + 1

    def wrong(self, expected: str, got: object = None) -> ConfigError:
        """``got`` where the value itself must not be shown, or is derived."""
        if got is None:
            got = getattr(self._node, "value", None)
            got = (
                got
                if isinstance(got, str)
                else "a list"
                if isinstance(self._node, yaml.SequenceNode)
                else "a mapping"
            )
        return ConfigError(self.path, got, expected, self.line)

    def text(self) -> str:
        if not isinstance(self._node, yaml.ScalarNode):
            raise self.wrong("a text")
        is_null = self._node.tag == "tag:yaml.org,2002:null" and self._node.style is None
        return "" if is_null else str(self._node.value)

    def flag(self) -> bool:
        if self.text().lower() not in ("true", "false", "yes", "no", "on", "off"):
            raise self.wrong("true or false")
        return self.text().lower() in ("true", "yes", "on")

    def whole(self) -> int:
        text = self.text().replace("_", "")
        if not re.fullmatch("[0-9]{1,18}", text):
            raise self.wrong("a whole number, not negative")
        return int(text)

    def duration_s(self) -> float:
        """A duration as Prometheus writes it: ``15s``, ``1m30s``, ``500ms``."""
        seconds = parse_duration(self.text())
        if seconds is None:
            raise self.wrong("a duration such as 15s, 1m30s or 500ms")
        return seconds

    def size_bytes(self) -> int:
        found = _SIZE.fullmatch(self.text().strip())
        if found is None:
            raise self.wrong("a size such as 10MB; 0 is no limit")
        return int(float(found[1]) * _UNITS[found[2].rstrip("B").rstrip("i")])

    def choice(self, kind: Callable[[str], T], names: list[str]) -> T:
        try:
            return kind(self.text().lower())
        except ValueError:
            raise self.wrong("one of " + ", ".join(names)) from None

    def texts(self) -> tuple[str, ...]:
        return tuple(item.text() for item in self.items())

    def items(self) -> list[Value]:
        if isinstance(self._node, yaml.ScalarNode) and not self.text():
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.wrong("a list")
        return [Value(node, f"{self.path}[{i}]") for i, node in enumerate(self._node.value)]

    def pairs(self) -> Iterator[tuple[str, Value]]:
        """The entries of a mapping. Raises ``ConfigError`` where it is none, or a key is there twice."""
        if isinstance(self._node, yaml.ScalarNode) and not self.text():
            return
        if not isinstance(self._node, yaml.MappingNode):
            raise self.wrong("a mapping of keys and values")
        seen: set[str] = set()
        for key_node, node in self._node.value:
            key = str(key_node.value)
            path = f"{self.path}.{key}" if self.path else key
            if key in seen:
                raise ConfigError(path, "the key twice", "once", int(key_node.start_mark.line) + 1)
            seen.add(key)
            found = Value(node, path)
            found._node.start_mark = key_node.start_mark
            yield key, found


def mapping(value: Value, known: dict[str, Callable[[Value], Any]]) -> dict[str, Any]:
    """What the readers make of the keys that are there. Raises ``ConfigError`` naming an unknown key."""
    result = {}
    for key, found in value.pairs():
        if key not in known:
            raise ConfigError(
                found.path, "a key that is not known here", f"one of {', '.join(known)}", found.line
            )
        result[key] = known[key](found)
    return result


def document(text: str) -> Value:
    """The root of a YAML document. Raises ``ConfigError`` where the text is not YAML."""
    try:
        found = yaml.compose(text, Loader=yaml.SafeLoader)
        node: yaml.Node = yaml.ScalarNode("tag:yaml.org,2002:null", "") if found is None else found
        _check_depth(node, 0)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = str(getattr(error, "problem", None) or "nested too deep")
        raise ConfigError(
            "scrape configuration", problem, "valid YAML", mark.line + 1 if mark else 0
        ) from None
    return Value(node, "")


def _check_depth(node: yaml.Node, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise RecursionError
    if isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            _check_depth(value, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_depth(value, depth + 1)


def parse_duration(text: str) -> float | None:
    """Seconds, or None where the text is no duration of Prometheus."""
    if text == "0":
        return 0.0
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        return None
    return sum(int(count) * unit for count, unit in zip(found.groups(), _SECONDS, strict=True) if count)


def format_duration(seconds: float) -> str:
    """The shortest text of a duration, as Prometheus prints it."""
    left, parts = round(seconds * 1000), []
    for name, unit_s in zip(("y", "w", "d", "h", "m", "s", "ms"), _SECONDS, strict=True):
        unit = round(unit_s * 1000)
        if name in ("y", "w") and left % unit:  # years and weeks only where they come out even
            continue
        count, left = divmod(left, unit)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"
