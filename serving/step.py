"""The next step of one use case: publish, refuse, withdraw, advance, hold or abort, and say so."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from serving.approval import Desired, Wanted, read_gate
from serving.asking import Approvals
from serving.books import Books
from serving.bundle import digest_of
from serving.consent import Question
from serving.decision import Decision, decide
from serving.errors import GateRecordError
from serving.policy import Rollout
from serving.ports import Done, Outcome, PublisherPort, RegistryPort
from serving.release import Release, bundle_path, release_path
from serving.reports import Report
from serving.rollout import Advice, advise, spread
from serving.status import FORMAT, read_status, write_status
from serving.store import Store

_AHEAD_US = 3_600_000_000  # clocks of two release runs may differ


class Step:
    """The step of one use case.

    Args:
        wanted: What the registry says.
        actual: What is published; None for nothing yet.
        registry: Gives bundles and takes tags.
        publisher: Publishes.
        store: Holds gate records, approvals and the ledger.
        reports: What the gateways of the use case say.
        policy: How its releases spread.
        now_us: The time, UTC microseconds.
        max_gate_age_us: How old a gate decision may be when its bundle is released.
    """

    def __init__(
        self,
        wanted: Wanted,
        actual: Release | None,
        *,
        registry: RegistryPort,
        publisher: PublisherPort,
        store: Store,
        reports: Sequence[Report],
        policy: Rollout,
        now_us: int,
        max_gate_age_us: int,
    ) -> None:
        self._wanted = wanted
        self._actual = actual
        self._registry = registry
        self._publisher = publisher
        self._store = store
        self._reports = reports
        self._policy = policy
        self._now_us = now_us
        self._max_gate_age_us = max_gate_age_us
        self._books = Books(wanted, registry, store, publisher.seal, now_us)
        self._approvals = Approvals(store, publisher.seal, policy, wanted.promoted_by)

    def take(self, *, verify: bool) -> Outcome:
        """Take it.

        Args:
            verify: Whether to look into the bundle of a version that serves already.
        """
        finished = self._books.settle(self._actual, self._approvals.consent(self._actual)) if self._actual else None
        self._forget_old_abort()
        if self._serves() and not verify and not self._in_doubt():
            outcome = self._go_on(Outcome(self._wanted.usecase, finished or "unchanged", self._wanted.version or ""))
        else:
            outcome = self._follow(finished)
        return self._tell(outcome)

    def _follow(self, finished: Done | None) -> Outcome:
        """Look into the bundle that is wanted, decide, and do it."""
        desired = (
            self._registry.load(self._wanted) if self._wanted.version else Desired(self._wanted.usecase, None, None)
        )
        decision, gate = self._decide(desired)
        version = desired.version or (self._actual.version if self._actual else "")
        outcome = Outcome(self._wanted.usecase, decision.action, version, decision.digest, decision.reason)
        match decision.action:
            case "refused":
                self._books.refuse(self._actual, decision.digest, gate, decision.reason)
            case "unchanged":
                if self._actual is not None and not self._actual.withdrawn:
                    self._books.in_order_again(self._actual)
                    return self._go_on(replace(outcome, action=finished or "unchanged"))
                return replace(outcome, action=finished or "unchanged")
            case "withdrawn":
                self._publish(replace(self._empty(), stage_since_us=self._now_us), b"")
                self._forget_wish()
            case _:
                return self._release(desired, decision, gate, outcome)
        return outcome

    def _decide(self, desired: Desired) -> tuple[Decision, str]:
        """The decision, and the digest of the gate record that it rests on."""
        digest = digest_of(desired.bundle) if desired.bundle is not None else ""
        try:
            gate = read_gate(self._store, digest) if digest else None
        except GateRecordError as error:
            return Decision("refused", digest, reason=str(error)), ""
        decision = decide(desired, self._actual, gate, self._now_us, max_gate_age_us=self._max_gate_age_us)
        return decision, gate.file_digest if gate else ""

    def _release(self, desired: Desired, decision: Decision, gate: str, outcome: Outcome) -> Outcome:
        """Publish a new release, unless its rollout was aborted or somebody has to approve first."""
        if aborted := self._aborted(desired, decision.digest):
            return replace(outcome, action="refused", reason=aborted)
        release = replace(
            self._empty(),
            version=desired.version or "",
            bundle=decision.digest,
            path=bundle_path(decision.digest),
            placements=decision.placements,
            gate=gate,
            run=self._wanted.run,
            stages=len(self._policy.stages),
            share=self._policy.stages[0],
            stage_since_us=self._now_us,
            before=self._actual.former() if self._actual and len(self._policy.stages) > 1 else None,
        )
        question = Question(release.usecase, release.number, 1, release.bundle)
        answer = self._approvals.asked(question)
        if answer.declined:
            self._books.refuse(self._actual, release.bundle, gate, answer.declined)
            return replace(outcome, action="refused", reason=answer.declined, question=question)
        if answer.waiting:
            before = read_status(self._store, release.usecase)
            if (before.get("wanted"), before.get("reason")) != (release.version, answer.waiting):
                self._books.tag(release.version, {"release.status": "waiting", "release.refused": ""})
            return replace(outcome, action="waiting", reason=answer.waiting, question=question, asks=answer.asks)
        if self._wanted.control.word == "abort":  # it was about another release
            self._registry.clear_control(self._wanted.usecase)
        done = self._publish(release, desired.bundle or b"") or "released"
        self._forget_wish()
        return replace(outcome, action=done)

    def _go_on(self, outcome: Outcome) -> Outcome:
        """Take the next step of a rollout that is under way."""
        actual, control = self._actual, self._wanted.control
        if actual is None or actual.complete or outcome.action != "unchanged":
            return outcome
        advice = advise(actual, self._policy, spread(self._reports, actual, self._now_us), self._now_us)
        if control.word == "abort":
            advice = Advice("abort", _by(control.by, control.reason or "no reason was given"))
        if advice.step == "abort":
            return self._abort(actual, outcome, advice.reason)
        if actual.stage_since_us > self._now_us + _AHEAD_US:
            return self._begin_again(actual, outcome)
        if waits := self._held(actual) or advice.reason:
            return replace(outcome, action="waiting", reason=waits)
        return self._advance(actual, outcome)

    def _held(self, actual: Release) -> str:
        """Why somebody holds the rollout, or empty; the ledger learns of a pause and of its end."""
        control = self._wanted.control
        if control.word:
            told = (
                f"paused{f' ({control.word})' * (control.word != 'pause')}: {control.reason or 'no reason was given'}"
            )
            self._books.note("paused", actual, _by(control.by, told), control.by)
            return told
        last = self._books.ledger.last()
        if last is not None and last.outcome == "paused":
            # A reason that was left over from the pause is none for going on.
            stale = bool(control.reason) and last.reason.endswith(f": {control.reason}")
            self._books.note("resumed", actual, "" if stale else self._books.why(), "" if stale else control.by)
            self._forget_wish()
        return ""

    def _begin_again(self, actual: Release, outcome: Outcome) -> Outcome:
        """Let a stage begin now whose beginning lies in the future: it was published while a clock ran ahead."""
        self._publish(replace(actual, stage_since_us=self._now_us), None)
        return replace(outcome, action="waiting", reason=f"stage {actual.stage} begins anew: a clock ran ahead")

    def _advance(self, actual: Release, outcome: Outcome) -> Outcome:
        stage = actual.stage + 1
        question = Question(actual.usecase, actual.number, stage, actual.bundle)
        answer = self._approvals.asked(question)
        if answer.waiting or answer.declined:
            told = answer.waiting or answer.declined
            return replace(outcome, action="waiting", reason=told, question=question, asks=answer.asks)
        # A use case may have fewer stages by now than when the release began.
        last = stage >= min(len(self._policy.stages), actual.stages)
        release = replace(
            actual,
            stage=stage,
            share=1.0 if last else max(actual.share, self._policy.stages[stage - 1]),
            stages=stage if last else actual.stages,
            stage_since_us=self._now_us,
            before=None if last else actual.before,
            ledger=self._books.head(),
        )
        return replace(outcome, action=self._publish(release, None) or "advanced")

    def _abort(self, actual: Release, outcome: Outcome, reason: str) -> Outcome:
        """Release what served before as a new, higher release."""
        back, former = self._empty(), actual.before
        if former is not None:
            kept = {name: getattr(former, name) for name in former.__dataclass_fields__}
            back = replace(back, **{**kept, "number": back.number, "released_at_us": back.released_at_us})
        self._publish(replace(back, aborts=reason, stage_since_us=self._now_us), None)
        if self._wanted.control.word == "abort":
            self._registry.clear_control(self._wanted.usecase)
        return replace(outcome, action="aborted", reason=reason)

    def _publish(self, release: Release, bundle: bytes | None) -> Done | None:
        """Publish, then write what follows; the bundle is None where it is published already."""
        files = {release_path(release.usecase): release.to_bytes()}
        if bundle:
            files[release.path] = bundle
        old, needed = self._actual, {release.path, release.before.path if release.before else ""}
        stale = {old.path, old.before.path if old.before else ""} - needed - {""} if old else set()
        self._publisher.publish(files, stale, self._now_us)
        self._actual = release
        return self._books.settle(release, self._approvals.consent(release))

    def _empty(self) -> Release:
        """A withdrawn release with the next number: the number grows even when the published files were set back."""
        head = self._books.head()  # a ledger that contradicts itself stops here, before anything is published
        last = self._books.ledger.last()
        number = max(self._actual.number if self._actual else 0, last.number if last else 0) + 1
        return Release(self._wanted.usecase, number, "", "", "", self._now_us, ledger=head)

    def _serves(self) -> bool:
        """Whether the very version that is wanted is published, as far as can be told without its bundle."""
        actual, wanted = self._actual, self._wanted
        return actual is not None and bool(wanted.run) and (actual.version, actual.run) == (wanted.version, wanted.run)

    def _in_doubt(self) -> bool:
        """Whether the last word was a refusal or an abort, and a closer look is due."""
        last = self._books.ledger.last()
        return last is not None and last.outcome in ("refused", "aborted")

    def _aborted(self, desired: Desired, digest: str) -> str:
        """Why a version may not be released again: its rollout was aborted, and nobody has changed the alias since."""
        last = self._books.ledger.last()
        if last is None or last.outcome != "aborted":
            return ""
        if (last.from_version, last.bundle_digest) != (desired.version, digest):
            return ""
        return f"its rollout was aborted: {last.reason}. To try again, move the alias away and back"

    def _forget_wish(self) -> None:
        """Remove a reason that was used, so that it is not taken for that of the next change."""
        control = self._wanted.control
        if not control.word and (control.reason or control.by):
            self._registry.clear_control(self._wanted.usecase)

    def _forget_old_abort(self) -> None:
        """A wish to abort that finds nothing under way must not wait for the next release."""
        if self._wanted.control.word == "abort" and (self._actual is None or self._actual.complete):
            self._registry.clear_control(self._wanted.usecase)

    def _tell(self, outcome: Outcome) -> Outcome:
        """Count the gateways, and write down for people what has changed since the last look."""
        actual = self._actual
        if actual is not None and not actual.withdrawn and "gateway" in actual.placements:
            found = spread(self._reports, actual, self._now_us)
            told = found.sentence(actual) if self._reports else "no gateway reports"
            # Where none reports yet, the first ones may be about to.
            awaited = found.counts["updating"] or not actual.complete or not self._reports
            spreading = f"{actual.number}-{actual.stage}" if awaited else ""
            outcome = replace(outcome, gateways=told, spreading=spreading)
        status: dict[str, object] = {
            "usecase": outcome.usecase,
            "wanted": self._wanted.version or "",
            "action": outcome.action if outcome.action in ("waiting", "refused") else "",
            "reason": outcome.reason if outcome.action in ("waiting", "refused", "aborted") else "",
            "release": actual.number if actual else 0,
            "gateways": outcome.gateways,
            "question": asdict(outcome.question) if outcome.question else None,
            "asks": outcome.asks,
        }
        before = read_status(self._store, outcome.usecase)
        waited = str(before.get("wanted") or "") if before.get("action") == "waiting" else ""
        if waited not in ("", self._wanted.version, actual.version if actual else ""):
            self._books.tag(waited, {"release.status": ""})  # it waits no longer
        if outcome.gateways and actual is not None and _counted(before) != (actual.number, outcome.gateways):
            self._books.tag(actual.version, {"release.gateways": outcome.gateways})
        if before != {"format": FORMAT, **status}:
            write_status(self._store, status)
        return outcome


def _counted(status: dict[str, object]) -> tuple[object, object]:
    return status.get("release"), status.get("gateways")


def _by(name: str, text: str) -> str:
    return f"{name}: {text}" if name else text
