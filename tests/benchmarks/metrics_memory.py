"""Memory and disk with a million series over two hours: the layer beside a real Prometheus.

    python -m tests.benchmarks.metrics_memory [--series 1000000] [--hours 2] [--step 15] [--only layer] [--folder DIR]

One system after the other starts with an empty folder and gets the same samples by remote write: those of a fleet of
services (``fleet`` says what they measure and how it moves: histograms, counters, gauges, none of them alike), made
while they are sent (``fleet_load``), 8 samples a series and 2,000 series a request, the last of them about now by the
clock. They come faster than by the clock, in rounds of 8 steps; between two rounds the sender holds still until
everything is applied and what is due of blocks is written, since at the real pace, too, a block is written between two
scrapes or a few.

Memory is that of all processes of a system (of the layer: Ray's daemons, PostgreSQL, all actors and this process; the
sender is not counted), taken every second until SETTLE_S after the last round: the proportional set size, and the part of
it that no file holds. The rest is pages of mapped files, such as the layer's log and Prometheus' head chunks, which count
while they are mapped and which the kernel may take back. Every sample is counted by queries at the end, after the memory
was taken.

Disk: what a sample takes in closed blocks (of the layer those that it wrote meanwhile; Prometheus writes its first after
three hours, so it is asked for a snapshot, which is one), and what the folder takes as it stands (of the layer the
blocks and the log; of Prometheus the write-ahead log and the chunks of its head).

No setting of the layer must be changed for a million series: ``gateway.max_series`` is two millions, ``streams.max_series``
one million a stream. For more series both are set to what is needed. ``gateway.max_series_per_source`` (500,000, here it
is 250) and ``streams.max_window_bytes`` (spans, logs and what the detectors watch, not Prometheus series) do not matter.

The last line is JSON: memory_ratio_prometheus is theirs over ours at the peak, anon_ratio_prometheus the same of what no
file holds; sizes in GB of 10^9 bytes; bytes_a_sample in closed blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from agent.settings import load
from agent.windows.metrics.blocks import SUFFIX, BlockFile
from agent.windows.metrics.upkeep import MetricLimits
from tests.benchmarks.fleet import BLOCK_SERIES, NAMES, NAMESPACES, namespace
from tests.benchmarks.fleet_load import STEPS
from tests.benchmarks.measure import Memory, end_on_sigterm, memory_by_name, say
from tests.benchmarks.systems import System, layer, prometheus, senders

SAMPLE_S = 1.0
SETTLE_S = 30.0
SEAL_S = 600.0  # longest wait for blocks
ASK_S = 1800.0
GB = 1e9
# What must be free before the start.
DISK_BYTES_A_SAMPLE, DISK_BYTES = 20, 2e9
MEMORY_BYTES_A_SERIES, MEMORY_BYTES = 8e3, 3e9


@dataclass(frozen=True, slots=True)
class Load:
    """``rounds`` of STEPS samples of each series, from ``start_ms`` on."""

    series: int
    rounds: int
    start_ms: int
    step_ms: int

    @classmethod
    def ending(cls, now_s: float, series: int, hours: float, step_s: int) -> Load:
        rounds = max(1, round(hours * 3600 / step_s / STEPS))
        return cls(series, rounds, (int(now_s) - rounds * STEPS * step_s) * 1000, step_s * 1000)

    @property
    def samples(self) -> int:
        return self.series * self.rounds * STEPS

    def reached_ms(self, rounds: int) -> int:
        """Up to where all series have come after so many rounds."""
        return self.start_ms + (rounds * STEPS - 1) * self.step_ms


@dataclass(frozen=True, slots=True)
class Disk:
    """Of closed blocks, and of everything that holds samples."""

    block_bytes: int
    block_samples: int
    all_bytes: int


@dataclass(frozen=True, slots=True)
class Found:
    idle: Memory
    peak: Memory
    anon_peak_bytes: int
    final: Memory
    disk: Disk
    lost: int


class Watch:
    """Looks at the memory of a system again and again, in a thread."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.last: Mapping[str, Memory] = {}
        self.highest: Mapping[str, Memory] = {}
        self.anon_peak_bytes = 0
        self.look()
        self.idle = together(self.last)

    def look(self) -> None:
        self.last = memory_by_name(self._system.processes())
        if together(self.last).pss_bytes > together(self.highest).pss_bytes:
            self.highest = self.last
        self.anon_peak_bytes = max(self.anon_peak_bytes, together(self.last).anon_bytes)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            self.look()


