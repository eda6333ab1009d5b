"""The ledger of retraining as everybody reads it: which decisions there are, and in which order they were made.

Specification. The decisions of a UTC day about a use case are a sequence of objects, none of which is written again:
``ledger/retraining/<use case>/<yyyy-mm-dd>.json``, ``<yyyy-mm-dd>.2.json``, ``<yyyy-mm-dd>.3.json`` and so on. What is
in them says `pipelines.decisions`, which writes them. An object of another name is no decision.
"""

import re
from datetime import UTC, datetime

from serving.store import Store

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:\.([2-9]|[1-9]\d+))?\.json")


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


def _folder(usecase: str) -> str:
    return f"ledger/retraining/{usecase}/"


def _day(moment_us: int) -> str:
    return f"{datetime.fromtimestamp(moment_us / 1e6, UTC):%Y-%m-%d}"


def _place(key: str) -> tuple[str, int]:
    """Day and number; an empty day of what is no decision."""
    found = _NAME.fullmatch(key.rpartition("/")[2])
    return (found[1], int(found[2] or 1)) if found else ("", 0)
