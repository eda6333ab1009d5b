"""The gateway's agent: it looks for releases, installs them, and tells the store how it is.

One loop does everything that may wait (``step``); telemetry comes in on other threads (``take``). Nothing the loop
meets ends it: the store may be away for weeks while the last good bundle answers. Each use case has an
``Installation`` of its own.
"""

import contextlib
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict
from importlib.metadata import version

from features.errors import TidemillError
from serving.exposition import render
from serving.gateway import status
from serving.gateway.counts import Intake, Told
from serving.gateway.errors import NoModelError
from serving.gateway.installation import Installation
from serving.gateway.state import StateFolder
from serving.gateway.telemetry import Telemetry
from serving.gateway.trial import Limits
from serving.gateway.updates import Updates
from serving.journal import Journal, iso, now_us
from serving.record import Spool
from serving.release import Release
from serving.store import Store

TICK_S = 0.2
FORWARD_S = 1.0
SAVE_S = 60.0
REPORT_S = 60.0
_JITTER = 0.1  # gateways that were powered on together must not ask together for ever


class Agent:
    """A gateway.

    Args:
        name: Its name, unique in its fleet.
        usecases: What it runs.
        state: The folder it writes to.
        store: Takes predictions and reports.
        updates: Tells what is released.
        journal: Told about changes.
        poll_s: Seconds between two looks for releases.
        limits: What a new bundle may use on trial.
        clock: UTC microseconds.
        monotonic: Seconds that only grow.

    Attributes:
        on_first_model: Called once, when there is a model for the first time.
    """

    def __init__(
        self,
        name: str,
        usecases: Collection[str],
        *,
        state: StateFolder,
        store: Store,
        updates: Updates,
        journal: Journal,
        poll_s: float,
        limits: Limits,
        clock: Callable[[], int] = now_us,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.on_first_model: Callable[[], None] | None = None
        self._name = name
        self._store = store
        self._updates = updates
        self._journal = journal
        self._poll_s = poll_s
        self._clock = clock
        self._monotonic = monotonic
        self._folder = state.path
        self._spool = Spool(state.folder("spool"), store)
        self._installations = {
            usecase: Installation(
                usecase,
                state.folder("slots", usecase),
                Telemetry(usecase, name, state.folder("memory", usecase), self._spool, journal),
                journal,
                limits=limits,
                clock=monotonic,
            )
            for usecase in usecases
        }
        self._desired: dict[str, Release] = {}
        self._started_us = clock()
        self._stopping = threading.Event()
        self._due: dict[str, float] = {}
        self._told: object = None
        self._failing: set[str] = set()
        self._program = version("tidemill")

    def start(self) -> None:
        """Answer with what the disk holds; the store is not asked."""
        for installation in self._installations.values():
            installation.start()

    def run(self) -> None:
        """Go on until ``stop``."""
        while not self._stopping.is_set():
            self.step()
            self._stopping.wait(TICK_S)

    def stop(self) -> None:
        """End ``run``; may be called from a signal handler."""
        self._stopping.set()

    def close(self) -> None:
        """Save everything, and bring to the store what it takes."""
        self._guarded("save", self._save)
        if not self._spool.last_error:
            self._spool.forward()
            self._guarded("report", lambda: self._report("stopped"))
        self._spool.close()

    def step(self) -> None:
        """Do what is due."""
        if self._is_due("look", self._poll_s * random.uniform(1 - _JITTER, 1 + _JITTER)):  # noqa: S311 - no secret
            self._look()
        for installation in self._installations.values():
            self._guarded("watch", installation.watch)
        if self.on_first_model is not None and any(it.telemetry.model for it in self._installations.values()):
            self.on_first_model()
            self.on_first_model = None
        if self._is_due("forward", self._poll_s if self._spool.last_error else FORWARD_S) and self._spool.pending:
            self._spool.forward()
            state = "waiting" if self._spool.last_error else "working"
            self._journal.change("forward", "forward", state=state, reason=self._spool.last_error)
        if self._is_due("save", SAVE_S, at_once=False):
            self._guarded("save", self._save)
        told = self._facts()
        if told != self._told or self._is_due("report", REPORT_S):
            self._told = told
            self._due["report"] = self._monotonic() + REPORT_S
            self._guarded("report", lambda: self._report("running"))

    def take(self, body: bytes) -> Intake:
        """Take in telemetry for every use case; counts of several use cases add up.

        Raises:
            NoModelError: No use case knows the form of the telemetry yet.
        """
        now = self._clock()
        intakes = []
        for installation in self._installations.values():
            try:
                intakes.append(installation.telemetry.take(body, now))
            except NoModelError:
                if len(self._installations) == 1:
                    raise
        if not intakes:
            raise NoModelError("no release was installed yet", fix="send the telemetry later")
        if len(intakes) == 1:
            return intakes[0]
        return Intake(
            accepted=sum(intake.accepted for intake in intakes),
            rejected=sum((Counter(intake.rejected) for intake in intakes), Counter()),
            duplicates=sum(intake.duplicates for intake in intakes),
            late=sum(intake.late for intake in intakes),
            predictions=sum(intake.predictions for intake in intakes),
        )

    def tell(self, body: bytes) -> Told:
        """Take in events for every use case; counts of several use cases add up.

        Raises:
            NoModelError: No use case knows the fleet yet.
        """
        told = []
        for installation in self._installations.values():
            with contextlib.suppress(NoModelError):
                told.append(installation.telemetry.tell(body))
        if not told:
            raise NoModelError("no release was installed yet", fix="send the events later")
        return Told(
            accepted=sum(each.accepted for each in told),
            ignored=sum(each.ignored for each in told),
            rejected=sum((Counter(each.rejected) for each in told), Counter()),
            late=sum(each.late for each in told),
        )

    def health(self) -> tuple[bool, dict[str, object]]:
        """Whether every use case is served, or waits for its first release, and predictions can be kept."""
        reasons = [it.reason for it in self._installations.values() if it.state == "failing"]
        if self._spool.dropped:
            reasons.append(f"{self._spool.dropped} predictions were dropped because the disk budget is used up")
        states = sorted({it.state for it in self._installations.values()})
        return not reasons, {"healthy": not reasons, "states": states, "reasons": reasons}

    def status(self) -> dict[str, object]:
        """Everything about the gateway. With one use case, what is said about it stands at the top level."""
        now = self._clock()
        uses = [status.describe(it, self._desired.get(name), now) for name, it in self._installations.items()]
        healthy, _ = self.health()
        return {
            "format": status.FORMAT,
            "id": self._name,
            "program": self._program,
            "healthy": healthy,
            "at": iso(now),
            "started_at": iso(self._started_us),
            "memory_mib": status.memory_mib(),
            "disk_free_share": status.disk_free_share(self._folder),
            "temperature_c": status.temperature_c(),
            "updates": status.updates_of(self._updates),
            "spool": status.spool_of(self._spool),
            **(uses[0] if len(uses) == 1 else {"usecases": uses}),
        }

    def alerts(self) -> dict[str, object]:
        """Alerts that stand, oldest first, and the latest transitions, newest first."""
        pairs = [installation.telemetry.alerts() for installation in self._installations.values()]
        return {
            "standing": [asdict(alert) for standing, _ in pairs for alert in standing],
            "recent": [asdict(alert) for _, recent in pairs for alert in recent],
        }

    def metrics(self) -> bytes:
        """Counts as Prometheus text."""
        return render(status.families(self._installations, self._updates, self._spool))

    def _look(self) -> None:
        if self._updates.look(self._clock()):
            for usecase, installation in self._installations.items():
                self._follow(usecase, installation)
        self._journal.change("updates", "updates", state=self._updates.state, reason=self._updates.reason)

    def _follow(self, usecase: str, installation: Installation) -> None:
        try:
            release = self._updates.latest(usecase)
            mine = release.applied_to(self._name) if release is not None else None
            if mine is not None:
                self._desired[usecase] = mine
                installation.follow(mine, self._updates.bundle, self._stopping)
        except TidemillError as error:
            self._updates.failed(error)

    def _save(self) -> None:
        for installation in self._installations.values():
            installation.telemetry.save()

    def _facts(self) -> object:
        """What makes a new report worth while."""
        return [
            (it.telemetry.model.installed if it.telemetry.model else None, it.state, it.reason, self._updates.state)
            for it in self._installations.values()
        ]

    def _report(self, process: str) -> None:
        """Leave a report in the store. A fleet is known with the first bundle; before that there is no place for it."""
        now = self._clock()
        for usecase, installation in self._installations.items():
            fleet = installation.telemetry.fleet
            if fleet:
                uses = status.describe(installation, self._desired.get(usecase), now)
                document = {**self.status(), **uses, "process": process}
                name = self._name if len(self._installations) == 1 else f"{self._name}.{usecase}"
                self._store.put(f"reports/{fleet}/{name}.json", json.dumps(document, indent=1).encode())

    def _guarded(self, work: str, do: Callable[[], None]) -> None:
        try:
            do()
        except TidemillError as error:
            self._failing.add(work)
            self._journal.change(work, work, state="failing", reason=error)
        else:
            if work in self._failing:
                self._failing.remove(work)
                self._journal.change(work, work, state="working")

    def _is_due(self, work: str, every_s: float, *, at_once: bool = True) -> bool:
        now = self._monotonic()
        due = self._due.setdefault(work, now if at_once else now + every_s)
        if now < due:
            return False
        self._due[work] = now + every_s
        return True
