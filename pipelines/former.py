"""Stored rows whose record may be gone, because an object was written again.

A row that was read from one record names it: batch and object. A row that was put together from several records
(`pipelines.compose`) names none; whether a former version of an object had a part in it, the ledger tells by the times
of the readings of that object that are not rows of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.compose import TOGETHER
from pipelines.lake import Snapshot
from pipelines.past import Place, Span

_LEAST, _MOST = -(2**63) + 1, 2**63 - 2


@dataclass(frozen=True, slots=True, eq=False)
class Former:
    """What is known of former versions of the objects of an intent.

    Attributes:
        heirs: Places of former versions, and the position of the object in the intent.
        spans: Times of their readings that are not rows of their own.
    """

    heirs: Mapping[Place, int] = field(default_factory=dict)
    spans: Sequence[Span] = ()

    def __bool__(self) -> bool:
        return bool(self.heirs)

    def dates(self, snapshot: Snapshot) -> set[str]:
        """The dates of the rows that came from them, or may have."""
        if not self.heirs:
            return set()
        batches = [batch for batch, _ in self.heirs]
        after, before = {"batch": min(batches) - 1}, {"batch": max(batches) + 1}
        rows = snapshot.read(["date", "batch", "object"], after=after, before=before)
        parts = [rows.filter(pa.array(self.positions(rows) >= 0))["date"]]
        if spans := [(low, high) for low, high in self.spans if low <= high]:
            least, most = max(min(low for low, _ in spans), _LEAST), min(max(high for _, high in spans), _MOST)
            names = ["date", "time", "object"]
            rows = snapshot.read(names, after={"time": least - 1}, before={"time": most + 1})
            parts.append(rows.filter(pa.array(self.doubtful(rows)))["date"])
        return {date for part in parts for date in part.unique().to_pylist()}

    def doubtful(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Which rows were put together, perhaps with a part from one of them; columns ``object`` and ``time``."""
        found = put_together(rows) if self.spans else np.zeros(len(rows), bool)
        places = np.flatnonzero(found)
        if len(places):
            times = rows["time"].to_numpy()[places]
            found[places] = np.any([(times >= low) & (times <= high) for low, high in self.spans], axis=0)
        return found

    def positions(self, rows: pa.Table) -> NDArray[np.int64]:
        """The position in the intent of the object that each row came from a former version of; -1: from none."""
        found = np.full(len(rows), -1, np.int64)
        if not self.heirs or not len(rows):
            return found
        known = np.array(sorted((batch << 32 | place, heir) for (batch, place), heir in self.heirs.items()))
        places = rows["batch"].to_numpy() << 32 | rows["object"].fill_null(2**31 - 1).to_numpy().astype(np.int64)
        at = np.minimum(np.searchsorted(known[:, 0], places), len(known) - 1)
        return np.where(known[at, 0] == places, known[at, 1], -1)


def put_together(rows: pa.Table) -> NDArray[np.bool_]:
    """Which rows are made of several records."""
    return np.asarray(pc.fill_null(pc.equal(rows["object"], TOGETHER), fill_value=False).to_numpy())
