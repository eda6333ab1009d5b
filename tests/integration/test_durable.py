"""What a commit names is on the disk before the commit counts: the system calls of a real process, seen by strace."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.lake import Lake
from pipelines.lake.upkeep import upkeep
from tests.fakes.fleets import FANS
from tests.fakes.small_tables import append, now_us, rows

STRACE = shutil.which("strace")
DONE = "acknowledged"


@pytest.mark.skipif(STRACE is None, reason="strace is not installed")
def test_append_compaction_and_checkpoint_reach_the_disk_before_they_count(tmp_path: Path):
    table = Lake(str(tmp_path)).telemetry(FANS)
    for moment in range(5):
        append(table, rows(["a", "b"], moment))
    before = table.version()
    trace = tmp_path / "trace"
    follow = [str(STRACE), "-f", "-y", "-s", "200", "-e", "trace=fsync,write", "-o", str(trace)]
    told = subprocess.run(
        [*follow, sys.executable, "-m", "tests.integration.test_durable", str(tmp_path)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
        capture_output=True,
        text=True,
        check=False,
    )
    if "ptrace" in told.stderr:
        pytest.skip("this machine lets nobody trace a process")
    assert told.returncode == 0, told.stderr[-2000:]
    lines = trace.read_text(errors="replace").splitlines()
    acknowledged = [number for number, line in enumerate(lines) if f'"{DONE}' in line]
    assert len(acknowledged) == 2
    log = Path(table.uri) / "_delta_log"
    for number, versions in zip(acknowledged, ([before + 1], [before + 2]), strict=True):
        synced = {found[1] for line in lines[:number] if (found := re.search(r"fsync\(\d+<([^>]+)>", line))}
        for version in versions:
            entry = log / f"{version:020d}.json"
            added = [json.loads(each).get("add") for each in entry.read_text().splitlines()]
            files = [Path(table.uri) / each["path"] for each in added if each]
            assert files
            assert {str(each) for path in files for each in (path, path.parent)} <= synced
            assert {str(entry), str(log)} <= synced
    assert {str(log / "_last_checkpoint"), str(log / f"{before + 2:020d}.checkpoint.parquet")} <= synced


def client(folder: str) -> None:
    """Append, and say so; then compact and sum up, and say so."""
    table = Lake(folder).telemetry(FANS)
    append(table, rows(["a", "b"], 9))
    print(DONE, flush=True)
    upkeep(table, now_us())
    print(DONE, flush=True)


if __name__ == "__main__":
    client(sys.argv[1])
