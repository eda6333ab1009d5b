"""From telemetry to predictions and alerts on a gateway: one use case, one model, one memory of its devices.

``take`` is the whole path of a body: read and judge (``records``), compute features (``features.online``), predict
(``scoring``), keep the predictions (``Spool``) and watch for alerts. It runs under one lock, because readings count in
the order they arrive and a model must not change halfway through a batch.

The memory (running features, alerts) belongs to a feature set, not to a model: a new model with the same features goes
on with it, one with other features starts warming up. It is saved now and then and at the end; after a crash the
readings since the last save are missing from the features, and what their sender repeats is taken in again.
"""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from features.errors import SnapshotError, TidemillError
from features.featureset import FeatureSet
from features.online import OnlineFeatures, OnlineRows
from features.unknown import add
from serving.alert import Alert, AlertPolicy, Alerts
from serving.errors import ModelError, RecordError, StoreError
from serving.gateway.counts import Intake, Told, Totals
from serving.gateway.errors import NoModelError
from serving.gateway.events import read as read_events
from serving.gateway.records import read
from serving.gateway.scoring import Model, Scored, Source, singly, stamped
from serving.gateway.state import write_durably
from serving.journal import Journal
from serving.prediction import Prediction
from serving.record import Spool

CLOCK_SLACK_US = 600_000_000  # a release may come from a clock that is a little ahead
UNKEPT_LIMIT = 50_000  # predictions held in memory while the disk refuses them
RECENT_ALERTS = 200
MOST_DEVICES = 10_000  # names in telemetry may be anything; each that is remembered takes memory


