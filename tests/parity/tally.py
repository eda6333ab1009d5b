"""How many cases the parity suite holds, said at the end of a run, whichever workers they ended in."""

from collections import Counter
from pathlib import Path

import pytest

HERE = Path(__file__).parent.name


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Count the cases by how they ended, and the paths they took."""
    ended: Counter[str] = Counter()
    paths: Counter[str] = Counter()
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.getreports(outcome):
            if f"/{HERE}/" not in report.nodeid or getattr(report, "when", "call") == "teardown":
                continue
            ended[outcome] += 1
            if report.nodeid.endswith("]") and ":" in report.nodeid.rpartition("[")[2]:
                paths[report.nodeid.rpartition(":")[2].rstrip("]")] += 1
    if ended:
        by_path = ", ".join(f"{path} {count}" for path, count in paths.most_common())
        how = ", ".join(f"{count} {outcome}" for outcome, count in ended.items())
        terminalreporter.write_line(f"parity: {how} ({by_path})")
