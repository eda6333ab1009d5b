"""Predictions on their way from a request to the spool, off the request's path.

An fsync takes milliseconds where an inference takes microseconds, so requests only queue their predictions; one thread
writes them to the spool several times a second and forwards the spool to object storage every few seconds. The queue is
bounded: when the disk falls behind, requests that want to be recorded are turned away (503) rather than answered
unrecorded. A crash of the process loses at most the ``WRITE_S`` before it; a regular stop loses nothing.
"""

import threading
import time
from collections.abc import Sequence

from features.errors import TidemillError
from serving.cloud.meter import Meter
from serving.journal import Journal
from serving.record import Prediction, Spool

WRITE_S = 0.2


class Recorder:
    """Queues predictions and writes them from a thread of its own.

    Args:
        spool: Where they go.
        meter: Counts failed writes as ``record_failed``.
        journal: Told when the store stops or resumes taking predictions.
        capacity: Most predictions that wait.
        forward_every_s: Seconds between two forwards.
    """

    def __init__(
        self, spool: Spool, meter: Meter, journal: Journal, *, capacity: int = 200_000, forward_every_s: float = 5.0
    ) -> None:
        self._spool = spool
        self._meter = meter
        self._journal = journal
        self._capacity = capacity
        self._forward_every_s = forward_every_s
        self._lock = threading.Lock()
        self._waiting: list[Prediction] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    @property
    def waiting(self) -> int:
        """Predictions that are neither written nor given up."""
        return len(self._waiting)

    def has_room(self, count: int) -> bool:
        """Whether ``count`` more predictions can wait; asked before the model runs."""
        return len(self._waiting) + count <= self._capacity

    def record(self, predictions: Sequence[Prediction]) -> None:
        """Queue predictions."""
        with self._lock:
            self._waiting.extend(predictions)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write and forward what waits, then end."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        forwarded = time.monotonic()
        while not self._stopping.wait(WRITE_S):
            self._write()
            if time.monotonic() - forwarded >= self._forward_every_s:
                self._forward()
                forwarded = time.monotonic()
        self._write()
        self._forward()

    def _write(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
        if not taken:
            return
        try:
            self._spool.append(taken)
        except TidemillError as error:
            # They stay queued: a full disk empties again, and has_room turns requests away until it does.
            with self._lock:
                self._waiting = taken + self._waiting
            self._meter.happened("record_failed")
            self._journal.change("spool", "spool", state="failing", reason=error)
        else:
            self._journal.change("spool", "spool", state="writing")

    def _forward(self) -> None:
        self._spool.forward()
        if self._spool.last_error:
            self._journal.change("forward", "forward", state="waiting", reason=self._spool.last_error)
        else:
            self._journal.change("forward", "forward", state="working")
