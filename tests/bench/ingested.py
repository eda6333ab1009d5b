"""Our ingest, each job measured in a process of its own: ``python -m tests.bench.ingested JOB ARGUMENT...``.

Stores are copied by hard links: raw objects are never changed, and the tables are made anew each time.
"""

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from features.schema import Fleet, Mapping
from pipelines.ingest import IngestSummary
from pipelines.ingest import ingest as take_in
from pipelines.lake import Lake
from serving.store import open_store
from tests.bench.fleet import DAY_US, FIRST_DAY_US, FLEET
from tests.bench.raw import json_lines, messages
from tests.bench.stopwatch import Stopwatch, report

NOW_US = FIRST_DAY_US + 30 * DAY_US
REFUSED = tuple(replace(signal, low=-2e6, high=-1e6, limit=None) for signal in FLEET.signals)
FLEETS = {
    "json": replace(FLEET, mapping=Mapping(signals="values")),
    "parquet": FLEET,
    "refused": replace(FLEET, mapping=Mapping(signals="values"), signals=REFUSED),
    "mistyped": replace(FLEET, mapping=Mapping(signals="values", time_unit="iso")),
}
"""``refused`` believes no value, so that columns are judged away; in ``mistyped`` each record is at fault by itself."""


def ingest(source: str, work: str, kind: str, expected: str) -> None:
    """Take in a store of raw objects."""
    _copied(source, work)
    watch = Stopwatch()
    summary = _run(work, FLEETS[kind])
    measured = watch.stop(messages=summary.records)
    _clear(work)
    taken = summary.quarantined if kind in {"refused", "mistyped"} else summary.accepted
    if taken != int(expected):
        sys.exit(f"{summary} is not what was meant: {expected} messages")
    report(measured)


def rerun(source: str, work: str) -> None:
    """Take in a store, and then once more when there is nothing new."""
    _copied(source, work)
    first = _run(work, FLEETS["json"])
    watch = Stopwatch()
    again = _run(work, FLEETS["json"])
    measured = watch.stop(objects=first.objects)
    _clear(work)
    if again.objects:
        sys.exit(f"the second run took in {again.objects} objects")
    report(measured)


def history(work: str, commits: str) -> None:
    """Small batches, one after the other, and what the last ten of them took, each."""
    root = Path(work)
    _clear(work)
    folder = root / "raw" / FLEET.name / "telemetry"
    folder.mkdir(parents=True)
    watch = Stopwatch()
    for number in range(int(commits)):
        if number == int(commits) - 10:
            watch = Stopwatch()
        (folder / f"{number:06d}.json").write_bytes(json_lines(messages(number * 100, 100)))
        _run(work, FLEETS["json"])
    measured = watch.stop()
    _clear(work)
    report({"wall": measured["wall"] / 10, "cpu": measured["cpu"] / 10, "peak_mib": measured["peak_mib"]})


def _run(root: str, fleet: Fleet) -> IngestSummary:
    store = open_store(root)
    return take_in(store, Lake(store.uri), fleet, NOW_US)


def _copied(source: str, work: str) -> None:
    _clear(work)
    shutil.copytree(source, work, copy_function=os.link)


def _clear(work: str) -> None:
    shutil.rmtree(work, ignore_errors=True)


JOBS: dict[str, Callable[..., None]] = {job.__name__: job for job in (ingest, rerun, history)}

if __name__ == "__main__":
    JOBS[sys.argv[1]](*sys.argv[2:])
