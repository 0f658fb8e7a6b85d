"""The Kubernetes objects of one discovery as they are now, and which target groups a change touches.

A group is made anew only when its own object changed or one that it looked at, so that the heartbeat of a
node costs nothing where no label comes from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from agent.telemetry.scrape_config import TargetGroup
from agent.telemetry.scrape_kubernetes import Object, group_of, key_of

MAIN = {
    "pod": "pods",
    "service": "services",
    "endpoints": "endpoints",
    "endpointslice": "endpointslices",
    "node": "nodes",
    "ingress": "ingresses",
}


def kinds_of(role: str, attach_node: bool) -> tuple[str, ...]:
    """The kinds of objects that a role needs, its own first."""
    more = ("services", "pods") if role in ("endpoints", "endpointslice") else ()
    nodes = ("nodes",) if attach_node and role in ("pod", "endpoints", "endpointslice") else ()
    return (MAIN[role], *more, *nodes)


class Board:
    def __init__(self, role: str, attach_node: bool) -> None:
        self._role, self._attach_node = role, attach_node
        self._objects: dict[str, dict[str, Object]] = {kind: {} for kind in kinds_of(role, attach_node)}
        self._scopes: dict[tuple[str, str], set[str]] = {}
        self._looked: defaultdict[tuple[str, str], set[str]] = defaultdict(set)  # at what, for which groups
        self._dirty: set[str] = set()
        self._groups: dict[str, TargetGroup] = {}

    def replace(self, kind: str, scope: str, items: Iterable[Object]) -> None:
        """The complete list of a kind in a scope (a namespace, or "" for all)."""
        named = {key_of(item): item for item in items}
        for key in self._scopes.get((kind, scope), set()) - set(named):
            self.remove(kind, key)
        for key, item in named.items():
            self._put(kind, key, item)
        self._scopes[kind, scope] = set(named)

    def put(self, kind: str, scope: str, item: Object) -> None:
        key = key_of(item)
        self._scopes.setdefault((kind, scope), set()).add(key)
        self._put(kind, key, item)

    def remove(self, kind: str, key: str) -> None:
        if self._objects[kind].pop(key, None) is not None:
            self._touch(kind, key)

    def changed(self) -> list[TargetGroup]:
        """The groups that are not what they were at the last call; those that are gone without targets."""
        found = []
        for key in sorted(self._dirty):
            group = self._made(key)
            if group != self._groups.get(key, TargetGroup(group.source, ())):
                self._groups[key] = group
                found.append(group)
            if not group.targets:
                self._groups.pop(key, None)
        self._dirty.clear()
        return found

    def _made(self, key: str) -> TargetGroup:
        item = self._objects[MAIN[self._role]].get(key)
        if item is None:
            return TargetGroup(f"{self._role}/{key}", ())

        def look(kind: str, other: str) -> Object | None:
            self._looked[kind, other].add(key)
            return self._objects[kind].get(other)

        try:
            return group_of(self._role, item, look, self._attach_node)
        except (AttributeError, KeyError, TypeError):  # an object that is not what its kind says
            return TargetGroup(f"{self._role}/{key}", ())

    def _put(self, kind: str, key: str, item: Object) -> None:
        if self._objects[kind].get(key) != item:
            self._objects[kind][key] = item
            self._touch(kind, key)

    def _touch(self, kind: str, key: str) -> None:
        if kind == MAIN[self._role]:
            self._dirty.add(key)
        self._dirty |= self._looked.pop((kind, key), set())
