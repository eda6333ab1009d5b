"""The promotion ledger: what happened to a use case, one file per observed change, each naming the one before.

Specification. Key ``ledger/promotions/<usecase>/<nnnnnnnn>.json`` (from 00000001, without gaps), a JSON object::

    {"format": 1, "sequence": 2, "usecase": "pump_failure", "observed_at_us": …, "outcome": "released", "number": 2,
     "from": "3", "to": "4", "bundle_digest": "sha256:…", "gate_digest": "sha256:…", "reason": "",
     "previous": "sha256:<digest of file 00000001.json>"}

``from`` is the version that served before, ``to`` the one that was wanted, both empty for none; ``number`` is the
release that serves afterwards. Files are only ever created. The chain of digests shows a change to any entry but the
last to whoever reads all of them; it does not stop somebody who may write to the store from rewriting the whole chain,
for which there are versioned buckets. Who moved an alias is not in it: MLflow does not know.
"""

import json
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import quote

from serving.bundle import canonical_json, digest_of
from serving.errors import LedgerError, MissingObjectError
from serving.store import Store

Action = Literal["released", "unchanged", "refused", "withdrawn", "rolled_back"]
_ACTIONS = ("released", "unchanged", "refused", "withdrawn", "rolled_back")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Promotion:
    """One observed change.

    Attributes:
        usecase: Name of the use case.
        observed_at_us: When it was seen, UTC microseconds.
        outcome: What came of it. ``unchanged`` marks the end of a refusal of the very version that serves.
        number: Release that serves afterwards, 0 for none.
        from_version: Version that served before, empty for none.
        to_version: Version that was wanted, empty for none.
        bundle_digest: Bundle of the wanted version, empty for none.
        gate_digest: The gate record's file, empty for none.
        reason: Why, as a sentence.
        sequence: Position in the ledger, from 1; given by ``append``.
        previous: Digest of the entry before, empty for the first; given by ``append``.
    """

    usecase: str
    observed_at_us: int
    outcome: Action
    number: int
    from_version: str
    to_version: str
    bundle_digest: str
    gate_digest: str
    reason: str
    sequence: int = 0
    previous: str = ""

    @property
    def serving_version(self) -> str:
        """Version that serves after this entry; empty for none."""
        return self.from_version if self.outcome == "refused" else self.to_version

    def to_bytes(self) -> bytes:
        """The file."""
        return canonical_json(
            {
                "format": _FORMAT,
                "sequence": self.sequence,
                "usecase": self.usecase,
                "observed_at_us": self.observed_at_us,
                "outcome": self.outcome,
                "number": self.number,
                "from": self.from_version,
                "to": self.to_version,
                "bundle_digest": self.bundle_digest,
                "gate_digest": self.gate_digest,
                "reason": self.reason,
                "previous": self.previous,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "Promotion":
        """Read a file.

        Raises:
            LedgerError: It is not an entry.
        """
        try:
            fields = json.loads(data)
            known = fields.pop("format") == _FORMAT and fields["outcome"] in _ACTIONS
            entry = cls(from_version=fields.pop("from"), to_version=fields.pop("to"), **fields)
            known = known and entry.to_bytes() == data
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LedgerError("an entry of the ledger cannot be read", why=str(error)) from error
        if not known:
            raise LedgerError("an entry of the ledger cannot be read", why="it is not as this program writes it")
        return entry


class PromotionLedger:
    """The ledger of one use case.

    Args:
        store: Must support conditional writes.
        usecase: Name of the use case, or whatever a model is called that somebody gave an alias.

    Example:
        >>> import tempfile
        >>> from serving.store import open_store
        >>> ledger = PromotionLedger(open_store(tempfile.mkdtemp()), "pump_failure")
        >>> ledger.append(None, Promotion("pump_failure", 0, "released", 1, "", "1", "sha256:00", "sha256:01", ""))
        True
        >>> ledger.last().to_version
        '1'
    """

    def __init__(self, store: Store, usecase: str) -> None:
        self._store = store
        self._prefix = f"ledger/promotions/{quote(usecase, safe='').replace('.', '%2E')}/"

    def entries(self) -> list[Promotion]:
        """All entries, oldest first, with the chain checked.

        Raises:
            LedgerError: An entry was changed or is missing.
        """
        found: list[Promotion] = []
        previous = ""
        for sequence in range(1, self._count() + 1):
            entry, data = self._read(sequence)
            if entry.previous != previous:
                raise LedgerError(
                    "the ledger of promotions was changed",
                    where=self._key(sequence - 1),
                    why=f"its digest is {previous}, the next entry recorded {entry.previous or 'none'}",
                    fix="restore it from a backup of the store",
                )
            found.append(entry)
            previous = digest_of(data)
        return found

    def last(self) -> Promotion | None:
        """The newest entry, without a look at the older ones; None when there is none."""
        count = self._count()
        return self._read(count)[0] if count else None

    def append(self, last: Promotion | None, entry: Promotion) -> bool:
        """Add an entry after the one that was looked at.

        Args:
            last: What ``last`` said when the entry was decided on.
            entry: What to add; sequence and previous are filled in.

        Returns:
            False when somebody else has added one meanwhile: nothing was written, look again.
        """
        sequence, previous = (last.sequence + 1, digest_of(last.to_bytes())) if last else (1, "")
        return self._store.put_if_absent(
            self._key(sequence), replace(entry, sequence=sequence, previous=previous).to_bytes()
        )

    def _count(self) -> int:
        keys = [entry.key for entry in self._store.list(self._prefix)]
        expected = [self._key(sequence) for sequence in range(1, len(keys) + 1)]
        for found, key in zip(keys, expected, strict=True):
            if found != key:
                raise LedgerError(
                    "the ledger of promotions has a gap",
                    where=key,
                    why=f"{found} comes instead",
                    fix="restore the entry",
                )
        return len(keys)

    def _read(self, sequence: int) -> tuple[Promotion, bytes]:
        key = self._key(sequence)
        try:
            data = self._store.get(key)
            entry = Promotion.from_bytes(data)
        except (LedgerError, MissingObjectError) as error:
            raise LedgerError(
                "an entry of the ledger cannot be read",
                where=key,
                why=error.why or error.what,
                fix="restore it from a backup",
            ) from error
        if entry.sequence != sequence:
            raise LedgerError(
                "an entry of the ledger lies in another's place", where=key, why=f"it is {entry.sequence}"
            )
        return entry, data

    def _key(self, sequence: int) -> str:
        return f"{self._prefix}{sequence:08d}.json"
