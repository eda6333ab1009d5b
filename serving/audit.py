"""Whether the promotion ledger can be believed: its chain, its signatures, and what is published beside it.

Each published release names the newest entry of the ledger before it, and the release itself lies in the signed
repository, whose versions only grow. So a ledger whose end was cut off, or that was set back as a whole, contradicts
the release and is found out, as far back as the last publication.
"""

from dataclasses import dataclass

from serving.bundle import digest_of
from serving.errors import LedgerError
from serving.ports import PublisherPort
from serving.promotion import Promotion, PromotionLedger, usecases
from serving.release import FOLDER, Release
from serving.store import Store

_PUBLISHED = ("released", "rolled_back", "advanced", "aborted", "withdrawn")


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of the check of one use case.

    Attributes:
        usecase: Name of the use case.
        entries: Its entries as far as they are in order, oldest first.
        problem: What is wrong, where and what to do; empty when all is well.
    """

    usecase: str
    entries: tuple[Promotion, ...]
    problem: str


def verify(store: Store, publisher: PublisherPort) -> list[Finding]:
    """Check the ledgers of all use cases that have one, or a release.

    Raises:
        TrustError: The signed repository cannot be read.
    """
    released = {release.usecase: release for release in map(Release.from_bytes, publisher.read(FOLDER).values())}
    return [
        _check(PromotionLedger(store, name, publisher.seal), name, released.get(name))
        for name in sorted({*usecases(store), *released})
    ]


def _check(ledger: PromotionLedger, usecase: str, release: Release | None) -> Finding:
    try:
        entries = ledger.entries()
        if release is not None:
            _compare(entries, release)
    except LedgerError as error:
        return Finding(usecase, (), str(error))
    return Finding(usecase, tuple(entries), "")


def _compare(entries: list[Promotion], release: Release) -> None:
    """Hold the ledger against what is published.

    Raises:
        LedgerError: It lacks an entry that the release names, or tells of other bytes under its number.
    """
    where = f"release {release.number} of {release.usecase}"
    known = {digest_of(entry.to_bytes()) for entry in entries}
    if release.ledger and release.ledger not in known:
        raise LedgerError(
            "the ledger lacks an entry that a published release names",
            where=where,
            why=f"{release.ledger} is none of its {len(entries)} entries: its end was cut off, or it was set back",
            fix="restore ledger/promotions from a backup of the store",
        )
    told = [entry for entry in entries if (entry.number, entry.stage) == (release.number, release.stage)]
    if any(entry.to_version != release.version for entry in told if entry.outcome in _PUBLISHED):
        raise LedgerError(
            "the ledger tells of another version than is published",
            where=where,
            why=f"published is version {release.version or 'none'}",
            fix="restore ledger/promotions from a backup of the store",
        )
