"""How far a release has spread, and the next step of its rollout: pure, from reports and policy.

Why so: the counts come from what gateways *say they run*, never from what was sent to them. A gateway that took the new
bundle and fell back to the old one says so and counts as failed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from serving.policy import Rollout
from serving.release import Release
from serving.reports import Report
from serving.words import gateways

Standing = Literal["current", "updating", "failed", "silent", "stopped", "later"]
STANDINGS: tuple[Standing, ...] = ("current", "updating", "failed", "silent", "stopped", "later")
SILENT_AFTER = timedelta(minutes=10)
"""A gateway reports once a minute."""


def standing(report: Report, release: Release, now_us: int) -> Standing:
    """Where a gateway stands with a release.

    ``current`` runs it, or nothing where it is withdrawn; ``later`` means that the stage of the gateway has not come;
    ``failed`` cannot run what it should; ``silent`` has not reported for ``SILENT_AFTER``; ``stopped`` said it ends.
    """
    if report.process == "stopped":
        return "stopped"
    if now_us - report.at_us > SILENT_AFTER / timedelta(microseconds=1):
        return "silent"
    due = release.applied_to(report.gateway)
    bundle, number = (due.bundle, due.number) if due is not None else ("", 0)
    if report.reason and report.wanted >= number and report.bundle != bundle:
        return "failed"
    if report.bundle != bundle:
        return "updating"
    return "current" if release.reaches(report.gateway) else "later"


@dataclass(frozen=True, slots=True)
class Spread:
    """How many gateways stand where.

    Attributes:
        counts: Gateways by standing, all of ``STANDINGS``.
    """

    counts: Mapping[Standing, int]

    @property
    def reached(self) -> int:
        """Gateways whose stage has come; silent and stopped ones are told apart, and may be either."""
        return sum(self.counts[name] for name in ("current", "updating", "failed"))

    def sentence(self, release: Release) -> str:
        """What the version's tag says.

        Example:
            >>> release = Release("pump_failure", 2, "2", "sha256:bb", "", 9, stages=3, stage=2, share=0.5)
            >>> counts = {"current": 37, "updating": 2, "failed": 1, "silent": 4, "stopped": 0, "later": 44}
            >>> Spread(counts).sentence(release)
            '37 of 40 healthy, stage 2 of 3'
        """
        staged = f", stage {release.stage} of {release.stages}" if release.stages > 1 else ""
        return f"{self.counts['current']} of {self.reached} healthy{staged}"


def spread(reports: Iterable[Report], release: Release, now_us: int) -> Spread:
    """Count the gateways of a use case."""
    counts = dict.fromkeys(STANDINGS, 0)
    for report in reports:
        counts[standing(report, release, now_us)] += 1
    return Spread(counts)


@dataclass(frozen=True, slots=True)
class Advice:
    """What the rollout should do.

    Attributes:
        step: ``wait``, ``advance`` to the next stage, or ``abort``.
        reason: What it waits for, or why it is aborted, as a sentence.
    """

    step: Literal["wait", "advance", "abort"]
    reason: str


def advise(release: Release, policy: Rollout, found: Spread, now_us: int) -> Advice:
    """What follows from the reports for a release that is under way; whether somebody must be asked is left out."""
    reached, failed, current = found.reached, found.counts["failed"], found.counts["current"]
    if reached and failed > policy.failing * reached:
        return Advice(
            "abort",
            f"{failed:,} of {gateways(reached)} of stage {release.stage} failed, at most {policy.failing:.0%} may",
        )
    rest_us = release.stage_since_us + policy.soak // timedelta(microseconds=1) - now_us
    if rest_us > 0:
        return Advice("wait", f"stage {release.stage} goes on for another {_minutes(rest_us)}")
    if current < policy.healthy * reached:
        found_healthy = f"{current:,} of {gateways(reached)} {'is' if current == 1 else 'are'} healthy"
        return Advice("wait", f"{found_healthy}, {policy.healthy:.0%} are needed")
    if not reached and found.counts["later"]:
        return Advice("wait", f"no gateway of stage {release.stage} reports")
    return Advice("advance", "")


def _minutes(rest_us: int) -> str:
    minutes = -(-rest_us // 60_000_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
