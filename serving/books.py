"""What is written down about a step of a release: tags where the engineer looks, then the entry of the ledger.

Everything follows from what is published and what the ledger holds, so that a run that was killed between the two is
finished by the next.
"""

from collections.abc import Mapping
from dataclasses import replace

from serving.approval import Wanted
from serving.bundle import digest_of
from serving.consent import Consent
from serving.ports import RegistryPort
from serving.promotion import Action, Promotion, PromotionLedger
from serving.release import Release
from serving.seal import Seal
from serving.store import Store

_REASON_LENGTH = 1000  # of a tag; the ledger keeps all of it
_GONE = {"release.cloud": "", "release.gateways": ""}


class Books:
    """The tags and the ledger of one use case.

    Args:
        wanted: What the registry says.
        registry: Where the tags go.
        store: Where the ledger lies.
        seal: Signs its entries.
        now_us: The time, UTC microseconds.
    """

    def __init__(self, wanted: Wanted, registry: RegistryPort, store: Store, seal: Seal, now_us: int) -> None:
        self._wanted = wanted
        self._registry = registry
        self._now_us = now_us
        self.ledger = PromotionLedger(store, wanted.usecase, seal)

    def settle(self, release: Release, consent: Consent | None = None) -> Action | None:
        """Write what follows from a publication; None when it was all written before.

        Why it was published is what whoever approved it said, else what the model's tag ``rollout.reason`` says where
        no word stands beside it.
        """
        while True:
            last = self.ledger.last()
            if last is not None and (last.number, last.stage) >= (release.number, release.stage):
                return None
            before = last.serving_version if last else ""
            action = self._kind(release)
            self._tag_former(before, release)
            if not release.withdrawn:
                self.tag(release.version, serving_tags(release))
            entry = replace(
                self._entry(action, release, release.stage_since_us or release.released_at_us),
                from_version=before,
                bundle_digest=self._spreading_digest() if release.aborts else release.bundle,
                reason=release.aborts
                or (consent.reason if consent else "")
                or (self.why() if action in ("released", "rolled_back", "withdrawn") else ""),
                approved_by=consent.by if consent else "",
            )
            if self.ledger.append(last, entry):
                return action

    def why(self) -> str:
        """The reason somebody gave for what is done next, with their name; empty where nobody did."""
        control = self._wanted.control
        if control.word or not control.reason:
            return ""
        return f"{control.by}: {control.reason}" if control.by else control.reason

    def refuse(self, actual: Release | None, digest: str, gate: str, reason: str, *, status: str = "refused") -> None:
        """Say it where the engineer looks, and once in the ledger."""
        entry = replace(
            self._entry("refused", actual, self._now_us),
            from_version=actual.version if actual else "",
            to_version=self._wanted.version or "",
            bundle_digest=digest,
            gate_digest=gate,
            reason=reason,
            promoted_by=self._wanted.promoted_by,
        )
        while True:
            last = self.ledger.last()
            if last is not None and last.outcome == "refused" and _subject(last) == _subject(entry):
                return
            self.tag(entry.to_version, {"release.status": status, "release.refused": reason[:_REASON_LENGTH]})
            if self.ledger.append(last, entry):
                return

    def in_order_again(self, actual: Release) -> None:
        """Say once that a refusal or an abort is over: the version that serves is the one that is wanted."""
        last = self.ledger.last()
        if last is None or last.outcome not in ("refused", "aborted"):
            return
        if last.outcome == "refused" and last.to_version == actual.version:
            self.tag(actual.version, serving_tags(actual))
        self.note("unchanged", actual, "the version that serves is the one that is wanted, and in order")

    def note(self, action: Action, actual: Release, reason: str, by: str = "") -> None:
        """Add an entry about the release that serves, if the last one does not say the same."""
        entry = replace(self._entry(action, actual, self._now_us), from_version=actual.version, reason=reason)
        if by:
            entry = replace(entry, promoted_by=by)
        last = self.ledger.last()
        if last is None or (last.outcome, last.number, last.stage, last.reason) != (
            action,
            actual.number,
            actual.stage,
            reason,
        ):
            self.ledger.append(last, entry)

    def tag(self, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        self._registry.write_tags(self._wanted.usecase, version, tags)

    def head(self) -> str:
        """Digest of the newest entry, empty for none; the whole chain is checked on the way.

        Raises:
            LedgerError: It contradicts itself, and nothing may be published.
        """
        entries = self.ledger.entries()
        return digest_of(entries[-1].to_bytes()) if entries else ""

    def _tag_former(self, version: str, release: Release) -> None:
        """Say on the version that served before what has become of it."""
        if not version or version == release.version:
            return
        if release.aborts:
            told = {"release.status": "aborted", "release.refused": release.aborts[:_REASON_LENGTH]}
        else:
            told = {"release.status": "withdrawn" if release.withdrawn else "replaced"}
        self.tag(version, {**told, **_GONE})

    def _entry(self, action: Action, release: Release | None, at_us: int) -> Promotion:
        wanted = self._wanted
        version = release.version if release else ""
        return Promotion(
            usecase=wanted.usecase,
            observed_at_us=at_us,
            outcome=action,
            number=release.number if release else 0,
            from_version="",
            to_version=version,
            bundle_digest=release.bundle if release else "",
            gate_digest=release.gate if release else "",
            reason="",
            stage=release.stage if release else 0,
            promoted_by=wanted.promoted_by if wanted.version == version else "",
        )

    def _kind(self, release: Release) -> Action:
        if release.aborts:
            return "aborted"
        if release.withdrawn:
            return "withdrawn"
        if release.stage > 1:
            return "advanced"
        return "rolled_back" if release.version in self._under() else "released"

    def _under(self) -> list[str]:
        """Versions that the last one took the place of, one after the other: those that can be gone back to.

        A version that was gone back from, or whose rollout was aborted, is none of them: it is released once more. The
        last one itself returns from a withdrawal.
        """
        served: list[str] = []
        for entry in self.ledger.entries():
            if entry.outcome == "aborted" and entry.from_version in served:
                served.remove(entry.from_version)
            if entry.outcome in ("released", "rolled_back", "aborted") and entry.to_version:
                keep = served.index(entry.to_version) if entry.to_version in served else len(served)
                served[keep:] = [entry.to_version]
        return served[:-1]

    def _spreading_digest(self) -> str:
        """The bundle that was released last: the one whose rollout an abort ends."""
        releases = self._releases()
        return releases[-1].bundle_digest if releases else ""

    def _releases(self) -> list[Promotion]:
        return [entry for entry in self.ledger.entries() if entry.outcome in ("released", "rolled_back")]


def serving_tags(release: Release) -> dict[str, str]:
    """Tags of a version that serves; how far it has come on gateways is told when they are counted."""
    cloud = f"release {release.number}" if "cloud" in release.placements else ""
    return {"release.status": "released", "release.refused": "", "release.cloud": cloud}


def _subject(refusal: Promotion) -> tuple[str, str, str]:
    return refusal.to_version, refusal.bundle_digest, refusal.reason
