"""How a plain class becomes an actor: the Ray options that all actors share, in one place."""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from agent.settings import Settings


def actor(cls: type, max_concurrency: int) -> Any:
    """The actor class of ``cls``. Ray restarts it for good when its process dies; it asks for no CPU of
    Ray's own, so that all fit on the smallest node."""
    return ray.remote(max_restarts=-1, num_cpus=0, max_concurrency=max_concurrency)(cls)  # type: ignore[call-overload]


def on_this_node(settings: Settings) -> dict[str, Any]:
    """Options that put an actor on the node of the caller, in a cluster that has others: the actors of a
    layer share the log's folder and PostgreSQL's socket."""
    if not settings.ray.address:
        return {}
    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}
