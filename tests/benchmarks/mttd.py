"""How fast a fault is noticed, and how often its true cause is named first.

    python -m tests.benchmarks.mttd [--faults a,b] [--rounds 3] [--quiet-min 10] [--record DIR]

One layer and one shop run for the whole time. After a healthy while each fault is broken, waited for, asked
about and healed, in rounds; at the end nothing is broken for the quiet minutes. Detection counts from the
injection to the moment the REST API shows the incident. The last line is JSON: median_s, max_s, first (share of
faults whose true cause was named first), false_incidents (raised while nothing was broken), by_fault.
``--record`` keeps the telemetry of each case, to look at the failures.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import pickle
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from actors.runtime import Layer
from agent.settings import load
from agent.telemetry.frames import concat
from demo.scenario import LayerClient, Outcome, run_fault, wait, watch
from demo.shop.faults import FAULTS
from demo.shop.supervisor import Shop
from tests.benchmarks.live import free_ports
from tests.benchmarks.measure import end_on_sigterm, say

WARM_S = 75.0
LIMIT_S = 90.0
CALM_S = 20.0
RESOLVE_S = 240.0
RECORD_S = 420.0


async def nothing(_: float) -> None:
    return None


class Bench:
    def __init__(self, layer: Layer, shop: Shop, client: LayerClient, record: Path | None) -> None:
        self.layer, self.shop, self.client, self.record = layer, shop, client, record
        self.outcomes: list[Outcome] = []
        self.false_incidents: list[dict[str, Any]] = []

    async def quiet(self, for_s: float) -> None:
        """Nothing is broken; whatever is raised now is a false alarm."""
        since_s = time.time()
        await wait(for_s, nothing)
        self.false_incidents += await self.client.incidents_since(since_s)

    async def case(self, name: str, number: int) -> None:
        outcome = await run_fault(
            name,
            self.shop,
            self.client,
            limit_s=LIMIT_S,
            on_tick=nothing,
            on_incident=lambda incident, after_s: None,
        )
        self.outcomes.append(outcome)
        say(_line(outcome))
        if self.record:
            await self._keep(name, number, outcome)
        await self.shop.heal(name)
        await self._settle()

    async def _settle(self) -> None:
        """Wait until the layer sees that it is over, then for a calm while."""
        deadline = time.monotonic() + RESOLVE_S
        while time.monotonic() < deadline:
            if not await self.client.open_incidents():
                break
            await asyncio.sleep(1.0)
        else:
            say("  not resolved in time")
        await self.quiet(CALM_S)

    async def _keep(self, name: str, number: int, outcome: Outcome) -> None:
        ports = self.layer.ports
        if ports is None or self.record is None:
            return
        end_ns = round(outcome.answer["end_s"] * 1e9)
        start_ns = end_ns - round(RECORD_S * 1e9)
        parts = [await stream.telemetry("default", start_ns, end_ns, 0) for stream in ports.streams]
        kept = {"outcome": outcome, "telemetry": concat([part for part in parts if part is not None])}
        (self.record / f"{name}-{number}.pickle").write_bytes(pickle.dumps(kept))


def _line(outcome: Outcome) -> str:
    causes = outcome.answer.get("causes") or []
    named = (
        ", ".join(f"{cause['service']} ({cause['kind']})" for cause in causes[:3])
        or outcome.answer["verdict"]
    )
    seen = f"{outcome.detected_s:5.1f} s" if outcome.detected_s is not None else "  not noticed"
    title = outcome.incident["title"] if outcome.incident else ""
    return f"{'ok ' if outcome.right else 'NO '} {outcome.fault:<15} {seen}  {named}  [{title}] {outcome.answer['confidence']:.2f}"


async def run(layer: Layer, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    names = options.faults.split(",") if options.faults else [name for name in FAULTS if name != "none"]
    shop = Shop(folder, layer.address("otlp/http"), seed=options.seed)
    async with LayerClient(layer.address("http")) as client:
        bench = Bench(layer, shop, client, options.record)
        await shop.start()
        try:
            await bench.quiet(WARM_S)
            for number in range(options.rounds):
                for name in names:
                    await bench.case(name, number)
            since_s = time.time()
            await bench.quiet(options.quiet_min * 60)
            answer = await client.ask("why is latency up?") if options.quiet_min else None
            await watch(client, 0, since_s, nothing)
        finally:
            await shop.stop()
    for incident in bench.false_incidents:
        say(f"false: {incident['title']}: {incident.get('description', '')}")
    return report(bench, answer, options.quiet_min)


def report(bench: Bench, quiet_answer: dict[str, Any] | None, quiet_min: float) -> dict[str, Any]:
    took = [o.detected_s for o in bench.outcomes if o.detected_s is not None]
    by_fault = {
        name: {
            "detected_s": [round(o.detected_s, 1) if o.detected_s is not None else None for o in outcomes],
            "right": sum(o.right for o in outcomes),
            "of": len(outcomes),
        }
        for name in dict.fromkeys(o.fault for o in bench.outcomes)
        if (outcomes := [o for o in bench.outcomes if o.fault == name])
    }
    return {
        "median_s": round(statistics.median(took), 1) if took else None,
        "max_s": round(max(took), 1) if took else None,
        "missed": len(bench.outcomes) - len(took),
        "first": round(sum(o.right for o in bench.outcomes) / max(1, len(bench.outcomes)), 3),
        "cases": len(bench.outcomes),
        "false_incidents": len(bench.false_incidents),
        "quiet_min": quiet_min,
        "quiet_verdict": quiet_answer["verdict"] if quiet_answer else None,
        "by_fault": by_fault,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--faults", help="only these, joined by commas")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quiet-min", type=float, default=10.0, help="minutes of nothing broken at the end")
    parser.add_argument("--record", type=Path, help="a folder for the telemetry of each case")
    parser.add_argument("--seed", type=int, default=1, help="of the customers' choices")
    options = parser.parse_args()
    end_on_sigterm()
    if options.record:
        options.record.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        settings = load(environ={**os.environ, **free_ports(folder)})
        with Layer(settings, lambda what, detail: say(f"{what}: {detail}")) as layer:
            found = asyncio.run(run(layer, Path(folder) / "shop", options))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
