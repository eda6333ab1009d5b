"""Ingests through a proxy that breaks what passes it: whatever happens, the table ends as if nothing had.

Each round writes objects, plain and gzipped, takes them in through the proxy by runs that are repeated as a scheduler
would repeat them, and compares rows and rejects with those of one undisturbed run over a folder. Bytes changed in
listings or in the logs of tables are not among the faults: nobody looks at a checksum of these.
"""

import gzip
import json
import os
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pyarrow.parquet as pq

from pipelines.quarantine import batches, read
from serving.store import Store, open_store
from tests.fakes.flaky_proxy import flaky_proxy
from tests.fakes.fleets import DAY_US, FANS, MINUTE_US, NOON_US, Plant, reading
from tests.fakes.s3 import BUCKET, s3_server

GOAL, SEED = 500, 7
OBJECTS, SHARE = 40, 0.5
_ACCOUNT = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
_ROOT = Path(__file__).resolve().parents[2]
_INGEST = """
import json, os, sys
import pyarrow.parquet as pq
from pathlib import Path
from botocore.retries import standard
from features.errors import TidemillError
from pipelines import batches, ingest
from pipelines.lake import Lake
from serving.s3 import connection
from serving.store import open_store
from tests.fakes.fleets import DAY_US, FANS, NOON_US, Plant
from tests.sweep.store_faults import rejects
uri, server, rows, rejected = sys.argv[1:]
connection.READ_S = 0.6
standard.ExponentialBackoff._DEFAULT_BACKOFF_CONFIG = dict.fromkeys(
    standard.ExponentialBackoff._DEFAULT_BACKOFF_CONFIG, 0.02)  # nobody is helped by waiting here
batches._BATCH_OBJECTS = 16
store = open_store(uri)
for run in range(1, 200):
    try:
        ingest.ingest(store, Lake(store.uri), FANS, NOON_US + DAY_US)
        break
    except TidemillError as error:
        print(error.code, flush=True)
else:
    sys.exit(1)
os.environ["AWS_ENDPOINT_URL"] = server  # past the proxy, to look at what came of it
store = open_store(uri)
pq.write_table(Plant(Path(), store).rows(), rows)
Path(rejected).write_text(json.dumps(rejects(store)))
"""


def sweep(goal: int = GOAL, seed: int = SEED) -> bool:
    """Go on until there were so many faults; prints a line, and whether every table was right."""
    faults: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    rounds, sound = 0, True
    with s3_server() as environ:
        while sound and faults.total() < goal:
            rounds += 1
            with tempfile.TemporaryDirectory() as folder:
                met, told, sound = _round(environ, seed + rounds, Path(folder))
            faults += met
            errors += told
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(faults.items()))
    runs = ", ".join(f"{count} {code}" for code, count in sorted(errors.items()))
    print(
        f"store faults, seed {seed}: {faults.total()} in {rounds} ingests of {OBJECTS} objects ({kinds}); "
        f"runs that gave up: {runs or 'none'}; {'every table right' if sound else 'A TABLE IS WRONG'}",
        flush=True,
    )
    return sound


def rejects(store: Store) -> list[tuple[str, int, str, str]]:
    """What was rejected: object, position, reason and bytes, sorted."""
    lines = [line for batch in batches(store, FANS.name) for line in read(store, FANS.name, batch.name)]
    return sorted((line.key, line.ordinal, line.reason, line.data.decode(errors="backslashreplace")) for line in lines)


def _round(environ: Mapping[str, str], seed: int, folder: Path) -> tuple[Counter[str], Counter[str], bool]:
    reference, uri = Plant(folder, open_store(str(folder / "store"), create=True)), f"s3://{BUCKET}/{seed}"
    client = boto3.client("s3", endpoint_url=environ["AWS_ENDPOINT_URL"], **_ACCOUNT)
    for key, data in _objects(random.Random(seed)):
        reference.store.put(key, data)
        client.put_object(Bucket=BUCKET, Key=f"{seed}/{key}", Body=data)
    summary = reference.ingest(NOON_US + DAY_US)
    assert summary.accepted, "nothing is taken in, so this tests nothing"
    server, shown = environ["AWS_ENDPOINT_URL"], [folder / "rows.parquet", folder / "rejects.json"]
    with flaky_proxy(server, seed, SHARE) as proxy:
        done = _run([uri, server, *map(str, shown)], {**environ, "AWS_ENDPOINT_URL": proxy.url})
    if done.returncode:
        print(f"seed {seed}:", done.stderr[-2000:])
        return proxy.faults, Counter(done.stdout.split()), False
    same = pq.read_table(shown[0]).to_pylist() == reference.rows().to_pylist()
    same = same and json.loads(shown[1].read_text()) == [list(line) for line in rejects(reference.store)]
    return proxy.faults, Counter(done.stdout.split()), same


def _objects(choice: random.Random) -> Iterator[tuple[str, bytes]]:
    """Objects with readings of three fans, some of them twice, some spoilt."""
    sent: list[bytes] = []
    for number in range(OBJECTS):
        lines = []
        for _ in range(12):
            if sent and choice.random() < 0.1:
                line = choice.choice(sent)
            else:
                minute = choice.randrange(3 * 24 * 60)
                fan = f"fan-{choice.randrange(3)}-{number % 7}"
                speed = 9999.0 if choice.random() < 0.02 else float(choice.randrange(3000))
                line = json.dumps(reading(fan, NOON_US - minute * MINUTE_US, speed)).encode()
                line = line[:-9] if choice.random() < 0.02 else line
                sent.append(line)
            lines.append(line)
        body = b"\n".join(lines)
        name = f"raw/{FANS.name}/telemetry/2025/11/{21 + number % 3}/{number % 24:02d}/hub-{number:04d}.json"
        yield (f"{name}.gz", gzip.compress(body, mtime=0)) if number % 2 else (name, body)


def _run(words: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(
        [sys.executable, "-c", _INGEST, *words],
        cwd=_ROOT,
        env={**inherited, "PYTHONPATH": str(_ROOT), **environ},
        capture_output=True,
        text=True,
        check=False,
    )
