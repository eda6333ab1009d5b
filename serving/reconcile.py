"""From an alias in the registry to a signed release, and back: one level-triggered step.

``reconcile`` compares what is desired (the alias) with what is published and takes the next step; running it twice
changes nothing, and events need only say "look now". What to do is decided in ``serving.decision``.

Every prefix of the writes is safe: first the signed files in one publication, then the tags where the engineer looks,
then the ledger entry, which says that the tags are written. A run that finds a release without its entry finishes what
the run before began.

Tags of a version: ``release.status`` is released, replaced, withdrawn or refused; ``release.<placement>`` names the
release while it serves; ``release.refused`` is the reason as a sentence.

Why so: *a refused champion leaves the previous release serving*: a mistake in the registry must not stop predictions.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from features.errors import TidemillError
from serving.approval import Desired, read_gate
from serving.bundle import PLACEMENTS, digest_of
from serving.decision import MAX_GATE_AGE_US, Decision, decide
from serving.errors import GateRecordError
from serving.promotion import Action, Promotion, PromotionLedger
from serving.release import FOLDER, Release, bundle_path, release_path
from serving.store import Store

_REASON_LENGTH = 1000  # of a tag; the ledger keeps all of it


@dataclass(frozen=True, slots=True)
class Outcome:
    """What ``reconcile`` did for one use case: ``digest`` and ``reason`` are empty where there is none."""

    usecase: str
    action: Action
    version: str
    digest: str
    reason: str


class RegistryPort(Protocol):
    """The model registry, as far as releases need it."""

    def champions(self) -> Sequence[Desired]:
        """The use cases that the registry knows.

        It raises when the registry cannot be asked: a use case that is released and not in the answer is withdrawn.
        """

    def write_tags(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; an empty value removes the tag. A version that is gone is left out in silence."""


class PublisherPort(Protocol):
    """The signed repository, as far as releases need it: ``serving.trust.publisher.Publisher``."""

    def refresh_metadata(self, now_us: int) -> tuple[str, ...]:
        """Sign anew what expires soon."""

    def publish(self, files: Mapping[str, bytes], remove: Collection[str], now_us: int) -> None:
        """Publish in one step."""

    def read(self, prefix: str) -> dict[str, bytes]:
        """Published files, verified."""


def reconcile(
    registry: RegistryPort,
    store: Store,
    publisher: PublisherPort,
    now_us: int,
    *,
    max_gate_age_us: int = MAX_GATE_AGE_US,
) -> list[Outcome]:
    """Take the next step for every use case that the registry knows or that was ever released.

    Args:
        registry: Says what is desired, and is told what came of it.
        store: Holds gate records and the promotion ledger.
        publisher: Holds the releases.
        now_us: The time, UTC microseconds.
        max_gate_age_us: How old a gate decision may be when its bundle is released.

    Returns:
        One outcome per use case, by name.

    Raises:
        TidemillError: A port failed. The other use cases were still attended to; run again.
    """
    publisher.refresh_metadata(now_us)
    desired = {wanted.usecase: wanted for wanted in registry.champions()}
    released = [Release.from_bytes(data) for data in publisher.read(FOLDER).values()]
    actual = {release.usecase: release for release in released}
    outcomes: list[Outcome] = []
    failures: list[TidemillError] = []
    for usecase in sorted(desired.keys() | actual.keys()):
        step = _Step(
            usecase,
            registry=registry,
            publisher=publisher,
            store=store,
            now_us=now_us,
            max_gate_age_us=max_gate_age_us,
        )
        try:
            outcomes.append(step.take(desired.get(usecase, Desired(usecase, None, None)), actual.get(usecase)))
        except TidemillError as error:
            error.add_note(f"while use case {usecase} was reconciled")
            failures.append(error)
    if failures:
        raise failures[0]
    return outcomes


