"""What of a stream there is to take in: the raw objects that the ledger does not know as they are now."""

from collections.abc import Collection

from pipelines.listing import FULL_EVERY, Listing, everything
from pipelines.past import Past, Source
from pipelines.streams import Stream
from serving.store import Remote, Store


class Arrivals:
    """The objects that one run is to take in.

    A service is listed as a whole now and then, and in between where new objects are to be expected; see
    `pipelines.listing`. A folder is listed as a whole each time. What the mapping excludes is neither planned nor read;
    when a mapping excludes less than before, the next listing of the whole finds what is new by that.

    Args:
        store: Where they lie.
        stream: Whose.
        now_us: The clock, UTC microseconds.
        first: Keys that are said to be new; they are looked at wherever they lie, and come first.
        full: Whether to list the whole stream in any case.

    Attributes:
        excluded: How many objects were passed over because the mapping excludes them.
    """

    def __init__(self, store: Store, stream: Stream, now_us: int, first: Collection[str], *, full: bool) -> None:
        self._store, self._stream, self._now_us = store, stream, now_us
        self._first, self._full = frozenset(first), full
        self._listing: Listing | None = None
        self.excluded = 0

    def sources(self, past: Past) -> list[Source]:
        """The objects, each key once however often it is listed.

        What was not as planned when it was read is looked at again wherever it lies. Where the ledger was lost, so was
        the meaning of what is remembered of earlier listings.
        """
        if isinstance(self._store, Remote):
            every = 1 if self._full or not past.objects else FULL_EVERY
            self._listing = Listing(self._store, self._stream.prefix, self._now_us, full_every=every)
            listed = self._listing.entries(also={*self._first, *past.unsettled()})
        else:
            listed = everything(self._store, self._stream.prefix)
        found: list[Source] = []
        last = ""
        for entry in listed:
            if entry.key == last:
                continue
            last = entry.key
            if not self._stream.selects(entry.key):
                self.excluded += 1
            elif past.is_new(entry.key, entry.etag):
                found.append(Source(entry.key, entry.etag, entry.size, entry.modified_us))
        return sorted(found, key=lambda source: source.key not in self._first)

    def done(self) -> None:
        """To be called when all of them are in the ledger and the table, and not before."""
        if self._listing:
            self._listing.done()
