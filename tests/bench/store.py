"""``make bench-store``: what reading and listing S3 costs, in CPU seconds of the client's process.

A server in a process of its own answers from memory as S3 would, so that the client is what is measured: small objects
of 4 kB and large ones of 8 MB by eight threads, and a listing of 100,000 keys. Ours (`serving.s3`, which also checks
bodies against their ETag) beside boto3 and obstore alone; every client runs in a fresh process, by turns.
"""

import asyncio
import bisect
import functools
import hashlib
import json
import os
import subprocess
import sys
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

from rich.console import Console

from serving.store import open_store
from tests.bench.stopwatch import Stopwatch, report
from tests.bench.table import Row, machine, of_runs, show, write

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "bench" / "store.json"
BUCKET, RUNS, THREADS = "bench", 3, 8
SMALL, SMALL_BYTES, LARGE, LARGE_BYTES, LISTED = 5_000, 4_000, 64, 8_000_000, 100_000
CLIENTS = ("ours", "boto3", "obstore")
UNITS = {"small": ("CPU s per 1,000 objects", SMALL / 1000), "large": ("CPU s per GB", LARGE * LARGE_BYTES / 1e9)}
UNITS["list"] = ("CPU s per 100,000 keys", LISTED / 100_000)


def main() -> None:
    """Measure every client in a process of its own, by turns, and print the table."""
    command = [sys.executable, "-m", "tests.bench.store"]
    server = subprocess.Popen([*command, "serve"], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        url = server.stdout.readline().strip()
        runs: dict[tuple[str, str], list[float]] = {}
        for _ in range(RUNS):
            for client in CLIENTS:
                for what, (_, size) in UNITS.items():
                    runs.setdefault((client, what), []).append(_cpu([*command, client, what], url) / size)
    finally:
        server.kill()
        server.wait()
    rows = [_row(what, unit, runs) for what, (unit, _) in UNITS.items()]
    write(rows, machine(), OUTPUT)
    show(rows, Console(), "Reading and listing S3: measured")


def _row(what: str, unit: str, runs: dict[tuple[str, str], list[float]]) -> Row:
    peers = {name: sorted(runs[name, what])[RUNS // 2] for name in CLIENTS[1:]}
    return of_runs(what, runs["ours", what], unit, peers=peers, note="loopback, answers from memory")


def _cpu(command: list[str], url: str) -> float:
    done = subprocess.run(command, cwd=ROOT, env=_environment(url), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["cpu"])


def _environment(url: str) -> dict[str, str]:
    account = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    return {**os.environ, **account, "AWS_ENDPOINT_URL": url, "AWS_EC2_METADATA_DISABLED": "true"}


def client(name: str, what: str) -> None:
    """Do one thing with one client and report what it cost."""
    get, listed = {"ours": _ours, "boto3": _boto3, "obstore": _obstore}[name]()
    names = [f"raw/{what}/{number}" for number in range(SMALL if what == "small" else LARGE)]
    get("raw/small/first")
    watch = Stopwatch()
    if what == "list":
        assert listed() == LISTED
    else:
        with ThreadPoolExecutor(THREADS) as pool:
            assert sum(pool.map(get, names)) == len(names) * (SMALL_BYTES if what == "small" else LARGE_BYTES)
    report(watch.stop())


def _ours() -> tuple[Callable[[str], int], Callable[[], int]]:
    store = open_store(f"s3://{BUCKET}")
    return lambda key: len(store.get(key)), lambda: sum(1 for _ in store.list("raw/"))


def _boto3() -> tuple[Callable[[str], int], Callable[[], int]]:
    import boto3
    from botocore.config import Config

    made = boto3.client("s3", config=Config(max_pool_connections=THREADS, response_checksum_validation="when_required"))
    pages = functools.partial(made.get_paginator("list_objects_v2").paginate, Bucket=BUCKET, Prefix="raw/")
    return (
        lambda key: len(made.get_object(Bucket=BUCKET, Key=key)["Body"].read()),
        lambda: sum(len(page["Contents"]) for page in pages()),
    )


def _obstore() -> tuple[Callable[[str], int], Callable[[], int]]:
    import obstore
    from obstore.store import S3Store

    made = S3Store(
        BUCKET,
        endpoint=os.environ["AWS_ENDPOINT_URL"],
        access_key_id="key",
        secret_access_key="secret",
        region="us-east-1",
        client_options={"allow_http": True},
    )
    return (
        lambda key: len(obstore.get(made, key).bytes().to_bytes()),
        lambda: sum(len(page) for page in obstore.list(made, "raw/", chunk_size=1000)),
    )


class _S3(asyncio.Protocol):
    """Just enough of S3: objects by kind, and pages of a listing."""

    keys: ClassVar = sorted(f"raw/{number // 60 % 24:02d}/hub-{number:06d}.json.gz" for number in range(LISTED))
    bodies: ClassVar = {"small": os.urandom(SMALL_BYTES), "large": os.urandom(LARGE_BYTES)}
    tags: ClassVar = {kind: hashlib.md5(body, usedforsecurity=False).hexdigest() for kind, body in bodies.items()}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._read = transport, b""

    def data_received(self, data: bytes) -> None:
        *requests, self._read = (self._read + data).split(b"\r\n\r\n")
        for request in requests:
            address = urllib.parse.urlsplit(request.split(b" ", 2)[1].decode())
            kind = "large" if "/large/" in address.path else "small"
            body = self.listing(dict(urllib.parse.parse_qsl(address.query))) if address.query else self.bodies[kind]
            head = f'HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nETag: "{self.tags[kind]}"\r\n'
            head += "Content-Type: application/xml\r\n" if address.query else ""
            self._transport.write(f"{head}Last-Modified: Mon, 24 Nov 2025 16:00:00 GMT\r\n\r\n".encode() + body)

    def listing(self, query: dict[str, str]) -> bytes:
        start = bisect.bisect_right(self.keys, query.get("continuation-token", ""))
        page = self.keys[start : start + 1000]
        rest = "<LastModified>2025-11-24T16:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag><Size>4000</Size>"
        items = "".join(f"<Contents><Key>{key}</Key>{rest}</Contents>" for key in page)
        last = start + 1000 >= LISTED
        more = "" if last else f"<NextContinuationToken>{page[-1]}</NextContinuationToken>"
        told = f"<IsTruncated>{str(not last).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>{more}"
        return f'<?xml version="1.0"?><ListBucketResult>{told}{items}</ListBucketResult>'.encode()


async def serve() -> None:
    """Answer until killed; the first line tells the address."""
    server = await asyncio.get_running_loop().create_server(_S3, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            main()
        case ["serve"]:
            asyncio.run(serve())
        case [name, what]:
            client(name, what)
