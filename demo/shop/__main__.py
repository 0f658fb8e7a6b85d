"""``python -m demo.shop``: the whole shop (``up``), the table of faults, or one process of it.

What one process needs is imported only there: a process of the shop should start fast and stay small.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from demo.shop.settings import (
    STOCK_VERSIONS,
    BadEnvironment,
    ServiceSettings,
    number_of,
    port_of,
    required,
)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "up":
                from demo.shop.terminal import up

                return up(options)
            case "faults":
                from demo.shop.terminal import print_faults

                print_faults()
            case process:
                _run_process(process)
    except BadEnvironment as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo.shop", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the whole shop and its customers, until Ctrl-C")
    up.add_argument(
        "--otlp",
        default="http://127.0.0.1:4318",
        metavar="URL",
        help="where telemetry goes (default: %(default)s)",
    )
    up.add_argument(
        "--protocol", default="http/protobuf", choices=("http/protobuf", "grpc"), help="how it goes there"
    )
    up.add_argument(
        "--data-dir",
        type=Path,
        metavar="DIR",
        help="keep the database and the logs here (default: a temporary directory)",
    )
    up.add_argument(
        "--fault",
        default="none",
        metavar="NAME",
        help="what to break; `faults` lists the names (default: nothing)",
    )
    up.add_argument(
        "--fault-after",
        type=float,
        default=30.0,
        metavar="S",
        help="how long it is healthy first (default: %(default)s)",
    )
    up.add_argument(
        "--heal-after", type=float, metavar="S", help="heal the fault so long after it (default: never)"
    )
    up.add_argument("--duration", type=float, metavar="S", help="stop after so long (default: at Ctrl-C)")
    up.add_argument(
        "--rate-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="1 is about 8 pages a second (default: %(default)s)",
    )
    up.add_argument(
        "--seed", type=int, default=1, metavar="N", help="of the customers' choices (default: %(default)s)"
    )
    commands.add_parser("faults", help="list what can be broken, and the true cause of each")
    for process in (*STOCK_VERSIONS, "cache", "network", "database", "load"):
        commands.add_parser(
            process, help="one process of the shop; its settings come from SHOP_... variables"
        )
    return parser


def _run_process(name: str) -> None:
    match name:
        case "cache":
            from demo.shop.cache import run_cache

            run_cache(port_of(os.environ))
        case "network":
            from demo.shop.network import run_network

            run_network(port_of(os.environ), port_of(os.environ, "SHOP_TARGET_PORT"))
        case "database":
            from demo.shop.database import run_database

            run_database(Path(required(os.environ, "SHOP_DATABASE_DIR", "a directory")))
        case "load":
            from demo.shop.load import run_load

            run_load(
                required(os.environ, "SHOP_URL_FRONT", "the base URL of the front"),
                int(number_of(os.environ, "SHOP_LOAD_SEED", 1)),
                number_of(os.environ, "SHOP_LOAD_RATE_SCALE", 1.0),
                number_of(os.environ, "SHOP_LOAD_PERIOD_S", 240.0),
            )
        case service:
            _run_service(service)


def _run_service(name: str) -> None:
    from importlib import import_module

    from demo.shop.service import Service, run_service

    # Each service is the one class of its module that carries its name.
    kind: type[Service] = getattr(import_module(f"demo.shop.services.{name}"), name.capitalize())
    run_service(kind, ServiceSettings.of(name, os.environ))


if __name__ == "__main__":
    sys.exit(main())
