"""What was ingested before: which objects, in which version, and where the rows of each come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

Place = tuple[int, int]
"""Where an object was read: the number of the batch, and its position in the intent."""
Span = tuple[int, int]
"""The earliest and the latest event time of some readings, UTC microseconds, both included."""

EVER: Final[Span] = (-(2**63), 2**63 - 1)
_NOTHING: Final[Span] = (2**63 - 1, -(2**63))
_UNSETTLED: Final = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A raw object as it was when it was planned.

    Attributes:
        key: Its key.
        etag: Changes when it is written again.
        size: Bytes.
        written_us: When it was written, UTC microseconds; 0 where an older version of this program planned it.
    """

    key: str
    etag: str
    size: int
    written_us: int = 0


@dataclass(frozen=True, slots=True)
class Intent:
    """What one commit will be made from.

    Attributes:
        seq: Its number, from 1; the commit's number.
        objects: The objects, in the order in which they are read; each key once.
        planned_at_us: When it was planned, UTC microseconds: no record counts as received later, so that doing it again
            gives the same rows.
    """

    seq: int
    objects: tuple[Source, ...]
    planned_at_us: int


class Known(NamedTuple):
    """An object that was ingested; a tuple, because there are very many.

    Attributes:
        etag: Its version that was read last; empty where it changed while it was read.
        places: Where its rows come from: the newest reading last.
        hidden: The times of its readings that are not in the table, because a copy from elsewhere is.
    """

    etag: str
    places: tuple[Place, ...]
    hidden: Span


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an intent.

    Attributes:
        counts: Numbers for people.
        hidden: Readings that are not in the table because a copy from elsewhere is: the place of their object, and
            their times.
    """

    counts: Mapping[str, Any]
    hidden: Mapping[Place, Span]


class Past:
    """What was ingested up to a number.

    Attributes:
        objects: What is known of each object, by key.
        left: The numbers of intents that are not in the table, sorted.
        undone: Whether the last intent of the table has no outcome, because the run was killed right behind the commit.
    """

    def __init__(self, *, keep_places: bool) -> None:
        self.objects: dict[str, Known] = {}
        self.left: list[int] = []
        self.undone = False
        self._keep_places = keep_places

    def is_new(self, key: str, etag: str) -> bool:
        """Tell whether an object was not ingested yet as it is."""
        known = self.objects.get(key)
        return known is None or known.etag != etag

    def is_unsettled(self, key: str) -> bool:
        """Tell whether an object is to be read again although it was read."""
        known = self.objects.get(key)
        return known is not None and known.etag == _UNSETTLED

    def unsettled(self) -> list[str]:
        """Keys of the objects that are to be read again, whatever a listing says of them."""
        return [key for key, known in self.objects.items() if known.etag == _UNSETTLED]

    def places(self, key: str) -> tuple[Place, ...]:
        """Where the rows of an object come from; none when it was not ingested before."""
        known = self.objects.get(key)
        return known.places if known else ()

    def add(self, intent: Intent, grown: Iterable[int | str], hidden: Mapping[Place, Span] | None) -> None:
        """Take in an intent that is in the table; where its outcome is lost, all of its readings may be hidden.

        Args:
            intent: The intent.
            grown: What is to be read again, see `Ledger.note_grown`.
            hidden: What is known of readings that are not in the table.
        """
        changed = set(grown)
        for position, source in enumerate(intent.objects):
            place = intent.seq, position
            before = self.places(source.key) if self._keep_places else ()
            etag = _UNSETTLED if position in changed else source.etag
            span = EVER if hidden is None else hidden.get(place, _NOTHING)
            self.objects[source.key] = Known(etag, (*before, place), span)
        for key in changed:
            if isinstance(key, str) and key in self.objects:
                self.objects[key] = self.objects[key]._replace(etag=_UNSETTLED)
        elsewhere = {place: span for place, span in (hidden or {}).items() if place[0] != intent.seq}
        if elsewhere:
            self.hide(elsewhere)

    def hide(self, spans: Mapping[Place, Span]) -> None:
        """Note that readings of objects of earlier batches went out of the table."""
        if not spans:  # nearly always, and there may be very many objects
            return
        found = {place: key for key, known in self.objects.items() for place in known.places if place in spans}
        for place, key in found.items():
            known = self.objects[key]
            (low, high), (least, most) = spans[place], known.hidden
            self.objects[key] = known._replace(hidden=(min(low, least), max(high, most)))

    def to_json(self) -> list[object]:
        """Everything known, as it is stored."""
        return [[key, known.etag, known.places, known.hidden] for key, known in sorted(self.objects.items())]

    def restore(self, listed: Iterable[Any]) -> None:
        """Back from `to_json`.

        Raises:
            ValueError: It was written by another version of this program, or is something else.
        """
        for key, etag, places, (low, high) in listed:
            hidden = (low, high) if low <= high else _NOTHING  # one for all: there are very many
            self.objects[key] = Known(etag, tuple([(seq, position) for seq, position in places]), hidden)


def told_apart(hidden: Mapping[Place, Span], seq: int) -> list[list[int]]:
    """Of spans those of objects of other batches, as a commit keeps them: its own may be lost, see `Past.add`."""
    return [[*place, *span] for place, span in sorted(hidden.items()) if place[0] != seq]


def spans_of(listed: object) -> dict[Place, Span] | None:
    """Back from a list of spans; None where there is none, or something else."""
    try:
        return {(batch, position): (low, high) for batch, position, low, high in listed}  # type: ignore[attr-defined]
    except (ValueError, TypeError):
        return None
