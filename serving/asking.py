"""Whether somebody has to approve a step of a release, what is asked, and what they answered."""

from dataclasses import dataclass

from serving.consent import Consent, Question, read
from serving.errors import ConsentError, NothingWaitsError
from serving.policy import Rollout
from serving.release import Release
from serving.seal import Seal
from serving.status import read_status
from serving.store import Store


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known: both empty when the step may be taken.

    Attributes:
        waiting: What is waited for, as a sentence.
        declined: Why it was declined, as a sentence.
        asks: Whether somebody is to be asked. Whoever said no may still change their mind, but is not asked again.
    """

    waiting: str = ""
    declined: str = ""
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Approvals:
    """The approvals of one use case.

    Attributes:
        store: Where they lie.
        seal: Checks them.
        policy: Says when somebody is asked.
        promoted_by: Who promoted, as the version's tag says.
    """

    store: Store
    seal: Seal
    policy: Rollout
    promoted_by: str

    def asked(self, question: Question) -> Answer:
        """Look for the answer to a question."""
        if not self.policy.asks(question.stage):
            return Answer()
        if self.policy.two_people and not self.promoted_by:
            return Answer("two people are needed: say who promoted it in the tag approved_by of the version")
        try:
            return self._judged(question, read(self.store, question, self.seal))
        except ConsentError as error:
            return Answer(str(error))

    def _judged(self, question: Question, consent: Consent | None) -> Answer:
        stage = f"stage {question.stage} of {len(self.policy.stages)} of release {question.number}"
        if consent is None:
            return Answer(f"{stage} waits for an approval", asks=True)
        if not consent.approved:
            return Answer(declined=f"{consent.by}: declined {stage}: {consent.reason or 'no reason was given'}")
        if self.policy.two_people and consent.by.casefold() == self.promoted_by.casefold():
            told = f"{stage} was approved by {consent.by}, who also promoted it: another person must approve"
            return Answer(told, asks=True)
        return Answer()

    def consent(self, release: Release) -> Consent | None:
        """Who let the stage of a published release begin, and why; None where nobody was asked."""
        if release.withdrawn or release.aborts or not self.policy.asks(release.stage):
            return None
        question = Question(release.usecase, release.number, release.stage, release.bundle)
        try:
            found = read(self.store, question, self.seal)
        except ConsentError:
            return None
        return found if found is not None and found.approved else None


def open_question(store: Store, usecase: str, asked: str = "", version: str = "") -> Question:
    """Return what the last release run asked about a use case.

    Args:
        store: Where the run told it.
        usecase: Name of the use case.
        asked: Number and stage that somebody answers, ``8-1``; empty for whatever is asked.
        version: The version that somebody answers about; empty for whatever is wanted. Two versions that are wanted one
            after the other wait as the same release and stage.

    Raises:
        NothingWaitsError: Nothing is asked, or something else.
    """
    status = read_status(store, usecase)
    fields = status.get("question")
    found = Question(**fields) if isinstance(fields, dict) else None
    wanted = str(status.get("wanted") or "")
    if found is not None and asked in ("", f"{found.number}-{found.stage}") and version in ("", wanted):
        return found
    what = f"release {asked} of {usecase}" if asked else f"version {version} of {usecase}"
    now = f"the alias is on version {wanted}" if wanted else "no version has the alias"
    raise NothingWaitsError(
        f"{what} waits no longer" if asked or version else f"nothing of {usecase} waits for an approval",
        why=f"{now}, asked is release {found.number}, stage {found.stage}" if found else f"{now}, and nothing is asked",
        fix="look at what changed, and answer what is asked now"
        if found
        else "tidemill ledger show tells what became of it",
    )
