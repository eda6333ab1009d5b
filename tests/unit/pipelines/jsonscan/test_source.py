"""The scanner's source under strict warnings and sanitizers, fed damaged text."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines import jsonscan

SOURCE = Path(jsonscan.__file__).parent
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
SANITIZED = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]


def fuzzed(folder: Path, rounds: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Compile the fuzzer and run it."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler on this machine")
    program = folder / "fuzz"
    sources = [Path(__file__).parent / "fuzz.c", SOURCE / "scan.c"]
    command: list[str | Path] = [compiler, *STRICT, *SANITIZED, f"-I{SOURCE}", "-o", program, *sources, "-lm"]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run(
        [program, str(rounds), str(seed)], env=environment, capture_output=True, text=True, check=False
    )


def test_damaged_text_leads_nowhere_it_should_not(tmp_path):
    done = fuzzed(tmp_path, 4000, seed=3)
    assert done.returncode == 0, done.stderr
    found = re.fullmatch(r"(\d+) records, (\d+) texts refused\n", done.stdout)
    assert found
    assert int(found[1]) > 10_000
    assert int(found[2]) > 1_000
