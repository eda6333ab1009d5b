"""What a long-running process says about itself: ``key=value`` lines on stdout, one for each change of state.

systemd, Docker and Kubernetes all keep stdout; a log file of our own would fill a gateway's flash. So that a fault that
repeats every second cannot flood them, a state is said only when it changes, and no more than ``per_minute`` lines are
written in a minute; what was swallowed is counted on the next line.

Example:
    >>> journal = Journal(clock=lambda: 0)
    >>> journal.say("started", usecase="pump_failure")
    1970-01-01T00:00:00Z event=started usecase=pump_failure
    >>> journal.change("updates", "updates", state="unreachable")
    1970-01-01T00:00:00Z event=updates state=unreachable
    >>> journal.change("updates", "updates", state="unreachable")  # nothing new, nothing said
"""

import json
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TextIO

MINUTE_US = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def now_us() -> int:
    """The wall clock as UTC microseconds: the one clock that entry points hand to the rest."""
    return time.time_ns() // 1000


def iso(time_us: int) -> str | None:
    """A time for people and programs; None for never (0), or no time that a calendar has.

    Example:
        >>> iso(1_764_000_000_000_000), iso(0)
        ('2025-11-24T16:00:00Z', None)
    """
    if not time_us:
        return None
    try:
        return (_EPOCH + timedelta(seconds=time_us // 1_000_000)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None


class Journal:
    """Writes lines, from any thread.

    Args:
        stream: Where to; None looks up ``sys.stdout`` at each line.
        clock: Gives UTC microseconds.
        per_minute: Most lines in one minute.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], int] = now_us, per_minute: int = 120) -> None:
        self._stream = stream
        self._clock = clock
        self._per_minute = per_minute
        self._lock = threading.Lock()
        self._states: dict[str, tuple[tuple[str, object], ...]] = {}
        self._minute = -1
        self._written = 0
        self._swallowed = 0

    def say(self, event: str, **fields: object) -> None:
        """Write one line about something that happened."""
        with self._lock:
            self._write(event, fields)

    def change(self, subject: str, event: str, **fields: object) -> None:
        """Write one line when what is known about ``subject`` differs from what was last said about it.

        A ``reason`` is told and not compared: texts of errors carry numbers that change with every try.
        """
        state = (("event", event), *((name, value) for name, value in fields.items() if name != "reason"))
        with self._lock:
            if self._states.get(subject) != state:
                self._states[subject] = state
                self._write(event, fields)

    def _write(self, event: str, fields: dict[str, object]) -> None:
        now = self._clock()
        if now // MINUTE_US != self._minute:
            self._minute, self._written = now // MINUTE_US, 0
        if self._written >= self._per_minute:
            self._swallowed += 1
            return
        self._written += 1
        if self._swallowed:
            fields = {**fields, "swallowed": self._swallowed}
            self._swallowed = 0
        stamp = datetime.fromtimestamp(now // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        stream = self._stream or sys.stdout
        words = [f"{key}={_word(value)}" for key, value in [("event", event), *fields.items()]]
        stream.write(" ".join([stamp, *words]) + "\n")
        stream.flush()


def _word(value: object) -> str:
    text = str(value)
    plain = text.isprintable() and not set(text) & set(' "=\\')
    return text if text and plain else json.dumps(text, ensure_ascii=False)
