"""Tables in object storage whose answers do not come, and processes that end as soon as they have read.

The clients run in processes of their own: the engine holds the interpreter's lock while it waits for some of its
answers, and a server in the same process could not give them.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
from botocore.retries import standard

from features.errors import TidemillError
from pipelines.lake import Lake, compact
from pipelines.materialize import materialize
from serving.s3 import connection
from serving.store import open_store
from tests.fakes.flaky_proxy import StallingProxy
from tests.fakes.fleets import FAN_FEATURES, FANS, NOON_US, Plant, reading
from tests.fakes.s3 import BUCKET, s3_server
from tests.fakes.small_tables import append, rows

URI = f"s3://{BUCKET}/stalling"
DELIVERIES = 3
MANY = 30
"""So many tiny files that threads are still busy with the last ones when all rows are there."""
READ = f"""
import sys
from pipelines.lake import Lake
from tests.fakes.fleets import FANS
table = Lake("{URI}/many").telemetry(FANS).open()
sys.exit(table.read().num_rows - {MANY})
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, str]]:
    with s3_server() as environ:
        filled = run(environ, "-c", f"from {__name__} import fill; fill()")
        assert filled.returncode == 0, filled.stderr[-2000:]
        yield environ


def run(environ: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command, environ = [sys.executable, *words], {**inherited, **environ}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=120)


def test_processes_that_end_as_soon_as_they_have_read_do_not_crash(server):
    with ThreadPoolExecutor(3) as pool:
        ends = list(pool.map(lambda _: run(server, "-c", READ), range(3)))
    assert [(end.returncode, end.stderr) for end in ends] == [(0, "")] * len(ends)


def test_compaction_and_panes_outlast_one_stalled_answer_and_give_up_on_more(server):
    upstream = server["AWS_ENDPOINT_URL"]
    once, always = (StallingProxy(upstream, always=always) for always in (False, True))
    try:
        told = run(server, "-m", "tests.integration.test_depot_s3", once.url, always.url)
    finally:
        once.close()
        always.close()
    assert told.returncode == 0, told.stderr[-2000:]
    found = json.loads(told.stdout)
    assert found["compacted"] == [DELIVERIES, 1]
    assert (found["rows"], found["panes"]) == (6 * DELIVERIES, DELIVERIES)
    assert found["given up"] == ["TM-203", "TM-203"]  # the store's own sentence, and not what Arrow or the engine says
    methods = {method for method, _ in once.stalled}
    assert {"GET", "PUT"} <= methods  # else nothing was stalled, and this tests nothing
    assert always.stalled
    assert max(always.stalled.values()) <= 1 + connection.ATTEMPTS  # of the bulk client and of boto3


def fill() -> None:
    """Telemetry of one date, in a file for each delivery; and one of many dates."""
    plant = Plant(Path(), open_store(URI))
    for number in range(DELIVERIES):
        begin = NOON_US + number * 600_000_000
        plant.write([reading("a", begin + minute * 60_000_000) for minute in range(6)])
        plant.ingest()
    days = [rows(["a"], number, f"2025-11-{1 + number:02d}") for number in range(MANY)]
    append(Lake(f"{URI}/many").telemetry(FANS), pa.concat_tables(days))


def client(once: str, always: str) -> dict[str, object]:
    """Compact and read where a first answer stalls, then where every one does."""
    connection.READ_S = 0.4
    waits = standard.ExponentialBackoff._DEFAULT_BACKOFF_CONFIG  # nobody is helped by waiting here
    waits.update(dict.fromkeys(waits, 0.02))
    os.environ["AWS_ENDPOINT_URL"] = once
    lake = Lake(URI)
    done = compact(lake.telemetry(FANS), 1, crowded=2)
    found: dict[str, object] = {"compacted": [done.removed, done.added]}
    materialize(lake, FAN_FEATURES)
    found |= {"rows": len(lake.telemetry(FANS).open().read())}
    found |= {"panes": len(lake.panes(FAN_FEATURES).open().read())}
    os.environ["AWS_ENDPOINT_URL"] = always
    lake = Lake(URI)
    with ThreadPoolExecutor(2) as pool:
        works = [lambda: compact(lake.telemetry(FANS), 1, crowded=0), lake.panes(FAN_FEATURES).open().read]
        return {**found, "given up": list(pool.map(outcome, works))}


def outcome(work: Callable[[], object]) -> str:
    """The code of the error that it ends with."""
    try:
        work()
    except TidemillError as error:
        return error.code
    return ""


if __name__ == "__main__":
    print(json.dumps(client(*sys.argv[1:])))
