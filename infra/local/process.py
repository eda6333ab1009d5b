"""The programs of a stack as processes in the background."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.local.trace import MARK

TAIL = 4000


@dataclass(frozen=True, slots=True)
class Part:
    """One program of a stack.

    Attributes:
        name: Its name in tables and logs.
        command: What to run.
        environment: Its whole environment, without the mark.
        healthy: Whether it answers; asked again and again until it does.
        url: Where people reach it; empty where they do not.
        grace_s: How long it may take to end by itself.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    healthy: Callable[[], bool]
    url: str = ""
    grace_s: float = 5.0


@dataclass(slots=True)
class Running:
    """A part that was started.

    Attributes:
        part: What was started.
        log: Where its output goes.
        process: The process.
        began: When it was started, on the monotonic clock, seconds.
        seconds: How long it took to answer; NaN while it does not.
        starts: How often it was started.
    """

    part: Part
    log: Path
    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)
    seconds: float = float("nan")
    starts: int = 1

    @property
    def alive(self) -> bool:
        """Whether the process still runs."""
        return self.process.poll() is None

    def last_words(self) -> str:
        """Return the last lines of its log."""
        text = self.log.read_bytes()[-TAIL:].decode(errors="replace")
        return "\n".join(text.splitlines()[-12:])

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process and everything in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)

    def end(self, deadline: float) -> None:
        """Wait until ``deadline`` (monotonic seconds), then kill the group."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(max(0.0, deadline - time.monotonic()))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def start(part: Part, mark: str, log_folder: Path) -> Running:
    """Start a part in a session of its own, with its output in ``<log_folder>/<name>.log``."""
    log = log_folder / f"{part.name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            list(part.command),
            env={**part.environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(part, log, process)
