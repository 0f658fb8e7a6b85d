"""Structured logs: set up once in each process, with everything that must not be read by others taken out.

Lines go to standard error: JSON for machines, colours for people. What looks like a secret by its name, a
``Secret``, and passwords inside addresses never print.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from agent.secret import Secret

HIDDEN = "[hidden]"
MAX_DEPTH = 6

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)?$|secret|token$|authorization|cookie|api_?key|private_?key|credential",
    re.IGNORECASE,
)
_PASSWORD_IN_ADDRESS = re.compile(r"(\w[\w+.-]*://[^/\s:@]*:)[^/\s@]+@")
_BEARER = re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE)


def configure(level: str, style: str, actor: str = "") -> None:
    """``level`` and ``style`` as in ``general.log_level`` and ``general.log_format``; ``actor`` is in each line."""
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    render: list[Any] = (
        [structlog.processors.format_exc_info, redact, structlog.processors.JSONRenderer()]
        if as_json
        else [redact, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.clear_contextvars()
    if actor:
        structlog.contextvars.bind_contextvars(actor=actor)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: the event without what must not be read."""
    return {name: _clean(name, value, 0) for name, value in event.items()}


def _clean(name: str, value: Any, depth: int) -> Any:
    if _SECRET_NAME.search(name) or isinstance(value, Secret) or depth > MAX_DEPTH:
        return HIDDEN if value else value
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, Mapping):
        return {key: _clean(str(key), inner, depth + 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(name, inner, depth + 1) for inner in value]
    return value


def hide_secrets(text: str) -> str:
    """``text`` without passwords of addresses and without tokens of ``Authorization`` headers."""
    return _BEARER.sub(rf"\1 {HIDDEN}", _PASSWORD_IN_ADDRESS.sub(rf"\1{HIDDEN}@", text))
