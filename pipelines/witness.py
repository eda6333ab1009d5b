"""Watches an ingest and leaves its data report: figures as JSON, pictures as HTML, counters for Prometheus.

    reports/ingest/<fleet>/<run>.json     what a run brought, see `pipelines.findings`
    reports/ingest/<fleet>/<run>.html     the same as one page
    reports/ingest/<fleet>/memory.json.gz what later runs are compared with

Runs are numbered from one. A run that finds nothing new leaves no report. What was committed before a run was killed is
in no report, because a report describes what one run saw; the ledger has the counts of every batch.
"""

import contextlib
import gzip
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from features.schema import Fleet
from pipelines import findings
from pipelines.datapage import page
from pipelines.datareport import Arrivals, merged, nothing, of_batch
from pipelines.errors import ReportMissingError
from pipelines.findings import Memory
from pipelines.quarantine import Kept
from pipelines.reading import Reading
from serving.errors import MissingObjectError
from serving.store import Store


@dataclass(frozen=True, slots=True)
class Testimony:
    """What a run is known by afterwards.

    Attributes:
        report: The data report; None when the run brought nothing new.
        key: Where it lies in the store; its page lies beside it, as ``.html``.
        warnings: What is out of the ordinary.
        memory: What is remembered now.
        arrivals: The sums of the run.
    """

    report: Mapping[str, Any] | None
    key: str
    warnings: tuple[str, ...]
    memory: Memory
    arrivals: Arrivals

    @property
    def page_key(self) -> str:
        """Where the page of the report lies."""
        return self.key.removesuffix("json") + "html"


class ReportWitness:
    """Sums up the batches of one run; see `pipelines.ingest.Witness`.

    Args:
        store: Where the report is left.
        fleet: What was declared.
        now_us: The clock, UTC microseconds.
    """

    def __init__(self, store: Store, fleet: Fleet, now_us: int) -> None:
        self._store = store
        self._fleet = fleet
        self._now_us = now_us
        self._arrivals = nothing(fleet)
        self._batches = 0
        self.testimony = Testimony(None, "", (), Memory(), self._arrivals)

    def batch(self, stream: str, read: Reading, kept: Kept, counts: Mapping[str, int]) -> None:
        """Add a batch that was committed."""
        self._batches += 1
        if stream == "telemetry":
            found = replace(of_batch(self._fleet, read.rows, kept, counts), unknown=read.unknown)
        else:  # of events only the number is of interest
            told = Counter({name: counts.get(name, 0) for name in ("objects", "events", "unreadable")})
            found = replace(nothing(self._fleet), counts=told, reasons=kept.reasons)
        self._arrivals = merged(self._arrivals, found)

    def close(self, damaged: int) -> None:
        """Write the report of the run, of which so many objects came damaged; the next one tries them again."""
        self._arrivals = replace(self._arrivals, damaged=damaged)
        before = read_memory(self._store, self._fleet.name)
        if not self._batches:
            told = findings.warnings(self._fleet, before.newest_us, None, before, self._now_us)
            self.testimony = Testimony(None, "", tuple(told), before, self._arrivals)
            return
        run = before.runs + 1
        while True:
            report = findings.document(self._fleet, self._arrivals, before, run, self._now_us)
            key = f"{_folder(self._fleet.name)}{run:08d}.json"
            if self._store.put_if_absent(key, json.dumps(report, indent=1, allow_nan=False).encode()):
                break
            run += 1  # another run has just ended
        memory = findings.remember(before, self._arrivals, run)
        self.testimony = Testimony(report, key, tuple(report["warnings"]), memory, self._arrivals)
        self._store.put(self.testimony.page_key, page(self._fleet, report).encode())
        self._store.put(_memory_key(self._fleet.name), gzip.compress(memory.to_json(), mtime=0))


def read_memory(store: Store, fleet: str) -> Memory:
    """What is remembered of earlier runs; nothing when it is missing or damaged: it only serves comparisons."""
    with contextlib.suppress(MissingObjectError, ValueError, TypeError, KeyError, OSError, EOFError):
        return Memory.from_json(gzip.decompress(store.get(_memory_key(fleet))))
    return Memory(runs=max(runs(store, fleet), default=0))


def runs(store: Store, fleet: str) -> list[int]:
    """The numbers of the runs that left a report, sorted."""
    names = (entry.key.rpartition("/")[2] for entry in store.list(_folder(fleet)))
    return sorted(int(name[:8]) for name in names if name[8:] == ".json" and name[:8].isdigit())


def read_report(store: Store, fleet: str, run: int | None = None) -> tuple[str, dict[str, Any]]:
    """Read the report of a run, or of the latest; return its key as well.

    Raises:
        ReportMissingError: There is none.
    """
    number = max(runs(store, fleet), default=0) if run is None else run
    key = f"{_folder(fleet)}{number:08d}.json"
    try:
        return key, json.loads(store.get(key))
    except MissingObjectError as error:
        what = "no ingest has left a report yet" if run is None else f"run {run} left no report"
        raise ReportMissingError(what, where=key, fix=f"tidemill ingest {fleet}, or name another run") from error


def _folder(fleet: str) -> str:
    return f"reports/ingest/{fleet}/"


def _memory_key(fleet: str) -> str:
    return f"{_folder(fleet)}memory.json.gz"