def together(parts: Mapping[str, Memory]) -> Memory:
    return sum(parts.values(), Memory())


class Sender:
    """The program that sends a load, round by round."""

    def __init__(self, system: System, what: Load) -> None:
        arguments = (system.url, what.series, what.start_ms, what.step_ms)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.fleet_load", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        senders.add(self._process.pid)
        self._answer()

    def round(self) -> int:
        """The samples that were acknowledged."""
        assert self._process.stdin
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        return int(self._answer())

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> bytes:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            sys.exit("the load was not taken")
        return line


@contextmanager
def sending(system: System, what: Load) -> Iterator[Sender]:
    sender = Sender(system, what)
    try:
        yield sender
    finally:
        sender.stop()


def limits_for(series: int) -> dict[str, str]:
    """Settings that let the layer take so many, where the defaults do not."""
    defaults = load(environ={})
    held = {
        "GATEWAY_MAX_SERIES": defaults.gateway.max_series,
        "STREAMS_MAX_SERIES": defaults.streams.max_series,
    }
    return {f"KUBECHAT_OBS_{name}": str(series) for name, limit in held.items() if series > limit}


def cut_due_ms(reached_ms: int, block_ms: int) -> int:
    """Up to where the layer's blocks go once event time has come so far."""
    return (reached_ms - MetricLimits().out_of_order_ms) // block_ms * block_ms


def wait_sealed(folder: Path, what: Load, rounds: int) -> None:
    """Until every stream of the layer has written the blocks that are due."""
    block_ms = round(load(environ=os.environ).streams.metric_block_s * 1000)
    cut_ms = cut_due_ms(what.reached_ms(rounds), block_ms)
    if cut_ms < what.start_ms + what.step_ms:
        return  # nothing to write yet
    deadline = time.monotonic() + SEAL_S
    while any(newest_cut_ms(stream) < cut_ms for stream in stream_folders(folder)):
        if time.monotonic() > deadline:
            sys.exit(f"no block up to {cut_ms} after {SEAL_S:.0f} s")
        time.sleep(0.1)


def stream_folders(folder: Path) -> list[Path]:
    return [path for path in folder.glob("log/of-*/*") if path.is_dir()]


def newest_cut_ms(stream: Path) -> int:
    return max((int(path.stem.split("_")[1]) for path in stream.glob(f"blocks/*/*{SUFFIX}")), default=0)


