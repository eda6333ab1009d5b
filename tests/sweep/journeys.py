"""Journeys in a browser: those that take too long for ``make test``, and the others with more clicks."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

E2E = Path(__file__).parents[1] / "e2e"
RESULT = Path("build/journeys.xml")
CLICKS = "7"


def run() -> bool:
    """Live them, print what they measured, and return whether all came to their ends."""
    files = [*sorted(E2E.glob("test_*_in_the_browser.py")), *sorted(E2E.glob("sweep_*.py"))]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-o",
        "junit_family=xunit1",
        f"--junitxml={RESULT}",
        *map(str, files),
    ]
    code = subprocess.run(command, env={**os.environ, "JOURNEY_CLICKS": CLICKS}, check=False).returncode
    for journey in ET.parse(RESULT).iter("testcase"):
        measured = [f"{each.get('name')}: {each.get('value')}" for each in journey.iter("property")]
        print(f"   {journey.get('name')}, {float(journey.get('time', 0)):.0f} s", *measured, sep="; ")
    return code == 0
