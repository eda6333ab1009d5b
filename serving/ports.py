"""What a release run needs of the registry and of the signed repository, and what it says that it did."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from serving.approval import Desired, Wanted
from serving.consent import Question
from serving.promotion import Action
from serving.seal import Seal

Done = Action | Literal["waiting"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a release run did for one use case.

    Attributes:
        usecase: Name of the use case.
        action: What was done. ``waiting`` for an approval, ``unchanged`` for nothing.
        version: Version that is wanted, or was withdrawn; empty for none.
        digest: Its bundle; empty for none, and where it was not looked at.
        reason: Why it is refused, withdrawn, aborted or waits; empty where there is nothing to say.
        gateways: How far it has come on gateways, as a sentence; empty where it is not released to any.
        question: What somebody has to approve; None for nothing.
        asks: Whether somebody is to be asked that; a no, for one, can be changed without another question.
        spreading: Number and stage of the release, ``6-1``, while gateways or stages are still to come; empty when it
            has come where it should.
    """

    usecase: str
    action: Done
    version: str
    digest: str = ""
    reason: str = ""
    gateways: str = ""
    question: Question | None = None
    spreading: str = ""
    asks: bool = False


class RegistryPort(Protocol):
    """The model registry, as far as releases need it."""

    def wanted(self) -> Sequence[Wanted]:
        """The use cases that the registry knows.

        It raises when the registry cannot be asked: a use case that is released and not in the answer is withdrawn.
        """

    def load(self, wanted: Wanted) -> Desired:
        """The same with the bundle of the version."""

    def write_tags(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version; an empty value removes the tag. A version that is gone is left out in silence."""

    def clear_control(self, usecase: str) -> None:
        """Remove the tags of the model that ``Control`` was read from."""


class PublisherPort(Protocol):
    """The signed repository, as far as releases need it: ``serving.trust.publisher.Publisher``."""

    @property
    def seal(self) -> Seal:
        """What signs the ledger and checks approvals."""

    def refresh_metadata(self, now_us: int) -> tuple[str, ...]:
        """Sign anew what expires soon."""

    def publish(self, files: Mapping[str, bytes], remove: Collection[str], now_us: int) -> None:
        """Publish in one step."""

    def read(self, prefix: str) -> dict[str, bytes]:
        """Published files, verified."""
