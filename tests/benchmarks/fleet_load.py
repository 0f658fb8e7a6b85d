"""Remote write of a fleet, made while it is sent: gigabytes of bodies that lie nowhere.

    python -m tests.benchmarks.fleet_load URL SERIES START_MS STEP_MS

says "ready", then for each line that comes in sends the next STEPS steps of all series, a request for each 2,000 series,
on CONNECTIONS connections with a thread each, and says how many samples were acknowledged.
"""

from __future__ import annotations

import contextlib
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.benchmarks.bodies import Connection, Template
from tests.benchmarks.fleet import BLOCK_SERIES, FleetBlock

CONNECTIONS = 5
STEPS = 8


class _Share:
    """The blocks of one connection."""

    def __init__(self, number: int, series: int, start_ms: int, step_ms: int) -> None:
        numbers = range(number, series // BLOCK_SERIES, CONNECTIONS)
        self._blocks = [
            (FleetBlock(block, step_ms), Template(FleetBlock.series(block), STEPS)) for block in numbers
        ]
        self._next_ms, self._step_ms = start_ms, step_ms

    def send(self, url: str) -> int:
        """On a connection of its own: servers end one that rests for long."""
        with contextlib.closing(Connection(url)) as connection:
            for block, template in self._blocks:
                body = template.body(block.times(self._next_ms, STEPS), block.values(STEPS))
                if refused := connection.send(body):
                    sys.exit(f"refused: {refused!r}")
        self._next_ms += STEPS * self._step_ms
        return len(self._blocks) * BLOCK_SERIES * STEPS


def main() -> None:
    url, *numbers = sys.argv[1:]
    series, start_ms, step_ms = map(int, numbers)
    shares = [_Share(number, series, start_ms, step_ms) for number in range(CONNECTIONS)]
    print("ready", flush=True)
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in sys.stdin:
            sent = [pool.submit(share.send, url) for share in shares]
            print(sum(one.result() for one in sent), flush=True)


if __name__ == "__main__":
    main()
