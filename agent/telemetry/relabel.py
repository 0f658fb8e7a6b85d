"""Relabelling as Prometheus does it: a list of rules over one label set, all actions.

A pure function over dicts of labels; an empty value and an absent label are the same. Rules are checked when
they are made, so that ``relabel`` never fails.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from agent.telemetry.relabel_regex import anchored, expand, is_template, match

LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
DEFAULT_REGEX = "(.*)"


class Action(StrEnum):
    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    KEEPEQUAL = "keepequal"
    DROPEQUAL = "dropequal"
    HASHMOD = "hashmod"
    LABELMAP = "labelmap"
    LABELDROP = "labeldrop"
    LABELKEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"


NEED_TARGET = (
    Action.REPLACE, Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE, Action.KEEPEQUAL, Action.DROPEQUAL,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of ``relabel_configs``. Raises ``ValueError`` where Prometheus would refuse it."""

    action: Action = Action.REPLACE
    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = DEFAULT_REGEX
    target_label: str = ""
    replacement: str = "$1"
    modulus: int = 0

    def __post_init__(self) -> None:
        anchored(self.regex)
        if self.action in NEED_TARGET and not self.target_label:
            raise ValueError(f"action {self.action} needs target_label")
        if self.action is Action.HASHMOD and self.modulus <= 0:
            raise ValueError("action hashmod needs a modulus above 0")
        if self.action in (Action.HASHMOD, Action.LOWERCASE, Action.UPPERCASE) and not LABEL_NAME.fullmatch(
            self.target_label
        ):
            raise ValueError(f"target_label: got {self.target_label!r}, expected a label name")
        self._check_unused()

    def _check_unused(self) -> None:
        changed = {
            "source_labels": bool(self.source_labels),
            "separator": self.separator != ";",
            "regex": self.regex != DEFAULT_REGEX,
            "target_label": bool(self.target_label),
            "replacement": self.replacement != "$1",
            "modulus": self.modulus != 0,
        }
        allowed = {
            Action.LABELDROP: {"regex"},
            Action.LABELKEEP: {"regex"},
            Action.KEEPEQUAL: {"source_labels", "target_label", "separator"},
            Action.DROPEQUAL: {"source_labels", "target_label", "separator"},
        }.get(self.action)
        if allowed is not None:
            for name in (name for name, is_set in changed.items() if is_set and name not in allowed):
                raise ValueError(f"action {self.action} cannot have {name}")


def relabel(labels: Mapping[str, str], rules: Iterable[Rule]) -> dict[str, str] | None:
    """The labels after all rules, or None where a rule drops the set. ``labels`` stays as it is."""
    result = {name: value for name, value in labels.items() if value}
    for rule in rules:
        changed = _apply(result, rule)
        if changed is None:
            return None
        result = changed
    return result


def _apply(labels: dict[str, str], rule: Rule) -> dict[str, str] | None:
    action, regex = rule.action, rule.regex
    if action is Action.LABELDROP:
        return {name: value for name, value in labels.items() if not match(regex, name)}
    if action is Action.LABELKEEP:
        return {name: value for name, value in labels.items() if match(regex, name)}
    if action is Action.LABELMAP:
        return _mapped(labels, rule)
    value = rule.separator.join(labels.get(name, "") for name in rule.source_labels)
    if action is Action.KEEP:
        return labels if match(regex, value) else None
    if action is Action.DROP:
        return None if match(regex, value) else labels
    if action is Action.KEEPEQUAL:
        return labels if labels.get(rule.target_label, "") == value else None
    if action is Action.DROPEQUAL:
        return None if labels.get(rule.target_label, "") == value else labels
    if action is Action.REPLACE:
        return _replaced(labels, rule, value)
    return _with(labels, rule.target_label, _derived(rule, value))


def _derived(rule: Rule, value: str) -> str:
    if rule.action is Action.HASHMOD:
        digest = hashlib.md5(value.encode("utf-8", "surrogateescape"), usedforsecurity=False).digest()
        return str(int.from_bytes(digest[8:], "big") % rule.modulus)
    return _lower(value) if rule.action is Action.LOWERCASE else _upper(value)


def _replaced(labels: dict[str, str], rule: Rule, value: str) -> dict[str, str]:
    found = match(rule.regex, value)
    if found is None:
        return labels
    target = expand(rule.target_label, found) if is_template(rule.target_label) else rule.target_label
    if not LABEL_NAME.fullmatch(target):
        return labels
    return _with(labels, target, expand(rule.replacement, found))


def _mapped(labels: dict[str, str], rule: Rule) -> dict[str, str]:
    result = dict(labels)
    for name, value in labels.items():
        if found := match(rule.regex, name):
            result[expand(rule.replacement, found)] = value
    return result


def _with(labels: dict[str, str], name: str, value: str) -> dict[str, str]:
    result = {**labels, name: value}
    if not value:
        del result[name]
    return result


def _lower(text: str) -> str:
    """Character by character, as Go does it: no final sigma, and one character stays one."""
    return text.lower() if text.isascii() else "".join("i" if c == "İ" else c.lower() for c in text)


def _upper(text: str) -> str:
    if text.isascii():
        return text.upper()
    return "".join(c.upper() if len(c.upper()) == 1 else c for c in text)
