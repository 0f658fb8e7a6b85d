"""The sources of one tenant that a stream owns: who they are, what they sent, and what changed about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agent.telemetry.frames import ChangeEvent
from agent.telemetry.source import Source

Attributes = Mapping[str, str]

# Of the sources that are ahead in time, so many may have a wrong clock without moving the watermark.
WATERMARK_RANK = 3

SOURCE_BYTES, RESOURCE_BYTES = 4000, 800  # of an entry with its attributes, about


@dataclass(slots=True)
class SourceState:
    source: Source
    attributes: Attributes
    first_ns: int
    last_ns: int
    rows: dict[str, int] = field(default_factory=dict)


class Sources:
    """Codes of sources, dense and in the order in which they first appear, at most ``limit``."""

    def __init__(self, tenant: str, limit: int) -> None:
        self._tenant = tenant
        self._limit = limit
        self._code_of_resource: dict[bytes, int] = {}
        self._code_of_source: dict[Source, int] = {}
        self._newest: dict[tuple[str, str], Source] = {}
        self.states: list[SourceState] = []
        self.changes: list[ChangeEvent] = []
        self._table: tuple[Source, ...] = ()

    def code(
        self, resource: bytes, parse: Callable[[], Attributes], time_ns: int, *, replaces: bool = True
    ) -> int:
        """The code of the source that a Resource message describes; -1 where the limit is reached.
        ``parse`` reads its attributes, and is called for bytes not seen before only. ``replaces`` says that a
        new instance takes the place of the one before; targets of scraping stand side by side."""
        code = self._code_of_resource.get(resource)
        if code is None:
            code = self._register(parse(), time_ns, replaces=replaces)
            if code >= 0 and len(self._code_of_resource) < 4 * self._limit:
                self._code_of_resource[resource] = code
        return code

    def saw(self, code: int, signal: str, rows: int, last_ns: int) -> None:
        state = self.states[code]
        state.rows[signal] = state.rows.get(signal, 0) + rows
        state.last_ns = max(state.last_ns, last_ns)

    def watermark_ns(self, active_s: float) -> int:
        """How far event time has come: the third newest time stamp among the sources that are active (the
        median of fewer than five), so that a few wrong clocks move nothing. 0 before the first row."""
        if not self.states:
            return 0
        last = sorted((state.last_ns for state in self.states), reverse=True)
        active = [time_ns for time_ns in last if time_ns >= last[0] - int(active_s * 1e9)]
        return active[min(WATERMARK_RANK, (len(active) + 1) // 2) - 1]

    def inherit(self, old: Sources, since_ns: int) -> None:
        """Take over what is known of the sources that are here from those of an earlier window: what they
        sent since they were first seen, and their changes since ``since_ns``."""
        known = {state.source: state for state in old.states}
        for state in self.states:
            before = known.get(state.source)
            if before is not None:
                state.first_ns, state.rows = before.first_ns, before.rows
        # Made anew, every instance but the first of a service looks like a new one.
        self.changes = [change for change in old.changes if change.time_ns >= since_ns]
        self._newest = {service: old._newest.get(service, newest) for service, newest in self._newest.items()}

    @property
    def nbytes(self) -> int:
        """What the table weighs, about."""
        return SOURCE_BYTES * len(self.states) + RESOURCE_BYTES * len(self._code_of_resource)

    @property
    def full(self) -> bool:
        return len(self.states) >= self._limit

    def table(self) -> tuple[Source, ...]:
        """The sources by code; the same tuple until there are new ones."""
        if len(self._table) != len(self.states):
            self._table = tuple(state.source for state in self.states)
        return self._table

    def _register(self, attributes: Attributes, time_ns: int, *, replaces: bool) -> int:
        source = Source.of(attributes, self._tenant)
        code = self._code_of_source.get(source)
        if code is not None:
            return code
        if self.full:
            return -1
        if replaces:
            self._note_change(source, time_ns)
        code = len(self.states)
        self.states.append(SourceState(source, dict(attributes), time_ns, time_ns))
        self._code_of_source[source] = code
        return code

    def _note_change(self, source: Source, time_ns: int) -> None:
        before = self._newest.get((source.namespace, source.service))
        self._newest[source.namespace, source.service] = source
        if before is None:
            return
        if before.version != source.version:
            text = f"{source.service} runs version {source.version or '?'} (was {before.version or '?'})"
            self.changes.append(ChangeEvent(time_ns, source, "version", text))
        elif before.instance != source.instance:
            text = f"{source.service} started a new instance {source.instance or '?'}"
            self.changes.append(ChangeEvent(time_ns, source, "restart", text))
