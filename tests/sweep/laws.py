"""The laws of everything, each a test with drawn examples, over many more of them than in ``make test``."""

import os
import subprocess
import sys
from pathlib import Path

from hypothesis import settings

import tests.conftest  # noqa: F401 - registers the profiles

ROOT = Path(__file__).resolve().parents[2]
PROFILE = "sweep"


def hold() -> bool:
    """Hold them; those that say themselves how many examples they take, because each is slow, take no more."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", "tests/unit", "tests/parity"]
    environment = {**os.environ, "TIDEMILL_LAWS": PROFILE}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    examples = settings.get_profile(PROFILE).max_examples
    print(f"laws, {examples} examples each: {done.stdout.strip().splitlines()[-1]}", flush=True)
    return done.returncode == 0