def taken_bytes(folder: Path) -> int:
    """On the disk: logs have room ahead that is not there yet."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def layer_disk(system: System) -> Disk:
    files = [BlockFile(path) for path in system.folder.glob(f"log/of-*/*/blocks/*/*{SUFFIX}")]
    return Disk(
        sum(file.nbytes for file in files),
        sum(file.info.samples for file in files),
        taken_bytes(system.folder / "log"),
    )


def prometheus_disk(system: System) -> Disk:
    data = system.folder / "data"
    everything = taken_bytes(data)
    ask(system, "admin/tsdb/snapshot", {})
    blocks = [path.parent for path in data.glob("snapshots/*/*/meta.json")]
    about = [json.loads((block / "meta.json").read_text())["stats"] for block in blocks]
    return Disk(sum(map(taken_bytes, blocks)), sum(one["numSamples"] for one in about), everything)


def ask(system: System, path: str, form: Mapping[str, Any]) -> Any:
    url = f"{system.query_url}/api/v1/{path}"
    try:
        with urllib.request.urlopen(url, urllib.parse.urlencode(form).encode(), timeout=ASK_S) as response:
            return json.load(response)["data"]
    except urllib.error.HTTPError as error:
        sys.exit(f"{system.name} refuses {form}: {error.read()!r}")


def number(system: System, query: str, at_s: float) -> int:
    found = ask(system, "query", {"query": query, "time": at_s})["result"]
    return int(found[0]["value"][1]) if found else 0


def lost(system: System, what: Load) -> int:
    """Samples that are not there; also says when series are not."""
    end_s = what.reached_ms(what.rounds) / 1000 + what.step_ms / 1000
    series = number(system, 'count({__name__=~".+",job!=""})', end_s)
    if series != what.series:
        say(f"{system.name}: {series} series instead of {what.series}")
    span_s = (what.rounds * STEPS + 1) * what.step_ms // 1000
    counts = (
        f'sum(count_over_time({metric}{{namespace="{namespace(i)}"}}[{span_s}s]))'
        for metric in sorted({one["__name__"] for one in NAMES})
        for i in range(NAMESPACES)
    )
    return what.samples - sum(number(system, query, end_s) for query in counts)


def measured(system: System, what: Load) -> Found:
    began = time.monotonic()
    with sending(system, what) as sender:
        with Watch(system) as watch:
            for done in range(1, what.rounds + 1):
                sender.round()
                system.applied()
                if system.name == "layer":
                    wait_sealed(system.folder, what, done)
                if done % max(1, what.rounds // 10) == 0:
                    passed = f"{done * STEPS} samples a series after {time.monotonic() - began:.0f} s"
                    say(f"{system.name}: {passed}, {told(together(watch.last))}")
            time.sleep(SETTLE_S)
        watch.look()
    report(system.name, watch)
    missing = lost(system, what)
    disk = layer_disk(system) if system.name == "layer" else prometheus_disk(system)
    say(f"{system.name}: {disk}, {missing} samples lost")
    return Found(
        watch.idle, together(watch.highest), watch.anon_peak_bytes, together(watch.last), disk, missing
    )


def report(name: str, watch: Watch) -> None:
    for when, parts in (("peak", watch.highest), ("end", watch.last)):
        say(f"{name} at the {when}: {told(together(parts))}")
        for part, memory in sorted(parts.items(), key=lambda one: -one[1].pss_bytes)[:8]:
            say(f"  {part}: {told(memory)}")


def told(memory: Memory) -> str:
    return f"{memory.pss_bytes / GB:.2f} GB, {memory.anon_bytes / GB:.2f} of them anonymous"


def figures(found: Mapping[str, Found]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, one in found.items():
        prefix = "ours" if name == "layer" else name
        out |= {
            f"{prefix}_gb": one.peak.pss_bytes / GB,
            f"{prefix}_anon_gb": one.anon_peak_bytes / GB,
            f"{prefix}_final_gb": one.final.pss_bytes / GB,
            f"{prefix}_final_anon_gb": one.final.anon_bytes / GB,
            f"{prefix}_idle_gb": one.idle.pss_bytes / GB,
            f"{prefix}_disk_gb": one.disk.all_bytes / GB,
            f"{prefix}_lost": one.lost,
        }
        if one.disk.block_samples:
            key = "bytes_a_sample" if name == "layer" else f"{name}_bytes_a_sample"
            out[key] = one.disk.block_bytes / one.disk.block_samples
    if len(found) == 2:
        ours, theirs = found["layer"], found["prometheus"]
        out["memory_ratio_prometheus"] = theirs.peak.pss_bytes / ours.peak.pss_bytes
        out["anon_ratio_prometheus"] = theirs.anon_peak_bytes / ours.anon_peak_bytes
    return out


def check_room(folder: Path | None, what: Load) -> None:
    free = shutil.disk_usage(folder or tempfile.gettempdir()).free
    if free < DISK_BYTES + DISK_BYTES_A_SAMPLE * what.samples:
        sys.exit(f"only {free / GB:.0f} GB of disk are free; see --folder, --series and --hours")
    available = psutil.virtual_memory().available
    if available < MEMORY_BYTES + MEMORY_BYTES_A_SERIES * what.series:
        sys.exit(f"only {available / GB:.0f} GB of memory are free; see --series")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=1_000_000, help=f"a multiple of {BLOCK_SERIES}")
    parser.add_argument("--hours", type=float, default=2.0, help="event time that is sent")
    parser.add_argument("--step", type=int, default=15, help="seconds between two samples of a series")
    parser.add_argument("--only", choices=("layer", "prometheus"), help="leave the other one out")
    parser.add_argument(
        "--folder", type=Path, help="where the data lie meanwhile; else among temporary files"
    )
    options = parser.parse_args()
    if options.series % BLOCK_SERIES:
        parser.error(f"--series must be a multiple of {BLOCK_SERIES}, got {options.series}")
    end_on_sigterm()
    what = Load.ending(time.time(), options.series, options.hours, options.step)
    check_room(options.folder, what)
    say(f"{what.series} series x {what.rounds * STEPS} samples = {what.samples / 1e6:.0f} M samples")
    found: dict[str, Found] = {}
    if options.only != "prometheus":
        with layer(options.folder, limits_for(what.series)) as system:
            found["layer"] = measured(system, what)
    if options.only != "layer":
        with prometheus(options.folder) as system:
            found["prometheus"] = measured(system, what)
    print(json.dumps({key: round(value, 3) for key, value in figures(found).items()}))


if __name__ == "__main__":
    main()
