"""The upkeep of tables over the real S3 protocol: the same as on a local disk.

The client runs in a process of its own: looking whether a table exists, the engine holds the interpreter's lock, and a
server in the same process could not answer.
"""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from pipelines.lake import Lake, compact
from pipelines.lake.stock import stock
from pipelines.lake.upkeep import upkeep
from tests.fakes.fleets import FANS
from tests.fakes.s3 import BUCKET, s3_server
from tests.fakes.small_tables import append, contents, now_us, rows


def test_a_bucket_is_looked_after_like_a_folder():
    with s3_server() as server:
        told = subprocess.run(
            [sys.executable, "-m", "tests.integration.test_upkeep_s3"],
            env={**{k: v for k, v in os.environ.items() if not k.startswith("AWS_")}, **server},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert told.returncode == 0, told.stderr[-2000:]
    found = json.loads(told.stdout)
    assert found["compacted at once"] >= 1
    assert (found["rows after two compactions"], found["rows after upkeep"]) == (6, 10)
    assert found["files"] == 1
    assert (found["merged"], found["kept"], found["old version"]) == ([5, 1], [2], 4)
    assert found["checkpoint"] == found["version"]


def client() -> dict[str, object]:
    """Small files in two tables: two compactions at once in one, the upkeep in the other."""
    raced, kept = (Lake(f"s3://{BUCKET}/{name}").telemetry(FANS) for name in ("raced", "kept"))
    for table, count in ((raced, 3), (kept, 5)):
        for moment in range(count):
            append(table, rows(["a", "b"], moment))
    found: dict[str, object] = {}
    start = threading.Barrier(2)

    def work(_: int) -> int:
        start.wait()
        return compact(raced, 1, crowded=2).dates

    with ThreadPoolExecutor(2) as pool:
        found["compacted at once"] = sum(pool.map(work, range(2)))
    found["rows after two compactions"] = len(contents(raced))
    held = stock(raced)
    found["files"] = held.files if held else 0
    done = upkeep(kept, now_us(), named=[2])
    found |= {"merged": [done.compacted.removed, done.compacted.added], "kept": done.kept}
    found |= {"checkpoint": done.checkpoint, "version": kept.version(), "rows after upkeep": len(contents(kept))}
    return {**found, "old version": kept.open(2).read().num_rows}


if __name__ == "__main__":
    print(json.dumps(client()))
