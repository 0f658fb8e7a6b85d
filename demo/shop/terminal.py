"""``up`` and ``faults`` of the command line: plain lines, nothing to install."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from pathlib import Path

from demo.shop.faults import FAULTS, NoSuchFault, fault
from demo.shop.supervisor import Member, Shop

REPORT_INTERVAL_S = 5.0


def print_faults() -> None:
    for entry in FAULTS.values():
        _say(f"{entry.name}\n    {entry.does}\n    True cause: {entry.cause}")


def up(options: argparse.Namespace) -> int:
    """Run the shop as the options say; 2 for a fault that does not exist."""
    try:
        fault(options.fault)
    except NoSuchFault as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.data_dir is not None:
        asyncio.run(_up(options, options.data_dir))
        return 0
    with tempfile.TemporaryDirectory(prefix="shop-", ignore_cleanup_errors=True) as temporary:
        asyncio.run(_up(options, Path(temporary)))
    return 0


async def _up(options: argparse.Namespace, data_dir: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    shop = Shop(
        data_dir,
        options.otlp,
        otlp_protocol=options.protocol,
        seed=options.seed,
        rate_scale=options.rate_scale,
    )
    work = asyncio.create_task(_run(shop, options))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED, timeout=options.duration)
    finally:
        stopped.cancel()
        work.cancel()
        _say("stopping")
        await asyncio.wait({work})
        await shop.stop()
    if not work.cancelled():
        work.result()


async def _run(shop: Shop, options: argparse.Namespace) -> None:
    await shop.start(_print_member)
    _say(
        f"open at {next(member.url for member in shop.members() if member.name == 'front')}; telemetry goes to {options.otlp}"
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(_script(shop, options))
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            _say(f"customers, last {REPORT_INTERVAL_S:.0f} s: {shop.seen(REPORT_INTERVAL_S)}")


async def _script(shop: Shop, options: argparse.Namespace) -> None:
    await asyncio.sleep(options.fault_after)
    _say(f"breaking: {options.fault}")
    await shop.inject(options.fault)
    if options.heal_after is not None:
        await asyncio.sleep(options.heal_after)
        _say(f"healing: {options.fault}")
        await shop.heal(options.fault)


def _print_member(member: Member) -> None:
    version = f" {member.version}" if member.version else ""
    again = f" (restart {member.restarts})" if member.restarts else ""
    _say(f"{member.name}{version}: pid {member.pid}{again} {member.url}")


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
