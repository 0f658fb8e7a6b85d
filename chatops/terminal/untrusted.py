"""Text that somebody else wrote, made fit for a terminal.

Whoever can send telemetry chooses log bodies, service names and operations. Printed as they are, the control
characters in them move the cursor, clear the screen or write the clipboard; here they become visible.
"""

from __future__ import annotations

import re
from typing import Any

# C0 without tab and newline, DEL, C1, and the marks that turn the direction of what follows.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_REPLACEMENT = "\ufffd"


def shown(text: str) -> str:
    """``text`` with each control character but newline and tab replaced; a line may end with CR LF."""
    return _CONTROL.sub(_REPLACEMENT, text.replace("\r\n", "\n"))


def shown_all(value: Any) -> Any:
    """Decoded JSON with ``shown`` for each text in it, names of fields among them."""
    match value:
        case str():
            return shown(value)
        case dict():
            return {shown(str(name)): shown_all(one) for name, one in value.items()}
        case list():
            return [shown_all(one) for one in value]
    return value


def shown_json(text: str) -> str:
    """The same JSON with its control characters written as escapes; those that JSON forbids raw it has none of."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
