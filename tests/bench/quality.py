"""``make bench-quality``: how good the models of the use cases are on public sets, the protocol beside each number.

``BENCH_ONLY=<words>`` takes the sets whose name holds the words; their rows replace those of an earlier run. Sets are
looked for in ``$TIDEMILL_DATA``.
"""

import json
import os
import sys

from rich.console import Console

from tests.bench import quality_lives, quality_states, table
from tests.bench.protocol import measure
from tests.bench.runs import ROOT
from tests.bench.table import Row

OUTPUT = ROOT / "build" / "bench" / "quality.json"
PROTOCOLS = [*quality_lives.PROTOCOLS, *quality_states.PROTOCOLS]


def main() -> None:
    """Measure, print, store."""
    if "TIDEMILL_DATA" not in os.environ:
        sys.exit("TIDEMILL_DATA names no folder of public sets")
    machine, console = table.machine(), Console()
    chosen = os.environ.get("BENCH_ONLY", "")
    rows: list[Row] = []
    for protocol in PROTOCOLS:
        if chosen in protocol.name:
            console.print(f"[bold]{protocol.name}[/]")
            rows += measure(protocol)
            table.write(_with_earlier(rows), machine, OUTPUT)
    table.show(rows, console, "quality")


def _with_earlier(rows: list[Row]) -> list[Row]:
    """These rows, after those of an earlier run that were not measured anew."""
    if not OUTPUT.exists():
        return rows
    new = {row.id for row in rows}
    earlier = [Row(**row) for row in json.loads(OUTPUT.read_text())["rows"]]
    return [*(row for row in earlier if row.id not in new), *rows]


if __name__ == "__main__":
    main()
