"""From an alias in the registry to a signed release, and back: one level-triggered step for each use case.

``reconcile`` compares what is desired (the alias) with what is published and takes the next step; running it twice
changes nothing, and events need only say "look now". What to do is decided in ``serving.decision`` for a version and in
``serving.rollout`` for a release that spreads; ``serving.step`` does it.

Every prefix of the writes is safe: first the signed files in one publication, then the tags where the engineer looks,
then the ledger entry, which says that the tags are written. A run that finds a release without its entry finishes what
the run before began.

Tags of a version: ``release.status`` is released, replaced, withdrawn, refused, aborted or waiting; ``release.cloud``
names the release while it serves, ``release.gateways`` says how far it has come there; ``release.refused`` is the
reason as a sentence.

Why so: *a refused champion leaves the previous release serving*: a mistake in the registry must not stop predictions.
"""

from collections.abc import Callable

from features.errors import TidemillError
from serving.approval import Wanted
from serving.decision import MAX_GATE_AGE_US
from serving.policy import AT_ONCE, Rollout
from serving.ports import Outcome, PublisherPort, RegistryPort
from serving.release import FOLDER, Release
from serving.reports import ReportReader
from serving.step import Step
from serving.store import Store


def at_once(_usecase: str) -> Rollout:
    """The rollout of every use case where nobody declares one."""
    return AT_ONCE


def reconcile(
    registry: RegistryPort,
    store: Store,
    publisher: PublisherPort,
    now_us: int,
    *,
    policy: Callable[[str], Rollout] = at_once,
    verify: bool = False,
    max_gate_age_us: int = MAX_GATE_AGE_US,
) -> list[Outcome]:
    """Take the next step for every use case that the registry knows or that was ever released.

    Args:
        registry: Says what is desired, and is told what came of it.
        store: Holds gate records, reports, approvals and the promotion ledger.
        publisher: Holds the releases.
        now_us: The time, UTC microseconds.
        policy: Says how the releases of a use case spread.
        verify: Also fetch the bundles of versions that serve already, and refuse those whose bytes were exchanged.
        max_gate_age_us: How old a gate decision may be when its bundle is released.

    Returns:
        One outcome per use case, by name.

    Raises:
        TidemillError: A port failed. The other use cases were still attended to; run again.
    """
    publisher.refresh_metadata(now_us)
    wanted = {each.usecase: each for each in registry.wanted()}
    released = [Release.from_bytes(data) for data in publisher.read(FOLDER).values()]
    actual = {release.usecase: release for release in released}
    reports = ReportReader(store).read() if actual or any(each.version for each in wanted.values()) else []
    outcomes: list[Outcome] = []
    failures: list[TidemillError] = []
    for usecase in sorted(wanted.keys() | actual.keys()):
        step = Step(
            wanted.get(usecase, Wanted(usecase, None)),
            actual.get(usecase),
            registry=registry,
            publisher=publisher,
            store=store,
            reports=[report for report in reports if report.usecase == usecase],
            policy=policy(usecase),
            now_us=now_us,
            max_gate_age_us=max_gate_age_us,
        )
        try:
            outcomes.append(step.take(verify=verify))
        except TidemillError as error:
            error.add_note(f"while use case {usecase} was reconciled")
            failures.append(error)
    if failures:
        raise failures[0]
    return outcomes
