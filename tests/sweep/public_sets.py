"""Every public set in ``$TIDEMILL_DATA``, whole: imported, damaged on its way, ingested, every record accounted for.

Prints a table: what came in is what was accepted, quarantined, a duplicate or superseded. As the sets are, nothing is
quarantined; with faults exactly what was spoilt is. An object without a sound record is one reject; it counts as its
lines.
"""

import gzip
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from features import catalog
from infra.local.console import table
from pipelines import quarantine
from pipelines.importers import azure_pdm, backblaze, cmapss, femto, nab, occupancy, skab
from pipelines.importers.arrivals import Imported, Reading, Report, Target, write
from pipelines.importers.faults import Faults
from pipelines.ingest import IngestSummary, ingest
from pipelines.lake import Lake
from pipelines.rejects import WHOLE
from serving.store import Store, open_store

ITEMS: Final[Mapping[str, Callable[[Path], Iterator[Reading | Report]]]] = {
    module.FLEET: module.items for module in (azure_pdm, backblaze, cmapss, femto, nab, occupancy, skab)
}
SEED: Final = 20_261_126
FAULTS: Final = Faults(late_share=0.02, duplicate_share=0.05, disorder_share=0.05, corrupt_share=0.01, seed=SEED)
HEADER: Final = ("set", "records in", "accepted", "quarantined", "duplicates", "superseded", "events", "seconds")


@dataclass(frozen=True, slots=True)
class Account:
    """What came in of a set and what became of it."""

    name: str
    records: int
    accepted: int
    quarantined: int
    duplicates: int
    superseded: int
    events: int
    seconds: float

    @property
    def balanced(self) -> bool:
        """Whether every record is accounted for."""
        return self.records == self.accepted + self.quarantined + self.duplicates + self.superseded


@dataclass(frozen=True, slots=True)
class Taken:
    """One set imported and ingested: what was written, what the ingest made of it, records in quarantine, seconds."""

    imported: Imported
    ingested: IngestSummary
    rejected: int
    seconds: float

    def account(self, name: str) -> Account:
        """The row of the table."""
        done, written = self.ingested, self.imported.messages
        dropped = done.duplicates, done.superseded
        return Account(name, written, done.accepted, self.rejected, *dropped, done.events, round(self.seconds, 1))


def take(
    name: str,
    items: Iterable[Reading | Report],
    place: Path,
    *,
    faults: Faults | None = None,
    until_us: int | None = None,
) -> Taken:
    """Import and ingest one set into a store of its own at ``place``."""
    began = time.monotonic()
    store, fleet = open_store(str(place), create=True), catalog.load(name).fleet
    imported = write(store, Target.of(fleet), items, faults=faults, until_us=until_us)
    ingested = ingest(store, Lake(store.uri), fleet, time.time_ns() // 1000)
    took = time.monotonic() - began
    return Taken(imported, ingested, _quarantined(store, name), took)


def _quarantined(store: Store, fleet: str) -> int:
    """Records that lie in quarantine."""
    rejects = (
        reject for batch in quarantine.batches(store, fleet) for reject in quarantine.read(store, fleet, batch.name)
    )
    return sum(len(gzip.decompress(each.data).splitlines()) if each.ordinal == WHOLE else 1 for each in rejects)


def lines(accounts: Sequence[Account]) -> list[str]:
    """The table, for people."""
    return table(HEADER, [astuple(account) for account in accounts])


def sound(names: Sequence[str] = tuple(ITEMS), faults: Sequence[Faults] = (Faults(), FAULTS)) -> bool:
    """Take every set as it is and with faults, print the tables; whether all accounts are balanced."""
    folder, holds = Path(os.environ["TIDEMILL_DATA"]), True
    for fault in faults:
        print(f"public sets, {fault}", flush=True)
        accounts = []
        for name in names:
            with tempfile.TemporaryDirectory() as place:
                taken = take(name, ITEMS[name](folder / name), Path(place) / "store", faults=fault)
            accounts.append(taken.account(name))
            spoilt = taken.imported.faults.get("spoilt", 0)
            if not accounts[-1].balanced or accounts[-1].quarantined != spoilt:
                print(f"{name}: {spoilt} were spoilt, and the account is {accounts[-1]}", flush=True)
                holds = False
        print("\n".join(lines(accounts)), flush=True)
    return holds


def main() -> bool:
    """Take every set, where there are any."""
    if "TIDEMILL_DATA" not in os.environ:
        print("public sets: left out, TIDEMILL_DATA names no folder")
        return True
    return sound()


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
