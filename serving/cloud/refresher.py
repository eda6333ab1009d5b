"""The thread that keeps the models of a server those that are released.

Level-triggered: each look compares what is released with what is in memory and takes the steps between. A bundle that
cannot be served here (damaged, forbidden operators, other golden scores) is refused once, said once, and not opened
again until another one is released; what answered before goes on answering. When the store cannot be reached, or the
metadata has expired, nothing changes.
"""

import threading
from collections.abc import Callable

from features.errors import TidemillError
from serving.cloud.meter import Meter
from serving.cloud.models import Loaded, ModelTable
from serving.journal import Journal
from serving.release import Release, ReleaseReader
from serving.trust.client import TrustedClient

PLACEMENT = "cloud"
DRAIN_S = 60.0


class Refresher:
    """Looks for releases and installs them in a table.

    Args:
        client: The signed releases.
        table: The models that answer.
        meter: Counts ``switched``, ``withdrawn``, ``refused`` and ``refresh_failed``.
        journal: Told the same in words.
        poll_s: Seconds between two looks.
        clock: UTC microseconds.
    """

    def __init__(
        self,
        client: TrustedClient,
        table: ModelTable,
        meter: Meter,
        journal: Journal,
        *,
        poll_s: float,
        clock: Callable[[], int],
    ) -> None:
        self._client = client
        self._reader = ReleaseReader(client)
        self._table = table
        self._meter = meter
        self._journal = journal
        self._poll_s = poll_s
        self._clock = clock
        self._refused: dict[str, tuple[str, str]] = {}  # use case: bundle, why
        self._wanted: set[str] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="refresher", daemon=True)

    def unready(self) -> str:
        """Why the server cannot answer everything that is released for it; empty when it can."""
        if self._wanted is None:
            return "the releases have not been read yet"
        missing = sorted(self._wanted - set(self._table.loaded()))
        return "; ".join(f"{usecase}: {self._refused.get(usecase, ('', 'not loaded yet'))[1]}" for usecase in missing)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._stopping.set()
        self._thread.join()

    def step(self) -> None:
        """Look once, and take every step that follows."""
        try:
            self._client.refresh(self._clock())
            usecases = self._reader.usecases()
        except TidemillError as error:
            self._meter.happened("refresh_failed")
            self._journal.change("updates", "updates", state="failing", code=error.code, reason=error)
            return
        self._journal.change("updates", "updates", state="current")
        wanted = set()
        for usecase in usecases:
            release = self._latest(usecase)
            if release is None or _is_for_here(release):
                wanted.add(usecase)
            if release is not None:
                self._follow(release)
        self._wanted = wanted

    def _latest(self, usecase: str) -> Release | None:
        try:
            return self._reader.latest(usecase)
        except TidemillError as error:  # one use case must not hold up the others
            self._failed(usecase, error)
            return None

    def _follow(self, release: Release) -> None:
        loaded = self._table.loaded().get(release.usecase)
        if not _is_for_here(release):
            if loaded is not None:
                self._done("withdrawn", release, self._table.withdraw(release.usecase))
            return
        if loaded is not None and (loaded.release.number, loaded.release.bundle) == (release.number, release.bundle):
            return
        if self._refused.get(release.usecase, ("", ""))[0] == release.bundle:
            return
        try:
            data = self._reader.bundle(release)
        except TidemillError as error:  # it may be there with the next look
            self._failed(release.usecase, error)
            return
        try:
            old = self._table.install(release, data)
        except TidemillError as error:
            self._refused[release.usecase] = release.bundle, str(error)
            self._meter.happened("refused")
            self._journal.say("refused", usecase=release.usecase, version=release.version, reason=error)
            return
        self._refused.pop(release.usecase, None)
        self._done("switched", release, old)

    def _failed(self, usecase: str, error: TidemillError) -> None:
        self._meter.happened("refresh_failed")
        self._journal.change(usecase, "fetch_failed", usecase=usecase, code=error.code, reason=error)

    def _done(self, event: str, release: Release, old: Loaded | None) -> None:
        """Say what was done, after the requests that hold the old model have ended."""
        self._meter.happened(event)
        drained = self._table.drain(old, DRAIN_S)
        before = old.release.version if old else ""
        self._journal.say(
            event,
            usecase=release.usecase,
            version=release.version,
            before=before,
            bundle=release.bundle,
            drained=str(drained).lower(),
        )

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except Exception as error:  # noqa: BLE001 - a server that looks no longer would serve an old model for ever
                self._meter.happened("refresh_failed")
                self._journal.change("updates", "updates", state="failing", reason=f"{type(error).__name__}: {error}")
            self._stopping.wait(self._poll_s)


def _is_for_here(release: Release) -> bool:
    return not release.withdrawn and PLACEMENT in release.placements
