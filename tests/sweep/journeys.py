"""Journeys in a browser: those that take too long for ``make test``, and the others with more clicks."""

import os
import subprocess
import sys
from pathlib import Path

E2E = Path(__file__).parents[1] / "e2e"
CLICKS = "7"


def run() -> bool:
    """Live them; whether all came to their ends."""
    files = [*sorted(E2E.glob("test_*_in_the_browser.py")), *sorted(E2E.glob("sweep_*.py"))]
    command = [sys.executable, "-m", "pytest", "-q", *map(str, files)]
    return subprocess.run(command, env={**os.environ, "JOURNEY_CLICKS": CLICKS}, check=False).returncode == 0
