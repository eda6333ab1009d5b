"""What a telemetry table must hold, by brute force: no batches, no ledger, no lineage, only the objects as they are."""

from collections.abc import Iterable, Mapping
from typing import Any

from features.schema import Fleet

Row = tuple[Any, ...]


def believed(fleet: Fleet, objects: Mapping[str, Iterable[Mapping[str, Any]]]) -> list[Row]:
    """Key and values of each believed reading, sorted; messages as `tests.fakes.fleets.reading` makes them."""
    best: dict[Row, tuple[Row, Row]] = {}
    for message in (message for messages in objects.values() for message in messages):
        key: Row = (message["device"], message["ts"] * 1000)
        if "sequence" in fleet.key:
            key += (message.get("seq"),)
        said = tuple(message["values"].get(name) for name in fleet.signal_names)
        received = -message["received"] if fleet.believe == "last" else message["received"]
        rank = (received, tuple((value is not None, value) for value in said))
        if key not in best or rank < best[key][0]:
            best[key] = rank, said
    return sorted((key + said for key, (_, said) in best.items()), key=repr)


def stored(fleet: Fleet, rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """The same of the rows of a table."""
    columns = [*fleet.key, *fleet.signal_names]
    return sorted((tuple(row[name] for name in columns) for row in rows), key=repr)
