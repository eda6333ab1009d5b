"""Processes that are started in the background and never left behind.

Every process of a stack carries one mark in its environment, and so do its children, whatever sessions they open. So
whoever knows the mark finds all of them in ``/proc`` and nothing else: that is how a stack ends, how ``tidemill down``
ends it from outside, and how a *guard* ends it when its owner was killed without a word.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MARK = "STACK_MARK"
TAIL = 4000


def new_mark() -> str:
    """Return a mark no other stack has."""
    return secrets.token_hex(8)


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


def born(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot, or None when there is none.

    Together with its number this names a process for ever: numbers are given again, never at the same tick.
    """
    try:
        fields = _stat(Path("/proc") / str(pid))
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def marked(mark: str, sessions: set[int] | None = None) -> list[int]:
    """Return the processes that carry a mark, and all others in their sessions, without this one.

    Airflow hides the environment of a process that runs tasks from everybody but root; its session is not hidden, and
    a session never holds more than one part and what that started.

    Args:
        mark: The mark.
        sessions: Sessions known from an earlier look; those found now are added.
    """
    needle = f"\0{MARK}={mark}\0".encode()
    known = set() if sessions is None else sessions
    others: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            session = int(_stat(entry)[3])
            others[int(entry.name)] = session
            if needle in b"\0" + (entry / "environ").read_bytes() + b"\0":
                known.add(session)
    return sorted(pid for pid, session in others.items() if session in known and pid != os.getpid() and born(pid))


def sweep(mark: str, grace_s: float) -> int:
    """End everything that carries a mark: politely, and for good after ``grace_s`` seconds.

    Returns:
        How many processes had to be ended.
    """
    sessions: set[int] = set()
    found = marked(mark, sessions)
    _send(found, signal.SIGTERM)
    deadline = time.monotonic() + grace_s
    while (left := marked(mark, sessions)) and time.monotonic() < deadline:
        time.sleep(0.05)
    while left:
        _send(left, signal.SIGKILL)
        time.sleep(0.02)
        left = marked(mark, sessions)
    return len(found)


def start_guard(mark: str, grace_s: float) -> subprocess.Popen[bytes]:
    """Start the process that sweeps when its owner ends without saying so.

    The owner holds the other end of its standard input; that closes with the owner, however the owner ends. The guard
    has no mark itself and a session of its own, so no signal meant for the stack reaches it.
    """
    return subprocess.Popen(
        [sys.executable, "-m", "infra.local.process", mark, str(grace_s)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def dismiss_guard(guard: subprocess.Popen[bytes]) -> None:
    """Tell the guard that everything ended as it should."""
    with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
        guard.communicate(b"done", timeout=5)


def _stat(entry: Path) -> list[str]:
    """Return the fields of a process from its state on; its name before them may hold spaces and parentheses."""
    return (entry / "stat").read_text().rsplit(")", 1)[1].split()


def _send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _guard() -> None:
    mark, grace_s = sys.argv[1], float(sys.argv[2])
    if sys.stdin.buffer.read() != b"done":
        sweep(mark, grace_s)


if __name__ == "__main__":
    _guard()
