"""What people answered when they were asked whether a release may go on.

Specification. Key ``ledger/approvals/<usecase>/<number>-<stage>-<first 16 hex digits of the bundle's digest>.json``::

    {"format": 1, "usecase": "pump_failure", "number": 3, "stage": 1, "bundle": "sha256:…", "approved": true,
     "by": "ben", "reason": "figures are fine", "answered_at_us": …, "signature": {"keyid": "…", "sig": "<hex>"}}

``number`` is the release as it would be numbered. The signature is of the key of releases, over the file without
``signature``. The newest answer counts: whoever declined may approve later. What an answer led to is in the ledger of
promotions.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from serving.bundle import canonical_json
from serving.errors import ConsentError, MissingObjectError
from serving.seal import Seal
from serving.store import Store

FOLDER = "ledger/approvals/"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: may this bundle go to this stage as this release?

    Attributes:
        usecase: Name of the use case.
        number: Of the release.
        stage: From 1.
        bundle: Its digest.
    """

    usecase: str
    number: int
    stage: int
    bundle: str

    @property
    def key(self) -> str:
        """Where the answer lies."""
        return f"{FOLDER}{self.usecase}/{self.number}-{self.stage}-{self.bundle.removeprefix('sha256:')[:16]}.json"


@dataclass(frozen=True, slots=True)
class Consent:
    """An answer.

    Attributes:
        question: What was asked.
        approved: Yes or no.
        by: Who answered: the name of a login where there is one.
        reason: Why, in their words.
        answered_at_us: When, UTC microseconds.
        signature: ``keyid`` and ``sig``; given by ``write``.
    """

    question: Question
    approved: bool
    by: str
    reason: str
    answered_at_us: int
    signature: Mapping[str, str] = field(default_factory=dict)

    def _fields(self) -> dict[str, object]:
        asked = self.question
        return {
            "format": _FORMAT,
            "usecase": asked.usecase,
            "number": asked.number,
            "stage": asked.stage,
            "bundle": asked.bundle,
            "approved": self.approved,
            "by": self.by,
            "reason": self.reason,
            "answered_at_us": self.answered_at_us,
        }

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return canonical_json(self._fields())

    def to_bytes(self) -> bytes:
        """The file."""
        return canonical_json({**self._fields(), "signature": dict(self.signature)})


def write(store: Store, consent: Consent, seal: Seal) -> None:
    """Sign an answer and keep it; it takes the place of an earlier one.

    Raises:
        ConsentError: It names nobody.
    """
    if not consent.by.strip():
        raise ConsentError("an approval must name who gives it", where=consent.question.key, fix="--by NAME")
    store.put(consent.question.key, replace(consent, signature=seal.sign(consent.signed_bytes())).to_bytes())


def read(store: Store, question: Question, seal: Seal) -> Consent | None:
    """Return the answer; None when nobody answered.

    Raises:
        ConsentError: There is a file, but it is no answer to this question, or it was not signed with the key.
    """
    try:
        data = store.get(question.key)
    except MissingObjectError:
        return None
    try:
        fields = json.loads(data)
        asked = Question(fields["usecase"], fields["number"], fields["stage"], fields["bundle"])
        approved, by, reason, at_us = (fields[name] for name in ("approved", "by", "reason", "answered_at_us"))
        consent = Consent(asked, approved, by, reason, at_us, fields["signature"])
        known = asked == question and type(approved) is bool and consent.to_bytes() == data
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConsentError("an approval cannot be read", where=question.key, why=str(error)) from error
    if not known or not seal.signed(consent.signed_bytes(), consent.signature):
        raise ConsentError(
            "an approval was not written by this program with the key of releases",
            where=question.key,
            fix="look who may write to the store; remove the file and approve again",
        )
    return consent
