"""Which stream owns a source: rendezvous hashing.

Every stream draws a number from the key; the highest draw owns it (Thaler and Ravishankar, 1998). When the
number of streams changes from n to n + 1, only one key in n + 1 moves.
"""

from __future__ import annotations

from hashlib import blake2b


def owner(key: str, streams: int) -> int:
    """The stream, 0 to ``streams - 1``, that owns ``key``."""
    data = key.encode()
    return max(range(streams), key=lambda i: blake2b(data, digest_size=8, key=b"%d" % i).digest())
