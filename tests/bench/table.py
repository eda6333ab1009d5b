"""Rows of a benchmark: a value, what was hoped for, and how it came about."""

import json
import operator
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

_COMPARISONS = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True, slots=True)
class Row:
    """One measured quantity.

    Args:
        id: Its name.
        value: The median of the runs.
        unit: The unit of the value.
        goal: ``>= 0.7`` or ``<= 0.4``; None where it is only reported.
        runs: Each run.
        peers: What others reached, in the unit of the value.
        note: How it was measured.

    Example:
        >>> Row("share", 0.75, "1", ">= 0.7").met, Row("peak", 0.5, "GiB", "<= 0.4").met, Row("other", 1.0, "s").met
        (True, False, None)
    """

    id: str
    value: float
    unit: str
    goal: str | None = None
    runs: Sequence[float] = ()
    peers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        comparison, number = self.goal.split()
        return bool(_COMPARISONS[comparison](self.value, float(number)))


def of_runs(name: str, runs: Sequence[float], unit: str, goal: str | None = None, **more: Any) -> Row:
    """A row whose value is the median of its runs."""
    return Row(name, statistics.median(runs), unit, goal, list(runs), **more)


def document(rows: Sequence[Row], machine: Mapping[str, Any]) -> dict[str, Any]:
    """The rows as they are stored."""
    return {"machine": dict(machine), "rows": [asdict(row) for row in rows]}


def write(rows: Sequence[Row], machine: Mapping[str, Any], path: Path) -> None:
    """Store the rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(rows, machine), indent=1) + "\n")


def show(rows: Sequence[Row], console: Console, title: str) -> None:
    """Print the rows for people."""
    table = Table(title=title, title_justify="left")
    beside = ["peers"] if any(row.peers for row in rows) else []
    for name in ("id", "value", "goal", "", "runs", *beside):
        number = name in ("value", "goal")
        table.add_column(name, justify="right" if number else "left", overflow="fold", no_wrap=number or name == "id")
    for row in rows:
        mark = {True: "[green]reached[/]", False: "[red]missed[/]", None: ""}[row.met]
        spread = f"{brief(min(row.runs))} to {brief(max(row.runs))}" if len(row.runs) > 1 else ""
        peers = ", ".join(f"{name} {brief(value)}" for name, value in row.peers.items())
        value = f"{brief(row.value)} {row.unit}".removesuffix(" 1")
        table.add_row(row.id, value, row.goal or "", mark, spread, *[peers for _ in beside])
    console.print(table)
    for row in rows:
        if row.note:
            console.print(f"[bold]{row.id}[/]: {row.note}", highlight=False)


def brief(value: float) -> str:
    """A number in three digits, as people write it.

    Example:
        >>> [brief(value) for value in (0.00123, 0.734, 2.5, 8_640_000.0, 1250.0)]
        ['0.00123', '0.734', '2.5', '8.64 M', '1.25 k']
    """
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def machine() -> dict[str, Any]:
    """The machine this runs on, and how busy it was."""
    models = [
        line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
