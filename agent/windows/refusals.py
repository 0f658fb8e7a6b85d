"""What a sender of remote write is told: how much was written, and what was refused, with an example each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from agent.errors import BadInput
from agent.telemetry.frames import I64
from agent.telemetry.labels import decode_labels
from agent.telemetry.remote_write import Scan
from agent.telemetry.remote_write_labels import FAULT_SENTENCES, Fault
from agent.telemetry.remote_write_scan import TEXT_LEN, TEXT_OFF
from agent.windows.admission import (
    EQUAL_SAMPLES,
    FAULTS,
    WAIT_NS,
    WRITTEN_EXEMPLARS,
    WRITTEN_HISTOGRAMS,
    WRITTEN_SAMPLES,
)

SHOWN_BYTES = 300  # of the labels in a message
QUIET = (Fault.BAD_EXEMPLAR, Fault.BAD_METADATA)  # counted, but no reason to refuse: as Prometheus has it


@dataclass(frozen=True, slots=True)
class Later:
    """Something of a body is left for the rate of its source: it is to be sent again, the whole body."""

    after_s: float
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one body. ``error`` refuses it whole; ``refused`` counts single samples, and ``message``
    names those that the sender must hear of. ``samples`` counts those that were known already among the written ones, as Prometheus does;
    ``equal`` are these alone. What ``later`` leaves is in ``refused`` too, though not for good."""

    samples: int = 0
    histograms: int = 0
    exemplars: int = 0
    equal: int = 0
    refused: dict[Fault, int] = field(default_factory=dict)
    message: str = ""
    later: Later | None = None
    error: BadInput | None = None

    def after(self, message: str) -> Outcome:
        """With what was said of the body when it came before."""
        return replace(self, message="; ".join(filter(None, (message, self.message))))


def outcome(scan: Scan, counts: I64, examples: I64, error: BadInput | None) -> Outcome:
    """Of one body: its row of ``counts``, and of ``examples`` series and sample of the first of a fault."""
    if error is not None:
        return Outcome(error=error)
    refused, message, later = {}, "", None
    row = counts.tolist()
    if any(row[FAULTS:]):
        refused = {fault: row[FAULTS + fault] for fault in Fault if row[FAULTS + fault]}
        said = {
            fault: _sentence(scan, fault, n, int(examples[0, fault]), int(examples[1, fault]))
            for fault, n in refused.items()
            if fault not in QUIET
        }
        if Fault.RATE_LIMITED in said:
            later = Later(row[WAIT_NS] / 1e9, said.pop(Fault.RATE_LIMITED))
        message = "; ".join(said.values())
    return Outcome(
        samples=row[WRITTEN_SAMPLES],
        histograms=row[WRITTEN_HISTOGRAMS],
        exemplars=row[WRITTEN_EXEMPLARS],
        equal=row[EQUAL_SAMPLES],
        refused=refused,
        message=message,
        later=later,
    )


def _sentence(scan: Scan, fault: Fault, n: int, series: int, sample: int) -> str:
    off, length = int(scan.series[TEXT_OFF, series]), int(scan.series[TEXT_LEN, series])
    at = ""
    if sample >= 0:
        value = float(np.asarray(scan.bits[sample]).view(np.float64))
        at = f", time {int(scan.time_ms[sample])} ms, value {value!r}"
    more = f" ({n} refused, this is the first)" if n > 1 else ""
    return f"{FAULT_SENTENCES[fault]}: series {_shown(scan.text[off : off + length].tobytes())}{at}{more}"


def _shown(text: bytes) -> str:
    """The labels as a selector would name them, or as much of the bytes as fits where they are no labels."""
    try:
        labels = decode_labels(text) if len(text) <= 64 * SHOWN_BYTES else ()
    except (IndexError, ValueError):
        labels = ()
    shown = "{" + ", ".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else repr(text)
    shown = shown.encode("utf-8", "backslashreplace").decode()
    return shown if len(shown) <= SHOWN_BYTES else shown[:SHOWN_BYTES] + "…"
