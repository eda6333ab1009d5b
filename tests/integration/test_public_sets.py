"""Public sets by the road of all telemetry: every record is accepted, quarantined, a duplicate or superseded.

Slices of the large sets; ``make sweep`` takes all of them whole.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.importers.arrivals import Reading
from pipelines.importers.rows import moment
from tests.sweep.public_sets import FAULTS, ITEMS, SEED, Account, lines, take

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("TIDEMILL_DATA" not in os.environ, reason="TIDEMILL_DATA names no folder of public sets"),
]


@dataclass(frozen=True, slots=True)
class Slice:
    """Files of a set, and until when their messages arrive."""

    files: tuple[str, ...]
    until: str | None = None


SLICES = {
    "azure_pdm": Slice(("*",), "2015-01-04"),
    "backblaze": Slice(("2013-04-16.csv.gz", "2013-04-17.csv.gz")),
    "cmapss": Slice(("train_FD001*",), "2020-01-05"),
    "femto": Slice(("Bearing3_1.parquet",)),
    "nab": Slice(("realKnownCause/ec2*", "labels/combined_windows.json")),
    "occupancy": Slice(("datatest.txt.gz",)),
    "skab": Slice(("anomaly-free/*", "valve1/0.csv.gz", "valve1/1.csv.gz")),
}
ALREADY_TWICE = {"nab": 11}  # times that stand twice in the files themselves, with other values
EVENTS = {"azure_pdm": 85, "backblaze": 15, "femto": 1, "nab": 6, "occupancy": 28, "skab": 17}


@pytest.fixture(scope="module")
def accounts() -> Iterator[list[Account]]:
    """Rows of the table that is printed at the end."""
    found: list[Account] = []
    yield found
    print("\n".join(["", *lines(found)]))


def linked(name: str, place: Path) -> Path:
    """The slice of a set as a folder."""
    source = Path(os.environ["TIDEMILL_DATA"], name)
    for pattern in SLICES[name].files:
        for path in source.glob(pattern):
            link = place / name / path.relative_to(source)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(path)
    return place / name


def until(name: str) -> int | None:
    return moment(moment_) if (moment_ := SLICES[name].until) else None


@pytest.mark.parametrize("name", SLICES)
def test_a_set_as_it_is_loses_nothing_and_nothing_of_it_is_rejected(name, tmp_path, accounts):
    folder = linked(name, tmp_path)
    taken = take(name, ITEMS[name](folder), tmp_path / "store", until_us=until(name))
    account = taken.account(name)
    accounts.append(account)
    assert account.balanced
    limit = until(name) or 2**62
    readings = (item for item in ITEMS[name](folder) if isinstance(item, Reading) and item.time_us + 2_000_000 < limit)
    keys = [(reading.device, reading.time_us // 1000) for reading in readings]
    assert (account.records, account.accepted) == (len(keys), len(set(keys)))
    assert (account.quarantined, account.duplicates, account.superseded) == (0, 0, ALREADY_TWICE.get(name, 0))
    assert account.events == sum(taken.imported.events.values()) == EVENTS.get(name, 0)
    again = take(name, ITEMS[name](folder), tmp_path / "store", until_us=until(name))
    assert (again.imported.objects, again.imported.messages, again.ingested.objects) == (0, 0, 0)


@pytest.mark.parametrize("name", ["femto", "nab", "occupancy", "skab"])
def test_a_set_with_faults_is_the_same_but_for_what_was_spoilt(name, tmp_path, accounts):
    print(f"seed {SEED}")
    folder = linked(name, tmp_path)
    taken = take(name, ITEMS[name](folder), tmp_path / "store", faults=FAULTS)
    account, faults = taken.account(f"{name}, faults"), taken.imported.faults
    accounts.append(account)
    assert account.balanced
    assert account.quarantined == faults["spoilt"]
    twice = account.duplicates + account.superseded - faults["duplicate"]
    assert twice == 0 if name not in ALREADY_TWICE else 0 <= twice <= ALREADY_TWICE[name]
    assert taken.ingested.late >= faults["late"] - ALREADY_TWICE.get(name, 0)
