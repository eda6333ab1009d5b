"""How the processes of a stack are found again, by whoever has to end them.

Two things lead to them, because each alone misses some:

- a *mark* in the environment, which children inherit whatever sessions they open. Some programs write their title over
  their environment (Airflow's API server), and what runs tasks hides it from everybody but root;
- the *sessions* of the parts, each of which holds one part and what that started, and those of marked processes.

So a stack ends without leaving anything, ``tidemill down`` ends it from outside, and a *guard* ends it when its owner
was killed without a word.
"""

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

MARK = "STACK_MARK"
PROC = Path("/proc")


@dataclass(slots=True)
class Trace:
    """What the processes of one stack are found by.

    Attributes:
        mark: The value of ``STACK_MARK`` in their environment.
        leaders: First process of each part by number, with the moment of its birth (see ``born``).
        sessions: Sessions in which marked processes were seen.
    """

    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    leaders: dict[int, int] = field(default_factory=dict)
    sessions: set[int] = field(default_factory=set)

    def processes(self) -> list[int]:
        """Return the processes of the stack, without this one."""
        needle = f"\0{MARK}={self.mark}\0".encode()
        session_of: dict[int, int] = {}
        for entry in PROC.glob("[0-9]*"):
            with contextlib.suppress(OSError):
                state, _, _, session = _stat(entry)[:4]
                if state in "ZX":
                    continue
                session_of[int(entry.name)] = int(session)
                if needle in b"\0" + (entry / "environ").read_bytes() + b"\0":
                    self.sessions.add(int(session))
        # A session keeps its number from being given again as long as it lives; a leader born later is another's.
        ours = self.sessions | {pid for pid, birth in self.leaders.items() if born(pid) in (None, birth)}
        return sorted(pid for pid, session in session_of.items() if session in ours and pid != os.getpid())

    def sweep(self, grace_s: float) -> int:
        """End all of them: politely, and for good after ``grace_s`` seconds.

        Returns:
            How many had to be ended.
        """
        found = self.processes()
        _send(found, signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        while left:
            _send(left, signal.SIGKILL)
            time.sleep(0.02)
            left = self.processes()
        return len(found)


class Guard:
    """A process that sweeps when its owner ends without saying so.

    The owner holds the other end of its standard input; that closes with the owner, however the owner ends. The guard
    bears no mark and has a session of its own, so no signal meant for the stack reaches it.

    Args:
        mark: The mark of the stack.
        grace_s: How long processes may take to end by themselves.
    """

    def __init__(self, mark: str, grace_s: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "infra.local.trace", mark, str(grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )

    def watch(self, pid: int, birth: int) -> None:
        """Tell it of a part."""
        self._say(f"{pid} {birth}\n")

    def dismiss(self) -> None:
        """Tell it that everything ended as it should, and wait for its end."""
        self._say("done\n")
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # it was killed: then the owner has to manage alone
                self._process.stdin.write(line)
                self._process.stdin.flush()


def born(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since boot, or None when there is none.

    Together with its number this names a process for ever: numbers are given again, never at the same tick.
    """
    try:
        fields = _stat(PROC / str(pid))
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _stat(entry: Path) -> list[str]:
    """Return the fields of a process from its state on; its name before them may hold spaces and parentheses."""
    return (entry / "stat").read_text().rsplit(")", 1)[1].split()


def _send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _keep_watch() -> None:
    trace = Trace(sys.argv[1])
    for line in sys.stdin:
        if line == "done\n":
            return
        pid, birth = line.split()
        trace.leaders[int(pid)] = int(birth)
    trace.sweep(float(sys.argv[2]))


if __name__ == "__main__":
    _keep_watch()
