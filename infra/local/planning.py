"""What a training would read and how long it would take, found out without writing anything.

The training's own loader labels and splits the windows, so what is said here is what a training would meet.
"""

from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import Any

from features.errors import TidemillError
from infra.local.parameters import iso
from pipelines import history
from pipelines.candidate import span_of
from pipelines.lake import Lake
from pipelines.ledger import Ledger
from pipelines.streams import EventStream, TelemetryStream
from pipelines.tables import short
from pipelines.tasks import task_of
from pipelines.usecases import UseCase
from serving.store import Store

# Measured on two shared cores with 36 pumps over 40 days; they tell seconds from minutes, no more.
INGEST_BYTES_A_SECOND = 5_000_000
MATERIALIZE_READINGS_A_SECOND = 450_000
TRAIN_BASE_S, TRAIN_CELLS_A_SECOND = 6.0, 250_000


@dataclass(frozen=True, slots=True)
class Stored:
    """What lies there.

    Attributes:
        objects: Raw objects that were not ingested yet.
        bytes: Their size, packed.
        readings: Readings that were ingested and are in no feature yet.
        panes: Panes that are stored.
        rows: Feature rows that are stored.
    """

    objects: int
    bytes: int
    readings: int
    panes: int
    rows: int


@dataclass(frozen=True, slots=True)
class Trainable:
    """What a training would take.

    Attributes:
        since: First window end, ISO 8601.
        until: Last labelled window end.
        train: Windows to fit on.
        test: Windows to judge on.
        judged: How much there is to judge with in the test, as the kind of question counts.
        counted: What was counted: failures, lives that ended, windows.
        held_out: Devices kept out of the fit.
    """

    since: str
    until: str
    train: int
    test: int
    judged: int
    counted: str
    held_out: int


@dataclass(frozen=True, slots=True)
class Ahead:
    """What lies before a training; ``training`` is None when none is possible, and ``problem`` and ``fix`` say why."""

    usecase: str
    fleet: str
    stored: Stored
    training: Trainable | None
    seconds: dict[str, float]
    problem: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready dictionary."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it for people."""
        stored, training = self.stored, self.training
        waiting = f"{stored.objects:,} objects ({stored.bytes / 1e6:.1f} MB) wait: tidemill ingest {self.fleet}"
        fresh = f"{stored.readings:,} readings are in no feature yet: tidemill materialize {self.fleet}"
        told = [waiting if stored.objects else "everything stored is ingested"]
        told.append(fresh if stored.readings else "the features are up to date")
        told.append(f"{stored.panes:,} panes, {stored.rows:,} feature rows")
        if training is None:
            told.append(f"no training: {self.problem}")
            return [*told, *([f"fix: {self.fix}"] if self.fix else [])]
        told.append(f"windows from {training.since} to {training.until}")
        told.append(f"{training.train:,} windows to learn from, {training.test:,} to judge on")
        told.append(f"{training.judged:,} {training.counted} to judge with, {training.held_out} devices held out")
        told.append("about " + ", ".join(f"{seconds:.0f} s {stage}" for stage, seconds in self.seconds.items()))
        return [*told, "nothing was written"]


def look_ahead(store: Store, usecase: UseCase, since: int | None, until: int | None, now_us: int) -> Ahead:
    """Look at what a training would meet.

    Args:
        store: The object storage.
        usecase: What would be trained.
        since: First window end to learn from, UTC microseconds; None for all there is.
        until: The present to act in; None for now.
        now_us: The clock, UTC microseconds.
    """
    usecase = replace(usecase, feature_set=usecase.features.computable)  # regimes are learned by the training itself
    lake, features = Lake(store.uri), usecase.features
    waiting = _waiting(store, lake, usecase)
    stored = Stored(
        waiting["objects"],
        waiting["bytes"],
        _unmaterialized(lake, usecase),
        _rows(lake.panes(features)),
        _rows(lake.features(features)),
    )
    seconds = {
        "ingest": stored.bytes / INGEST_BYTES_A_SECOND,
        "materialize": stored.readings / MATERIALIZE_READINGS_A_SECOND,
    }
    try:
        data = history.load(store, lake, usecase, since=since, until=until, seed=0, now_us=now_us)
    except TidemillError as error:
        return Ahead(usecase.name, usecase.fleet, stored, None, seconds, error.what, error.fix)
    seconds["train"] = TRAIN_BASE_S + len(data.train) * len(features.names) / TRAIN_CELLS_A_SECOND
    judged, counted = task_of(usecase.label).evidence(data.test, span_of(data))
    training = Trainable(
        since=iso(data.since),
        until=iso(data.until),
        train=len(data.train),
        test=len(data.test),
        judged=judged,
        counted=counted,
        held_out=len(data.held_out),
    )
    return Ahead(usecase.name, usecase.fleet, stored, training, seconds)


def _waiting(store: Store, lake: Lake, usecase: UseCase) -> Counter[str]:
    """Raw objects that no commit of an ingest holds: how many, and their bytes."""
    found = Counter[str]()
    for stream in (TelemetryStream(lake, usecase.fleet_schema), EventStream(lake, usecase.fleet_schema)):
        reached = stream.table.open().transaction(stream.writer) if stream.table.exists() else 0
        past = Ledger(store, stream.ledger).read(reached)
        for entry in store.list(stream.prefix):
            if past.is_new(entry.key, entry.etag):
                found["objects"] += 1
                found["bytes"] += entry.size
    return found


def _unmaterialized(lake: Lake, usecase: UseCase) -> int:
    """Readings of ingest batches that the features do not contain."""
    fleet, features = usecase.fleet_schema, usecase.features
    telemetry, table = lake.telemetry(fleet), lake.features(features)
    if not telemetry.exists():
        return 0
    writer = f"materialize:{fleet.name}:{short(features.digest)}"
    done = table.open().transaction(writer) if table.exists() else 0
    return len(telemetry.open().read(["batch"], after={"batch": done}))


def _rows(table: Any) -> int:
    return sum(table.open().row_counts().values()) if table.exists() else 0
