"""What a telemetry table must hold, by brute force: no batches, no ledger, no lineage, only the objects as they are."""

from collections.abc import Iterable, Mapping
from typing import Any

from features.schema import Fleet

Row = tuple[Any, ...]


def believed(fleet: Fleet, objects: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Row]:
    """Key and values of each believed reading, sorted; messages as `tests.fakes.fleets.reading` makes them.

    Of each signal the first copy is believed that has it.
    """
    copies: dict[Row, list[tuple[Row, Row]]] = {}
    for message in (message for messages in objects.values() for message in messages):
        key: Row = (message["device"], message["ts"] * 1000)
        if "sequence" in fleet.key:
            key += (message.get("seq"),)
        said = tuple(message["values"].get(name) for name in fleet.signal_names)
        received = -message["received"] if fleet.believe == "last" else message["received"]
        rank = (received, tuple((value is not None, value) for value in said))
        copies.setdefault(key, []).append((rank, said))
    return sorted((key + _composed(said for _, said in sorted(ranked)) for key, ranked in copies.items()), key=repr)


def _composed(ranked: Iterable[Row]) -> Row:
    return tuple(next((value for value in each if value is not None), None) for each in zip(*ranked, strict=True))


def stored(fleet: Fleet, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The same of the rows of a table, where a missing value may be NaN."""
    columns = [*fleet.key, *fleet.signal_names]
    found = (tuple(None if row[name] != row[name] else row[name] for name in columns) for row in rows)
    return sorted(found, key=repr)
