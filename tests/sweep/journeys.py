"""Journeys in a browser that take too long for ``make test``: what two people and the ledger say of a release."""

import subprocess
import sys
from pathlib import Path

E2E = Path(__file__).parents[1] / "e2e"


def run() -> bool:
    """Live them; whether all came to their ends."""
    files = [str(path) for path in sorted(E2E.glob("sweep_*.py"))]
    return subprocess.run([sys.executable, "-m", "pytest", "-q", *files], check=False).returncode == 0
