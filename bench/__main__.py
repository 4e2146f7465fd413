"""`python -m bench NAME`: run a benchmark and print a table, or JSON for a script."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import accept, deliver, end_to_end, growth, hostile, tenants


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "name", choices=["accept", "deliver", "end_to_end", "tenants", "hostile", "growth", "all"]
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each measurement")
    parser.add_argument("--count", type=int, default=10_000, help="messages that `deliver` sends")
    parser.add_argument(
        "--keys", type=int, default=1, help="API keys that `accept` takes turns with"
    )
    parser.add_argument("--rate", type=float, default=500.0, help="sends a second in `end_to_end`")
    parser.add_argument(
        "--connectors",
        type=int,
        default=10_000,
        help="connectors with a message each, in `tenants`",
    )
    parser.add_argument(
        "--backlog",
        type=int,
        default=1_000_000,
        help="messages queued for a single connector, in `tenants`",
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="messages that `growth` fills in"
    )
    parser.add_argument(
        "--calls", type=int, default=40, help="calls of each kind that `growth` times"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    runs: dict[str, Callable[[], dict[str, Any]]] = {
        "accept": lambda: accept.run(seconds=arguments.seconds, keys=arguments.keys),
        "deliver": lambda: deliver.run(count=arguments.count),
        "end_to_end": lambda: end_to_end.run(seconds=arguments.seconds, rate=arguments.rate),
        "tenants": lambda: tenants.run(
            connectors=arguments.connectors, backlog=arguments.backlog, seconds=arguments.seconds
        ),
        "hostile": lambda: hostile.run(seconds=arguments.seconds),
        "growth": lambda: growth.run(rows=arguments.rows, calls=arguments.calls),
    }
    names = list(runs) if arguments.name == "all" else [arguments.name]
    reports = [runs[name]() for name in names]
    if arguments.json:
        print(json.dumps(reports, indent=2))
    else:
        for report in reports:
            _print(report)


def _print(report: dict[str, Any]) -> None:
    rows: list[dict[str, Any]] = report["rows"]
    remarks = [f"{name}: {value}" for name, value in report.items() if name not in {"name", "rows"}]
    table = Table(title=report["name"], caption=", ".join(remarks))
    for column in rows[0]:
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
