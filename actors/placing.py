"""How a plain class becomes an actor: the Ray options that all actors share, in one place."""

from __future__ import annotations

from typing import Any

import ray


def actor(cls: type, max_concurrency: int) -> Any:
    """The actor class of ``cls``. Ray restarts it for good when its process dies; it asks for no CPU of
    Ray's own, so that all fit on the smallest node."""
    return ray.remote(max_restarts=-1, num_cpus=0, max_concurrency=max_concurrency)(cls)  # type: ignore[call-overload]
