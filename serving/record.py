"""Predictions as records (``serving.prediction``), and the spool that brings them to object storage.

The ``Spool`` keeps predictions on the local disk until the store has them:

- ``append`` returns after an fsync: what it took survives a power cut;
- ``forward`` closes the running segment and writes each closed one as
  ``<prefix>/<usecase>/<placement>/<instance>/<yyyy-mm-dd>/<segment>.jsonl.gz``. The name of an object follows from its
  content, so a process that is killed between the write and the deletion writes the same object again, never a second;
- while the store is down, nothing is lost and nothing is raised: see ``pending`` and ``last_error``;
- the disk it takes is bounded: beyond the limit the oldest segments are dropped, and ``dropped`` counts their
  predictions.
"""

import contextlib
import errno
import fcntl
import gzip
import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serving.errors import DiskFullError, RecordError, SpoolBusyError, StoreError
from serving.prediction import Prediction, decode, decode_line, encode, moment, prediction_id
from serving.store import Store, check_key, sync_folder

__all__ = ["SEGMENT_BYTES", "SPOOL_BYTES", "Prediction", "Spool", "decode", "encode", "prediction_id"]

SEGMENT_BYTES = 1024 * 1024
SPOOL_BYTES = 256 * 1024 * 1024


class Spool:
    """Predictions on their way to the store; safe to use from several threads of one process.

    Args:
        folder: A local folder of this process alone; it is made when missing.
        store: Where to.
        prefix: First part of the keys; use case, placement, instance and day (of ``predicted_at_us``, UTC) follow from
            each prediction.
        segment_bytes: A segment that reached this size is closed.
        limit_bytes: Disk space for closed and running segments; beyond it the oldest closed ones are dropped.

    Attributes:
        pending: Predictions that the store does not have yet.
        dropped: Predictions given up since the start because the limit was reached.
        damaged: Lines since the start that could not be read back, from a disk that lies.
        last_error: Why the latest ``forward`` stopped, empty when it did not.

    Raises:
        SpoolBusyError: Another process uses the folder.
    """

    def __init__(
        self,
        folder: Path,
        store: Store,
        prefix: str = "predictions",
        *,
        segment_bytes: int = SEGMENT_BYTES,
        limit_bytes: int = SPOOL_BYTES,
    ) -> None:
        self._folder = folder
        self._store = store
        self._prefix = prefix.strip("/")
        self._segment_bytes = segment_bytes
        self._limit_bytes = limit_bytes
        self._change = threading.Lock()  # segments and counters
        self._forwarding = threading.Lock()  # one forward at a time; never held with a wait for the store under _change
        self.dropped = 0
        self.damaged = 0
        self.last_error = ""
        folder.mkdir(parents=True, exist_ok=True)
        self._owner = _own(folder)
        self._closed = _recover(folder)
        self._running: _Segment | None = None
        self._sending: _Segment | None = None
        self._next = 1 + max((segment.number for segment in self._closed), default=0)

    @property
    def pending(self) -> int:
        """Predictions that the store does not have yet."""
        with self._change:
            return sum(segment.count for segment in self._held())

    def append(self, predictions: Iterable[Prediction]) -> None:
        """Keep predictions; on return they survive a power cut.

        Raises:
            DiskFullError: The local disk is full; none of them was kept.
            RecordError: One of them cannot be written; none of them was kept.
            InvalidKeyError: A use case or instance cannot be part of a key; none of them was kept.
        """
        predictions = list(predictions)
        for folder in {self._folder_of(prediction) for prediction in predictions}:
            check_key(folder)
        data = encode(predictions)
        if not data:
            return
        with self._change:
            segment = self._running or self._begin()
            _extend(segment, data)
            if segment.size >= self._segment_bytes:
                self._close_running()
            self._enforce_limit()

    def forward(self) -> int:
        """Bring everything kept so far to the store.

        Returns:
            How many predictions the store took; fewer than were pending when it failed (see ``last_error``).
        """
        with self._forwarding:
            with self._change:
                self._close_running()
            sent = 0
            self.last_error = ""
            while (segment := self._pick()) is not None:
                try:
                    sent += self._send(segment)
                except StoreError as error:
                    self.last_error = str(error)
                    self._release()
                    break
                self._release(sent=segment)
            return sent

    def close(self) -> None:
        """Let go of the folder; what is pending stays for the next one who opens it."""
        with self._change:
            self._close_running()
        os.close(self._owner)

    def _folder_of(self, prediction: Prediction) -> str:
        return f"{self._prefix}/{prediction.usecase}/{prediction.placement}/{prediction.instance}"

    def _held(self) -> list["_Segment"]:
        return self._closed + ([self._running] if self._running else [])

    def _begin(self) -> "_Segment":
        segment = _Segment(self._next, self._folder / f"{self._next:012d}.jsonl")
        self._next += 1
        self._running = segment
        return segment

    def _close_running(self) -> None:
        if self._running is not None:
            if self._running.size:
                self._closed.append(self._running)
            self._running = None

    def _enforce_limit(self) -> None:
        excess = sum(segment.size for segment in self._held()) - self._limit_bytes
        for segment in [segment for segment in self._closed if segment is not self._sending]:
            if excess <= 0:
                return
            excess -= segment.size
            self.dropped += segment.count
            self._remove(segment)

    def _remove(self, segment: "_Segment") -> None:
        self._closed.remove(segment)
        segment.path.unlink(missing_ok=True)

    def _pick(self) -> "_Segment | None":
        with self._change:
            self._sending = self._closed[0] if self._closed else None
            return self._sending

    def _release(self, sent: "_Segment | None" = None) -> None:
        with self._change:
            self._sending = None
            if sent is not None:
                self._remove(sent)

    def _send(self, segment: "_Segment") -> int:
        objects: dict[str, list[bytes]] = defaultdict(list)
        first: dict[str, int] = {}
        for line in segment.path.read_bytes().splitlines(keepends=True):
            try:
                prediction = decode_line(line, 1)
            except RecordError:
                self.damaged += 1
                continue
            folder = f"{self._folder_of(prediction)}/{moment(prediction.predicted_at_us):%Y-%m-%d}"
            objects[folder].append(line)
            first.setdefault(folder, prediction.predicted_at_us)
        for folder, lines in objects.items():
            data = b"".join(lines)
            name = f"{moment(first[folder]):%Y%m%dT%H%M%SZ}-{hashlib.sha256(data).hexdigest()[:16]}"
            self._store.put(f"{folder}/{name}.jsonl.gz", gzip.compress(data, mtime=0))
        return sum(len(lines) for lines in objects.values())


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int = 0
    count: int = 0


def _own(folder: Path) -> int:
    """Hold the folder until the handle is closed, at the latest by the end of the process."""
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise SpoolBusyError(
            "the spool folder is in use", where=str(folder), fix="give each process a folder of its own"
        ) from error
    return handle


def _recover(folder: Path) -> list[_Segment]:
    """The segments an earlier process left, oldest first; a line that a power cut tore off was never promised."""
    segments = []
    for path in sorted(folder.glob("*.jsonl")):
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(path, whole)
        if whole:
            segments.append(_Segment(int(path.stem), path, whole, data.count(b"\n")))
        else:
            path.unlink()
    return segments


def _extend(segment: _Segment, data: bytes) -> None:
    """Append durably, or leave the segment as it was."""
    try:
        with segment.path.open("ab") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not segment.size:
            sync_folder(segment.path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.truncate(segment.path, segment.size)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                "no space left for predictions", where=str(segment.path), fix="free some space"
            ) from error
        raise StoreError("predictions cannot be kept", where=str(segment.path), why=str(error)) from error
    segment.size += len(data)
    segment.count += data.count(b"\n")
