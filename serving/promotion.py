"""The promotion ledger: what happened to a use case, one file per observed change, each naming the one before.

Specification. Key ``ledger/promotions/<usecase>/<nnnnnnnn>.json`` (from 00000001, without gaps), a JSON object::

    {"format": 2, "sequence": 2, "usecase": "pump_failure", "observed_at_us": …, "outcome": "released", "number": 2,
     "stage": 1, "from": "3", "to": "4", "bundle_digest": "sha256:…", "gate_digest": "sha256:…", "promoted_by": "Ada",
     "approved_by": "", "reason": "", "previous": "sha256:<digest of file 00000001.json>",
     "signature": {"keyid": "…", "sig": "<hex>"}}

``outcome`` is ``rolled_back`` for a version that a later one had taken the place of, whatever their numbers, and
``released`` for one that never served, or that was gone back from and is tried again.

``from`` is the version that served before, ``to`` the one that was wanted, both empty for none; ``number`` is the
release that serves afterwards, ``stage`` how far its rollout has come. ``promoted_by`` is what the tag ``approved_by``
of the version said, since MLflow does not know who moved an alias; ``approved_by`` who said yes in Airflow.

Files are only ever created. The digests show a change to any entry but the last. Each entry is signed with the key of
releases, over its file without ``signature``; so who may write to the store, but has not the key, can forge none. Each
published release names the entry before it (``serving.release``), so that cutting the end off is noticed too.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args
from urllib.parse import quote, unquote

from serving.bundle import canonical_json, digest_of
from serving.errors import LedgerError, MissingObjectError
from serving.seal import Seal
from serving.store import Store

Action = Literal[
    "released", "unchanged", "refused", "withdrawn", "rolled_back", "advanced", "paused", "resumed", "aborted"
]
_ACTIONS = get_args(Action)
_FORMAT = 2
FOLDER = "ledger/promotions/"


@dataclass(frozen=True, slots=True)
class Promotion:
    """One observed change.

    Attributes:
        usecase: Name of the use case.
        observed_at_us: When it was seen, UTC microseconds.
        outcome: What came of it. ``unchanged`` marks that a refused or aborted version is not wanted any more, or in
            order again.
        number: Release that serves afterwards, 0 for none.
        from_version: Version that served before, empty for none.
        to_version: Version that was wanted, empty for none.
        bundle_digest: Bundle of the wanted version, empty for none.
        gate_digest: The gate record's file, empty for none.
        reason: Why, as a sentence: in the words of who approved, where somebody did.
        stage: Stage of the rollout that serves afterwards, from 1; 0 for none.
        promoted_by: Who promoted, as the version's tag says; empty when it says nothing.
        approved_by: Who approved in Airflow; empty where nobody was asked.
        sequence: Position in the ledger, from 1; given by ``append``.
        previous: Digest of the entry before, empty for the first; given by ``append``.
        signature: ``keyid`` and ``sig``; given by ``append``.
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
    stage: int = 0
    promoted_by: str = ""
    approved_by: str = ""
    sequence: int = 0
    previous: str = ""
    signature: Mapping[str, str] = field(default_factory=dict)

    @property
    def serving_version(self) -> str:
        """Version that serves after this entry; empty for none."""
        return self.from_version if self.outcome == "refused" else self.to_version

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return canonical_json(self._fields())

    def to_bytes(self) -> bytes:
        """The file."""
        return canonical_json({**self._fields(), "signature": dict(self.signature)})

    def _fields(self) -> dict[str, object]:
        return {
            "format": _FORMAT,
            "sequence": self.sequence,
            "usecase": self.usecase,
            "observed_at_us": self.observed_at_us,
            "outcome": self.outcome,
            "number": self.number,
            "stage": self.stage,
            "from": self.from_version,
            "to": self.to_version,
            "bundle_digest": self.bundle_digest,
            "gate_digest": self.gate_digest,
            "promoted_by": self.promoted_by,
            "approved_by": self.approved_by,
            "reason": self.reason,
            "previous": self.previous,
        }

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
        seal: Signs what is appended; without one, entries can only be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from serving.store import open_store
        >>> from serving.trust.keys import KeyRing, create_keys
        >>> from serving.trust.seal import KeySeal
        >>> keys = Path(tempfile.mkdtemp()) / "keys"
        >>> create_keys(keys)
        >>> ledger = PromotionLedger(open_store(tempfile.mkdtemp()), "pump_failure", KeySeal(KeyRing.load(keys)))
        >>> ledger.append(None, Promotion("pump_failure", 0, "released", 1, "", "1", "sha256:00", "sha256:01", ""))
        True
        >>> ledger.last().to_version
        '1'
    """

    def __init__(self, store: Store, usecase: str, seal: Seal | None = None) -> None:
        self._store = store
        self._seal = seal
        self._usecase = usecase
        self._prefix = f"{FOLDER}{key_part(usecase)}/"

    def entries(self) -> list[Promotion]:
        """All entries, oldest first, with the chain checked, and the signatures where there is a seal.

        Raises:
            LedgerError: An entry was changed, forged or is missing; ``where`` names it.
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
            self._check_signature(entry, sequence)
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
        if self._seal is None:
            raise LedgerError(
                "an entry of the ledger must be signed", where=self._prefix, why="there is no key at hand"
            )
        sequence, previous = (last.sequence + 1, digest_of(last.to_bytes())) if last else (1, "")
        placed = replace(entry, sequence=sequence, previous=previous)
        signed = replace(placed, signature=self._seal.sign(placed.signed_bytes))
        return self._store.put_if_absent(self._key(sequence), signed.to_bytes())

    def _check_signature(self, entry: Promotion, sequence: int) -> None:
        if self._seal is not None and not self._seal.signed(entry.signed_bytes, entry.signature):
            raise LedgerError(
                "an entry of the ledger was not signed by the key of releases",
                where=self._key(sequence),
                why=f"its signature names the key {str(entry.signature.get('keyid', 'none'))[:12]}",
                fix="look who may write to the store, and restore the entry from a backup",
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
        if (entry.usecase, entry.sequence) != (self._usecase, sequence):
            raise LedgerError(
                "an entry of the ledger lies in another's place",
                where=key,
                why=f"it is {entry.sequence} of {entry.usecase}",
            )
        return entry, data

    def _key(self, sequence: int) -> str:
        return f"{self._prefix}{sequence:08d}.json"


def key_part(name: str) -> str:
    """Return a name as one part of a key, whatever a model is called.

    Example:
        >>> key_part("../My Model")
        '%2E%2E%2FMy%20Model'
    """
    return quote(name, safe="").replace(".", "%2E")


def usecases(store: Store) -> list[str]:
    """Return the names of all use cases that have a ledger, sorted."""
    return sorted(unquote(folder.removeprefix(FOLDER).rstrip("/")) for folder in store.level(FOLDER).folders)
