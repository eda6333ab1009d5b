"""A use case on a gateway: which bundle lies in which slot, which one answers, and how one follows another.

A new release is staged in the free slot, tried in a child (``trial``), loaded, and only then the pointer switches; the
telemetry of this very moment sees either the old model or the new one. The new one is on probation until it has made
its first predictions or has run for ``PROBATION_S``; when it fails before that, or takes the program down
``MAX_STARTS`` times, the last good one answers again and the failed bundle is not taken again, unless a later release
names it.

What happens is decided by what is desired and what is there, never by a memory of events: ``follow`` can be called at
any time, with the same release again and after any interruption.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

from features.errors import TidemillError
from serving.bundle import unpack
from serving.errors import BundleContentError
from serving.gateway.errors import DamagedSlotError
from serving.gateway.scoring import Model
from serving.gateway.slots import POINTER, Installed, Slots
from serving.gateway.telemetry import Telemetry
from serving.gateway.trial import Limits, try_bundle
from serving.journal import Journal
from serving.predictor import Predictor
from serving.release import Release

PLACEMENT = "gateway"
PROBATION_S = 60.0
MAX_STARTS = 3
RETRY_S = 600.0


class Installation:
    """The slots and the model of one use case.

    Args:
        usecase: Its name.
        folder: Where its slots live.
        telemetry: Who predicts with the model.
        journal: Told about every switch and refusal.
        limits: What a trial may use.
        clock: Seconds that only grow.

    Attributes:
        state: ``waiting`` for a first release, ``serving``, on ``probation``, ``withdrawn`` or ``failing``.
        reason: Why a release is not served, or empty.
    """

    def __init__(
        self,
        usecase: str,
        folder: Path,
        telemetry: Telemetry,
        journal: Journal,
        *,
        limits: Limits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.telemetry = telemetry
        self.reason = ""
        self._usecase = usecase
        self._journal = journal
        self._limits = limits
        self._clock = clock
        self._slots = _opened(folder, journal)
        self._withdrawn = False
        self._since = 0.0
        self._predicted_before = 0
        self._not_before: tuple[str, float] = ("", 0.0)  # a bundle that failed its trial, and when to try it again
        telemetry.on_failure = self._fell_over

    @property
    def state(self) -> str:
        """What there is to say in one word."""
        if self.telemetry.model is not None:
            return "serving" if self._slots.proven else "probation"
        if self.reason:
            return "failing"
        return "withdrawn" if self._withdrawn else "waiting"

    def start(self) -> None:
        """Answer with what the disk holds; no network is asked."""
        serving = self._slots.serving
        if serving is None:
            return
        if self._slots.began() > MAX_STARTS:
            self._go_back(serving, f"the program did not survive it {MAX_STARTS} times")
            return
        try:
            self._serve(self._loaded(serving))
        except DamagedSlotError as error:  # the disk's fault: the same bundle may be fetched again
            self._go_back(serving, str(error), refuse=False)
        except TidemillError as error:
            self._go_back(serving, str(error))

    def follow(self, release: Release, fetch: Callable[[Release], bytes], stopping: threading.Event) -> None:
        """Take the next step towards what is released.

        Args:
            release: What is desired.
            fetch: Gets its bundle.
            stopping: Set when the gateway stops.

        Raises:
            TrustError: The bundle cannot be fetched.
            StateFolderError: The disk refuses.
        """
        if release.withdrawn or PLACEMENT not in release.placements:
            self._withdraw()
            return
        wanted = Installed("", release.version, release.number, release.bundle, release.released_at_us)
        model = self.telemetry.model
        if model is not None and model.installed.bundle == release.bundle:
            self._relabel(model, wanted)
        elif not self._is_refused(wanted):
            self._take(wanted, fetch(release), stopping)

    def watch(self) -> None:
        """End the probation of a model that has shown that it works."""
        model = self.telemetry.model
        if model is None or self._slots.proven:
            return
        predicted = self.telemetry.totals.predictions > self._predicted_before
        if predicted or self._clock() - self._since >= PROBATION_S:
            with self.telemetry.lock:
                self._slots.prove(model.installed)
            self._say("proven", model.installed)

    def _take(self, wanted: Installed, data: bytes, stopping: threading.Event) -> None:
        with self.telemetry.lock:
            staged = self._slots.stage(data, wanted)
        try:
            verdict = try_bundle(self._slots.path(staged.slot), staged.bundle, self._limits, stopping)
            model = self._loaded(staged)
        except TidemillError as error:
            if stopping.is_set():
                return
            self.reason = f"version {wanted.version} was refused: {error}"
            self._not_before = wanted.bundle, self._clock() + RETRY_S
            self._say("refused", staged, reason=error)
            return
        with self.telemetry.lock:
            self._slots.commit(staged)
            self._serve(model)
        self.reason = ""
        self._say("switched", staged, golden=verdict.golden, trial_mib=verdict.memory_mib, trial_s=verdict.seconds)

    def _loaded(self, installed: Installed) -> Model:
        bundle = unpack(self._slots.read(installed), installed.bundle)
        if bundle.manifest.usecase != self._usecase or PLACEMENT not in bundle.manifest.placements:
            raise BundleContentError(
                "the bundle is not for this gateway",
                where=installed.bundle,
                why=f"it is for {bundle.manifest.usecase} at {', '.join(bundle.manifest.placements)}",
            )
        predictor = Predictor(bundle)
        predictor.check_golden()
        return Model(installed, predictor, bundle.manifest.features.digest)

    def _serve(self, model: Model) -> None:
        self._withdrawn = False
        self._since = self._clock()
        self._predicted_before = self.telemetry.totals.predictions
        self.telemetry.serve(model)

    def _relabel(self, model: Model, wanted: Installed) -> None:
        self.reason = ""
        installed = model.installed
        if (wanted.version, wanted.number) == (installed.version, installed.number):
            return
        with self.telemetry.lock:
            self._slots.relabel(wanted)
            # What the pointer serves is another bundle while an unproven one is being replaced; memory says what runs.
            serving = self._slots.serving
            slot = serving.slot if serving and serving.bundle == wanted.bundle else installed.slot
            renamed = Installed(slot, wanted.version, wanted.number, wanted.bundle, wanted.released_at_us)
            self.telemetry.serve(Model(renamed, model.predictor, model.feature_digest))
        self._say("relabelled", renamed)

    def _withdraw(self) -> None:
        self._withdrawn = True
        self.reason = ""
        if self._slots.serving is None and self.telemetry.model is None:
            return
        with self.telemetry.lock:
            self._slots.withdraw()
            self.telemetry.withdraw()
        self._journal.say("withdrawn", usecase=self._usecase)

    def _is_refused(self, wanted: Installed) -> bool:
        refused = self._slots.refused
        if refused is not None and refused.bundle == wanted.bundle and wanted.number <= refused.number:
            self.reason = f"version {wanted.version} failed while it served"
            return True
        bundle, again = self._not_before
        return bundle == wanted.bundle and self._clock() < again

    def _fell_over(self, model: Model, error: TidemillError) -> None:
        """The model failed on live rows. Called with the telemetry's lock held."""
        if self._slots.proven and self._slots.serving == model.installed:
            return  # it has worked before, and there is nothing better: the next rows are tried again
        self._go_back(model.installed, str(error))

    def _go_back(self, failed: Installed, why: str, *, refuse: bool = True) -> None:
        with self.telemetry.lock:
            self.reason = f"version {failed.version} failed: {why}"
            back = self._slots.fall_back(failed, refuse=refuse)
            self._say("fell_back", failed, to=back.version if back else "nothing", reason=why)
            self.telemetry.withdraw()
            if back is None:
                return
            try:
                self._serve(self._loaded(back))
            except TidemillError as error:
                self._slots.withdraw()
                self.reason += f"; version {back.version} cannot take its place: {error}"
                self._say("lost", back, reason=error)

    def _say(self, event: str, installed: Installed, **fields: object) -> None:
        self._journal.say(
            event,
            usecase=self._usecase,
            version=installed.version,
            slot=installed.slot,
            bundle=installed.bundle,
            **fields,
        )


def _opened(folder: Path, journal: Journal) -> Slots:
    """The slots; a pointer that cannot be read is put aside, and the current release is taken anew."""
    try:
        return Slots(folder)
    except DamagedSlotError as error:
        journal.say("pointer_damaged", reason=error)
        with contextlib.suppress(OSError):
            (folder / POINTER).replace(folder / f"{POINTER}.damaged")
        return Slots(folder)
