"""The errors that callers may catch, and nothing else.

ObservabilityError
├── SettingsError          a setting is missing, unknown or out of range
├── BadInput               a request is refused; ``reason`` is what the refusal is counted under
│   ├── Malformed          the bytes are not what the content type says
│   ├── TooLarge           a limit of the settings is exceeded
│   └── Unsupported        a content type, encoding or version that is not spoken here
├── Overloaded             try again later; ``retry_after_s`` says when
├── NotFound               the thing asked for does not exist, or is no longer kept
├── CorruptLog             the write-ahead log holds bytes that were never written by it
└── StoreError             PostgreSQL is away or refuses
"""

from __future__ import annotations


class ObservabilityError(Exception):
    """Base of all errors raised on purpose; the message says what to do next."""


class SettingsError(ObservabilityError):
    def __init__(self, key: str, got: object, expected: str) -> None:
        super().__init__(f"setting {key}: got {got!r}, expected {expected}")
        self.key, self.got, self.expected = key, got, expected

    def __reduce__(self) -> tuple[type[SettingsError], tuple[str, object, str]]:
        return type(self), (self.key, self.got, self.expected)


class BadInput(ObservabilityError):
    """A request that is refused whole. ``reason`` is a short snake_case word for the counters."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason, self.message = reason, message

    def __reduce__(self) -> tuple[type[BadInput], tuple[str, str]]:
        return type(self), (self.reason, self.message)


class Malformed(BadInput):
    pass


class TooLarge(BadInput):
    pass


class Unsupported(BadInput):
    pass


class Overloaded(ObservabilityError):
    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.message, self.retry_after_s = message, retry_after_s

    def __reduce__(self) -> tuple[type[Overloaded], tuple[str, float]]:
        return type(self), (self.message, self.retry_after_s)


class NotFound(ObservabilityError):
    pass


class CorruptLog(ObservabilityError):
    pass


class StoreError(ObservabilityError):
    pass
