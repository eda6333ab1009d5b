"""The ledgers of retraining as everybody reads them: decisions in their order, and trainings that gave a version.

Specification. The decisions of a UTC day about a use case are a sequence of objects, none of which is written again:
``ledger/retraining/<use case>/<yyyy-mm-dd>.json``, ``<yyyy-mm-dd>.2.json``, ``<yyyy-mm-dd>.3.json`` and so on. What is
in them says `pipelines.decisions`, which writes them. An object of another name is no decision.

A training is an object ``ledger/trainings/<use case>/<decided_at_us, 16 digits>-<12 digits of the digest>.json``,
written after its version is registered, whether the gate let it through or not::

    {"format": 1, "usecase": "pump_failure", "version": "7", "digest": "sha256:…", "passed": true, "reasons": [],
     "decided_at_us": 1790000000000000}

``digest``, ``passed``, ``reasons`` and ``decided_at_us`` are those of its gate record at that time; the last one is
when the training began. So one that was killed before its version existed is not there, though its gate record is. One
that was repeated is there again, with the same version.

A training has followed a decision if it began after it, by what both wrote themselves; the clock of the store, which
may be another one, is not asked. What remains: they may have been at work on two machines. Where the clock of the
training is behind by more than the time that passed between the two, it is not seen to have followed, and is asked for
once more.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from serving.bundle import canonical_json
from serving.errors import DamagedObjectError, MissingObjectError
from serving.store import Store

FORMAT = 1
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([2-9]|[1-9]\d+))?\.json")


@dataclass(frozen=True, slots=True)
class Trained:
    """A training that gave a version.

    Attributes:
        usecase: Name of the use case.
        version: Its version in the registry.
        digest: Of its bundle, ``sha256:<hex>``.
        passed: Whether the gate let it through.
        reasons: Sentences that say why not.
        decided_at_us: When it began, as its gate record says, UTC microseconds.
    """

    usecase: str
    version: str
    digest: str
    passed: bool
    reasons: tuple[str, ...]
    decided_at_us: int


def decision_key(usecase: str, now_us: int, number: int = 1) -> str:
    """Where a decision of a day lies.

    Args:
        usecase: Name of the use case.
        now_us: A moment of that day, UTC microseconds.
        number: Which one of the day, from 1.

    Example:
        >>> decision_key("pump_failure", 1_790_000_000_000_000)
        'ledger/retraining/pump_failure/2026-09-21.json'
        >>> decision_key("pump_failure", 1_790_000_000_000_000, 2)
        'ledger/retraining/pump_failure/2026-09-21.2.json'
    """
    return f"{_folder(usecase)}{_day(now_us)}{f'.{number}' if number > 1 else ''}.json"


def number_of(key: str) -> int:
    """Return which decision of its day a key names.

    Example:
        >>> number_of("ledger/retraining/pump_failure/2026-09-21.12.json")
        12
    """
    return _place(key)[1]


def decision_keys(store: Store, usecase: str, since_us: int = 0, until_us: int | None = None) -> list[str]:
    """Return where decisions lie, in the order in which they were made; the tenth of a day comes after the ninth.

    Args:
        store: Holds the ledger.
        usecase: Name of the use case.
        since_us: A moment of the first day, UTC microseconds.
        until_us: A moment of the last day; None for no end.
    """
    folder, last = _folder(usecase), _day(until_us) if until_us is not None else "~"
    listed = (entry.key for entry in store.list(folder, after=f"{folder}{_day(since_us)}"))
    placed = sorted((*_place(key), key) for key in listed)
    return [key for day, _, key in placed if day and day <= last]


def record_training(store: Store, trained: Trained) -> None:
    """Write down that a training came to its version; once more is the same."""
    name = f"{trained.decided_at_us:016d}-{trained.digest.removeprefix('sha256:')[:12]}"
    store.put(f"{_trainings(trained.usecase)}{name}.json", canonical_json({"format": FORMAT, **asdict(trained)}))


def trained_since(store: Store, usecase: str, since_us: int) -> Trained | None:
    """Return the latest training of a use case that began after a moment, UTC microseconds; None for none.

    What cannot be read says nothing here.
    """
    folder = _trainings(usecase)
    keys = [entry.key for entry in store.list(folder, after=f"{folder}{since_us:016d}~")]
    return next(_read(store, reversed(keys)), None)


def _read(store: Store, keys: Iterator[str]) -> Iterator[Trained]:
    for key in keys:
        try:
            fields = json.loads(store.get(key))
            yield Trained(
                fields["usecase"],
                fields["version"],
                fields["digest"],
                fields["passed"] is True,
                tuple(map(str, fields["reasons"])),
                int(fields["decided_at_us"]),
            )
        except (DamagedObjectError, MissingObjectError, ValueError, KeyError, TypeError):
            continue


def _folder(usecase: str) -> str:
    return f"ledger/retraining/{usecase}/"


def _trainings(usecase: str) -> str:
    return f"ledger/trainings/{usecase}/"


def _day(moment_us: int) -> str:
    return f"{datetime.fromtimestamp(moment_us / 1e6, UTC):%Y-%m-%d}"


def _place(key: str) -> tuple[str, int]:
    """Day and number; an empty day of what is no decision."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    return (found[1], int(found[2] or 1)) if found else ("", 0)
