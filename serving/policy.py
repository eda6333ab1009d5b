"""How a release spreads over gateways, and who has to say yes: declared by a use case, followed by the release run.

A release is offered to a share of the gateways first. A stage is over when its soak time has passed and enough of its
gateways predict with the new version; too many that fail abort the rollout. The cloud server is one machine and changes
with the first stage.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from serving.errors import PolicyError

Approval = Literal["never", "first", "each"]


@dataclass(frozen=True, slots=True)
class Rollout:
    """The stages of a release.

    Attributes:
        stages: Share of the gateways from each stage on, growing, the last one 1.
        soak: How long a stage lasts at least.
        healthy: Share of a stage's gateways that must predict with the new version before the next stage; those that
            are silent are not counted.
        failing: More than this share of a stage's gateways that cannot run the version aborts the rollout.
        approval: Who is asked in Airflow: nobody, somebody before the first stage, or before each stage.
        two_people: Whoever approves must be another person than the one who promoted, who must be named by the
            version's tag ``approved_by``. Asks before the first stage at least.
        answer_within: How long an approval is waited for; no answer counts as no.

    Example:
        >>> Rollout(stages=(0.05, 0.5, 1.0), approval="each").asks(2)
        True
        >>> Rollout().asks(1)
        False
    """

    stages: tuple[float, ...] = (1.0,)
    soak: timedelta = timedelta(hours=1)
    healthy: float = 0.9
    failing: float = 0.05
    approval: Approval = "never"
    two_people: bool = False
    answer_within: timedelta = timedelta(hours=24)

    def __post_init__(self) -> None:
        growing = all(low < high for low, high in zip((0.0, *self.stages), self.stages, strict=False))
        _demand(bool(self.stages) and growing and self.stages[-1] == 1, "stages", self.stages, "growing shares up to 1")
        _demand(0 < self.healthy <= 1, "healthy", self.healthy, "a share above 0, up to 1")
        _demand(0 <= self.failing < 1, "failing", self.failing, "a share from 0, below 1")
        _demand(self.soak >= timedelta(0), "soak", self.soak, "no negative time")
        _demand(self.approval in ("never", "first", "each"), "approval", self.approval, "never, first or each")
        _demand(self.answer_within > timedelta(0), "answer_within", self.answer_within, "a positive time")

    def asks(self, stage: int) -> bool:
        """Whether somebody has to approve before a stage, counted from 1."""
        return self.approval == "each" or (stage == 1 and (self.approval == "first" or self.two_people))


def _demand(met: bool, name: str, value: object, allowed: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not met:
        raise PolicyError(f"{name} of a rollout is {value!r}", where="Rollout", fix=f"it must be {allowed}")


AT_ONCE = Rollout()
"""Without stages and without questions: what a use case gets that declares nothing."""