class Telemetry:
    """The telemetry of one use case; safe to use from several threads.

    Args:
        usecase: Its name.
        instance: Name of the gateway.
        folder: Where its memory is saved.
        spool: Takes the predictions.
        journal: Told about alerts and faults.

    Attributes:
        usecase: Its name.
        lock: Held during ``take`` and every change of the model.
        totals: What has happened.
        on_failure: Called, with the lock held, when the model fails while it serves; it may ``serve`` another.
    """

    def __init__(self, usecase: str, instance: str, folder: Path, spool: Spool, journal: Journal) -> None:
        self.lock = threading.RLock()
        self.totals = Totals()
        self.on_failure: Callable[[Model, TidemillError], None] | None = None
        self.usecase = usecase
        self._instance = instance
        self._features_file = folder / "features.npz"
        self._alerts_file = folder / "alerts.json"
        self._spool = spool
        self._journal = journal
        self._alerts = self._restored_alerts()
        self._recent: deque[Alert] = deque(maxlen=RECENT_ALERTS)
        self._online: OnlineFeatures | None = None
        self._model: Model | None = None
        self._unkept: list[Prediction] = []

    @property
    def model(self) -> Model | None:
        """What answers at the moment."""
        return self._model

    @property
    def fleet(self) -> str:
        """Name of the fleet whose telemetry comes in; empty before the first model."""
        return self._online.features.fleet.name if self._online else ""

    def alerts(self) -> tuple[list[Alert], list[Alert]]:
        """The alerts that stand, and the latest transitions, newest first."""
        with self.lock:
            return self._alerts.active(), list(reversed(self._recent))

    def serve(self, model: Model) -> None:
        """Answer with a model from now on; running features go on when it sees the same ones."""
        with self.lock:
            if self._online is None or self._online.features.digest != model.feature_digest:
                self._online, state = self._remembered(model.features)
                self._journal.say("features", usecase=self.usecase, digest=model.feature_digest, state=state)
            self._model = model

    def withdraw(self) -> None:
        """Answer no longer; the features go on, so that a release that follows finds them warm."""
        with self.lock:
            self._model = None

    def clock_is_behind(self, now_us: int) -> bool:
        """Whether the clock shows a time before the release it runs was made: it was never set since the power came."""
        return self._model is not None and now_us < self._model.installed.released_at_us - CLOCK_SLACK_US

    def take(self, body: bytes, now_us: int) -> Intake:
        """Take in records and predict what became due.

        Args:
            body: See ``records.read``.
            now_us: The clock.

        Raises:
            NoModelError: There has been no model yet, so nothing is known about the telemetry; nothing was taken.
        """
        with self.lock:
            if self._online is None:
                raise NoModelError("no release was installed yet", where=self.usecase, fix="send the telemetry later")
            behind = self.clock_is_behind(now_us)
            fleet = self._online.features.fleet
            readings = read(body, fleet, None if behind else now_us)
            dropped = self._dropped()
            rows = self._online.update(readings.devices, readings.times, readings.values)
            duplicates, late, crowded, refused = (self._dropped() - dropped).tolist()
            predictions = self._predict(rows, now_us, behind=behind)
            self._keep(predictions)
            accepted = len(readings.devices) - duplicates - late - crowded - refused
            rejected = {reason.value: count for reason, count in readings.rejected.items()}
            beyond = {"too_many_at_once": crowded, "too_many_devices": refused}
            rejected |= {reason: count for reason, count in beyond.items() if count}
            intake = Intake(accepted, rejected, duplicates, late, len(predictions))
            self._count(intake, now_us)
            add(self.totals.unknown, readings.unknown)
            return intake

    def _dropped(self) -> NDArray[np.int64]:
        """Readings the features did not take in: duplicates, late ones, too many at once, of too many devices."""
        online = self._online
        counts = (online.duplicates, online.late, online.crowded, online.refused) if online is not None else (0,) * 4
        return np.array(counts, np.int64)

    def tell(self, body: bytes) -> Told:
        """Take in events, for the features that speak of them.

        Args:
            body: See ``events.read``.

        Raises:
            NoModelError: There has been no model yet, so nothing is known about the fleet; nothing was taken.
        """
        with self.lock:
            if self._online is None:
                raise NoModelError("no release was installed yet", where=self.usecase, fix="send the events later")
            events = read_events(body, self._online.features.fleet)
            late = self._online.late_events
            self._online.events(events.devices, events.kinds, events.times, events.known)
            rejected = {reason.value: count for reason, count in events.rejected.items()}
            return Told(len(events.devices), events.ignored, rejected, self._online.late_events - late)

    def filling(self) -> tuple[int, int]:
        """How many devices wait for their first row, and the end of the earliest of these, UTC microseconds, or 0."""
        with self.lock:
            ends = self._online.filling().values() if self._online is not None else ()
            return len(ends), min(ends, default=0)

    def save(self) -> None:
        """Save the memory, and predictions that the disk refused before.

        Raises:
            StateFolderError: The disk refuses.
        """
        with self.lock:
            self._keep([])
            features = self._online.snapshot() if self._online is not None else None
            alerts = self._alerts.snapshot()
        if features is not None:
            write_durably(self._features_file, features)
        write_durably(self._alerts_file, alerts)

    def _predict(self, rows: OnlineRows, now_us: int, *, behind: bool) -> list[Prediction]:
        scored = self._score(rows) if len(rows.end) else None
        if scored is None:
            return []
        source = Source(self.usecase, self._instance)
        predictions = stamped(source, scored, now_us, behind=behind)
        self.totals.shown.add(scored.model.installed.bundle, scored.rows.values)
        for prediction in predictions:
            self._watch(prediction)
        self.totals.last_prediction_us = now_us
        return predictions

    def _score(self, rows: OnlineRows) -> Scored | None:
        """Scores, with the rows they are of and the model that gave them.

        When the model fails, the one that ``on_failure`` puts in its place is asked; when there is none, the rows are
        scored one by one.
        """
        online, failed = self._online, None
        while (model := self._model) is not None and model is not failed and self._online is online:
            try:
                return Scored(model, rows, model.predictor.predict(rows.values))
            except TidemillError as error:
                self._journal.say("predict_failed", usecase=self.usecase, bundle=model.installed.bundle, reason=error)
                failed = model
                if isinstance(error, ModelError) and self.on_failure is not None:
                    self.on_failure(model, error)
        scored = singly(failed, rows) if failed is not None and self._model is failed else None
        self.totals.unpredicted += len(rows.end) - (len(scored.rows.end) if scored else 0)
        return scored

    def _watch(self, prediction: Prediction) -> None:
        alert = self._alerts.observe(prediction)
        if alert is not None:
            self._recent.append(alert)
            self.totals.alerts += alert.kind == "raised"
            self._journal.say(
                f"alert_{alert.kind}", usecase=alert.usecase, device=alert.device, score=round(alert.score, 4)
            )

    def _keep(self, predictions: list[Prediction]) -> None:
        """Spool predictions, and those the disk refused before; what it refuses waits in memory, up to a limit."""
        self._unkept += predictions
        if not self._unkept:
            return
        try:
            self._spool.append(self._unkept)
        except StoreError as error:
            lost = max(0, len(self._unkept) - UNKEPT_LIMIT)
            del self._unkept[:lost]
            self._journal.change("spool", "spool", state="failing", lost=lost, reason=error)
        else:
            self._unkept = []
            self._journal.change("spool", "spool", state="writing")

    def _count(self, intake: Intake, now_us: int) -> None:
        totals = self.totals
        totals.accepted += intake.accepted
        totals.rejected.update(intake.rejected)
        totals.duplicates += intake.duplicates
        totals.late += intake.late
        totals.predictions += intake.predictions
        totals.last_telemetry_us = now_us

    def _remembered(self, features: FeatureSet) -> tuple[OnlineFeatures, str]:
        lateness = features.fleet.late_after
        try:
            data = self._features_file.read_bytes()
            return OnlineFeatures.restore(features, lateness, data, MOST_DEVICES), "restored"
        except (OSError, SnapshotError):
            return OnlineFeatures(
                features, lateness, MOST_DEVICES
            ), f"warming_up_for_{features.longest_us // 1_000_000}s"

    def _restored_alerts(self) -> Alerts:
        try:
            return Alerts.restore(AlertPolicy(), self._alerts_file.read_bytes())
        except FileNotFoundError:
            return Alerts()
        except (OSError, RecordError) as error:
            self._journal.say("alerts_forgotten", usecase=self.usecase, reason=error)
            return Alerts()
