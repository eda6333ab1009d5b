"""Many writers append to one table at once: every acknowledged commit is there exactly once."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from pipelines.errors import CommitConflictError
from pipelines.lake import Lake
from tests.fakes.fleets import FANS
from tests.sweep import ingesters


def run(writers: int, commits: int, uri: str = "", environ: Mapping[str, str] | None = None) -> str:
    """Let so many writers make so many commits each.

    Args:
        writers: How many.
        commits: Of each.
        uri: The store; a folder of its own when left out.
        environ: Where it is, as programs are told.
    """
    folder = "" if uri else tempfile.mkdtemp(prefix="tidemill-writers-")
    try:
        return _run(writers, commits, uri or folder, dict(environ or {}))
    finally:
        if folder:
            shutil.rmtree(folder)


def _run(writers: int, commits: int, uri: str, environ: Mapping[str, str]) -> str:
    before = dict(os.environ)
    os.environ.update(environ)
    try:
        return _observed(writers, commits, uri, environ)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _observed(writers: int, commits: int, uri: str, environ: Mapping[str, str]) -> str:
    table = Lake(uri).events(FANS)
    table.create()
    channels = [ingesters.pipe() for _ in range(writers)]
    processes = [
        ingesters.start(_write, number, commits, uri, environ, sender) for number, (_, sender) in enumerate(channels)
    ]
    with ingesters.killed_at_the_end(processes):
        told = [receiver.recv() for receiver, _ in channels]
        assert [ingesters.end(process) for process in processes] == [0] * writers
    rows = table.open().read(["device", "time"])
    found = Counter(zip(rows["device"].to_pylist(), rows["time"].to_pylist(), strict=True))
    assert set(found.values()) == {1}, found.most_common(3)
    assert set(found) == {key for acknowledged, _ in told for key in acknowledged}
    retries = sum(again for _, again in told)
    kind = "S3" if environ else "a folder"
    return f"writers: {writers} x {commits} commits on {kind}, {retries} retries, each there exactly once"


def _write(number: int, commits: int, uri: str, environ: Mapping[str, str], sender: Any) -> None:
    os.environ.update(environ)
    table = Lake(uri).events(FANS)
    name = f"writer-{number}"
    acknowledged, retries = [], 0
    for commit in range(1, commits + 1):
        row = pa.table([[name], [commit], ["test"], [""], [0]], schema=table.layout.schema)
        while True:
            try:
                table.open().append(row, transaction=(name, commit))
            except CommitConflictError:
                retries += 1
                if table.open().transaction(name) >= commit:
                    break  # it was there, although it did not look so
            else:
                break
        acknowledged.append((name, commit))
    sender.send((acknowledged, retries))
