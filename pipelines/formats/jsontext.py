"""JSON in any framing, record by record; its columns are read together with those of other objects."""

from collections.abc import Iterator, Sequence

from pipelines import salvage
from pipelines.records import locate


class JsonText:
    """An object that is JSON, or ought to be.

    Args:
        body: The text.
        quoted: Whether its numbers are texts, as in records of CSV that come back from the quarantine.
    """

    broken = "The object is not made of JSON records."

    def __init__(self, body: bytes, *, quoted: bool) -> None:
        self.body = body
        self.quoted = quoted

    def values(self) -> Iterator[object]:
        """The records, or `pipelines.salvage.UNREADABLE` for what is none."""
        return salvage.values(self.body)

    def locate(self, records: Sequence[int], count: int) -> Iterator[tuple[int, bytes]]:
        """See `pipelines.rejects.Container`."""
        return locate(self.body, records, count)