class _Step:
    """The step of one use case."""

    def __init__(
        self,
        usecase: str,
        *,
        registry: RegistryPort,
        publisher: PublisherPort,
        store: Store,
        now_us: int,
        max_gate_age_us: int,
    ) -> None:
        self._registry = registry
        self._publisher = publisher
        self._store = store
        self._usecase = usecase
        self._now_us = now_us
        self._max_gate_age_us = max_gate_age_us
        self._ledger = PromotionLedger(store, usecase)

    def take(self, desired: Desired, actual: Release | None) -> Outcome:
        finished = self._settle(actual) if actual else None
        decision, gate = self._decide(desired, actual)
        action = decision.action
        if action == "refused":
            self._refuse(desired, actual, decision, gate)
        elif action == "unchanged":
            self._end_refusal(actual)
            action = finished or action
        else:
            action = self._settle(self._publish(desired, actual, decision, gate)) or action
        version = desired.version or (actual.version if actual else "")
        return Outcome(self._usecase, action, version, decision.digest, decision.reason)

    def _decide(self, desired: Desired, actual: Release | None) -> tuple[Decision, str]:
        """The decision, and the digest of the gate record that it rests on."""
        digest = digest_of(desired.bundle) if desired.bundle is not None else ""
        try:
            gate = read_gate(self._store, digest) if digest else None
        except GateRecordError as error:
            return Decision("refused", digest, reason=str(error)), ""
        decision = decide(desired, actual, gate, self._now_us, max_gate_age_us=self._max_gate_age_us)
        return decision, gate.file_digest if gate else ""

    def _publish(self, desired: Desired, actual: Release | None, decision: Decision, gate: str) -> Release:
        entries = self._ledger.entries()  # a ledger that contradicts itself stops here, before anything is published
        numbers = [actual.number if actual else 0, entries[-1].number if entries else 0]
        withdrawn = decision.action == "withdrawn"
        release = Release(
            usecase=self._usecase,
            number=max(numbers) + 1,  # it grows even when the published files were lost or set back
            version="" if withdrawn else desired.version or "",
            bundle=decision.digest,
            path=bundle_path(decision.digest),
            released_at_us=self._now_us,
            placements=decision.placements,
            gate=gate,
        )
        files = {release_path(self._usecase): release.to_bytes()}
        if not withdrawn:
            files[release.path] = desired.bundle or b""
        old = {actual.path} if actual and not actual.withdrawn else set()
        self._publisher.publish(files, old - {release.path}, self._now_us)
        return release

    def _settle(self, release: Release) -> Action | None:
        """Write what follows from a publication; None when it was all written before."""
        while True:
            last = self._ledger.last()
            if last is not None and last.number >= release.number:
                return None
            before = last.serving_version if last else ""
            if before and before != release.version:
                status = "withdrawn" if release.withdrawn else "replaced"
                self._tag(before, {"release.status": status, **{f"release.{name}": "" for name in PLACEMENTS}})
            if not release.withdrawn:
                self._tag(release.version, _serving_tags(release))
            action: Action = "withdrawn" if release.withdrawn else self._kind(release.version)
            entry = Promotion(
                usecase=self._usecase,
                observed_at_us=release.released_at_us,
                outcome=action,
                number=release.number,
                from_version=before,
                to_version=release.version,
                bundle_digest=release.bundle,
                gate_digest=release.gate,
                reason="",
            )
            if self._ledger.append(last, entry):
                return action

    def _refuse(self, desired: Desired, actual: Release | None, decision: Decision, gate: str) -> None:
        """Say it where the engineer looks, and once in the ledger."""
        entry = Promotion(
            usecase=self._usecase,
            observed_at_us=self._now_us,
            outcome="refused",
            number=actual.number if actual else 0,
            from_version=actual.version if actual else "",
            to_version=desired.version or "",
            bundle_digest=decision.digest,
            gate_digest=gate,
            reason=decision.reason,
        )
        while True:
            last = self._ledger.last()
            if last is not None and last.outcome == "refused" and _subject(last) == _subject(entry):
                return
            self._tag(entry.to_version, {"release.status": "refused", "release.refused": entry.reason[:_REASON_LENGTH]})
            if self._ledger.append(last, entry):
                return

    def _end_refusal(self, actual: Release | None) -> None:
        """The version that serves was refused, for example for changed bytes, and is in order again: say so once."""
        last = self._ledger.last()
        if actual is None or last is None or last.outcome != "refused" or last.to_version != actual.version:
            return
        self._tag(actual.version, _serving_tags(actual))
        entry = replace(
            last,
            observed_at_us=self._now_us,
            outcome="unchanged",
            bundle_digest=actual.bundle,
            gate_digest=actual.gate,
            reason="the version that serves is in order again",
        )
        self._ledger.append(last, entry)

    def _kind(self, version: str) -> Action:
        """A version that served before the last one is gone back to; the last one itself returns from a withdrawal."""
        served = self._served()
        return "rolled_back" if version in served and version != served[-1] else "released"

    def _served(self) -> list[str]:
        return [entry.to_version for entry in self._ledger.entries() if entry.outcome in ("released", "rolled_back")]

    def _tag(self, version: str, tags: Mapping[str, str]) -> None:
        self._registry.write_tags(self._usecase, version, tags)


def _serving_tags(release: Release) -> dict[str, str]:
    named = {f"release.{placement}": f"release {release.number}" for placement in release.placements}
    return {"release.status": "released", "release.refused": "", **named}


def _subject(refusal: Promotion) -> tuple[str, str, str]:
    return refusal.to_version, refusal.bundle_digest, refusal.reason
