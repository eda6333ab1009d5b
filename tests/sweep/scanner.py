"""The JSON scanner under sanitizers, fed hundreds of thousands of damaged texts of many seeds."""

import re
import tempfile
from pathlib import Path

from tests.unit.pipelines.jsonscan.test_source import fuzzed

ROUNDS, SEEDS = 100_000, 8


def sanitized() -> bool:
    """Fuzz the scanner; it must read or refuse each text, and touch nothing but what it was given."""
    records = refused = 0
    for seed in range(1, SEEDS + 1):
        with tempfile.TemporaryDirectory() as folder:
            done = fuzzed(Path(folder), ROUNDS, seed)
        found = re.fullmatch(r"(\d+) records, (\d+) texts refused\n", done.stdout)
        if done.returncode or not found:
            print(f"   seed {seed}: {done.stdout}{done.stderr[-4000:]}")
            return False
        records, refused = records + int(found[1]), refused + int(found[2])
    print(f"   {SEEDS} seeds of {ROUNDS:,} texts: {records:,} records read, {refused:,} texts refused")
    return True
