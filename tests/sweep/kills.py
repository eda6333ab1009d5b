"""SIGKILL at every operation of an ingest, in the store and in the table engine: the next run ends in the same table.

The ingest under test does all there is to do: it reads new objects and one that was written again without some of its
readings, so rows go out of the table and come back from elsewhere; it quarantines, commits, sums up its ledger.
"""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from pipelines import ledger
from tests.fakes.fleets import FANS, HOUR_US, MINUTE_US, NOON_US, Plant, reading
from tests.sweep import ingesters

ENGINE_CALLS = ("link,linkat", "rename,renameat,renameat2", "unlink,unlinkat", "mkdir,mkdirat", "fsync", "write")
"""System calls that change files, each with its kin; the table engine makes them where Python does not see it."""


def run(count: int, every: int = 1) -> str:
    """Kill at operations that Python sees, until there are so many kills; each ingest is cut otherwise.

    Args:
        count: How many kills.
        every: Kill at every such operation only.
    """
    kills = 0
    for cut in itertools.count(1):
        with _Trial(cut) as trial:
            for number in range(1, trial.operations + 1, every):
                trial.kill_at(number)
                kills += 1
                if kills == count:
                    return f"kills: {kills} at operations of an ingest, each repaired by the next run"
    raise AssertionError


def run_engine(count: int) -> str:
    """Kill at system calls of the process, where `strace` is there to do it; says so where it is not."""
    if not shutil.which("strace"):
        return "kills: the table engine was not killed, because there is no strace (apt-get install strace)"
    kills = 0
    with _Trial(2) as trial:
        for number in itertools.count(1):
            before = kills
            for calls in ENGINE_CALLS:
                kills += trial.kill_at_call(calls, number)
                if kills == count:
                    break
            if kills in (before, count):  # no thread makes more calls than that
                break
    return f"kills: {kills} at system calls of an ingest, each repaired by the next run"


class _Trial:
    """One state of a store from which an ingest is begun again and again.

    Args:
        cut: Most objects in a batch.
    """

    def __init__(self, cut: int) -> None:
        self._cut = cut
        self._root = Path(tempfile.mkdtemp(prefix="tidemill-kills-"))

    def __enter__(self) -> Self:
        before = self._root / "before"
        before.mkdir()
        plant = Plant(before)
        _fill(plant)
        assert ingesters.end(ingesters.start(ingesters.take_in, before, self._cut)) == 0
        _change(plant)
        self.operations = self._undisturbed()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._root)

    def kill_at(self, number: int) -> None:
        """Kill an ingest at an operation, and compare what the next one makes of it."""
        with self._state() as state:
            receiver, sender = ingesters.pipe()
            code = ingesters.end(ingesters.start(_take_in, state, self._cut, number, sender))
            assert code == ingesters.KILLED, f"operation {number}: {code}, {receiver.poll()}"
            self._repaired(state, f"operation {number}")

    def kill_at_call(self, calls: str, number: int) -> bool:
        """Kill an ingest at a system call, if one of its threads makes so many of them."""
        with self._state() as state:
            receiver, sender = ingesters.pipe()
            process = ingesters.start(_wait_and_take_in, state, self._cut, receiver)
            options = ["-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}"]
            inject = ["-e", f"inject={calls}:signal=KILL:when={number}"]
            tracer = subprocess.Popen(["strace", *options, *inject, "-p", str(process.pid)])
            _await_tracer(process.pid)
            sender.send(None)
            code = ingesters.end(process)
            tracer.wait(60)
            assert code in (0, ingesters.KILLED), f"{calls} {number}: {code}"
            self._repaired(state, f"{calls} {number}")
            return code == ingesters.KILLED

    def _undisturbed(self) -> int:
        with self._state() as state:
            receiver, sender = ingesters.pipe()
            assert ingesters.end(ingesters.start(_take_in, state, self._cut, 0, sender)) == 0
            self._expected = ingesters.rows(state), ingesters.quarantined(state)
            return int(receiver.recv())

    def _repaired(self, state: Path, where: str) -> None:
        ingesters.nothing_half_written(state)
        assert ingesters.end(ingesters.start(_take_in, state, self._cut, 0, None)) == 0, where
        assert (ingesters.rows(state), ingesters.quarantined(state)) == self._expected, where

    def _state(self) -> Any:
        return _copied(self._root / "before", self._root / "trial")


class _copied:  # noqa: N801 - used as a function
    """A copy of a folder, for a while, made of links, so that objects are the same ones; nobody writes into a file."""

    def __init__(self, source: Path, copy: Path) -> None:
        self._source, self._copy = source, copy

    def __enter__(self) -> Path:
        subprocess.run(["cp", "-al", str(self._source), str(self._copy)], check=True)
        return self._copy

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._copy)


def _take_in(root: Path, cut: int, kill_at: int, told: Any) -> None:
    ledger._SUM_UP_EVERY = 2
    ingesters.take_in(root, cut, kill_at, told)


def _wait_and_take_in(root: Path, cut: int, receiver: Any) -> None:
    receiver.recv()
    _take_in(root, cut, 0, None)


def _await_tracer(pid: int | None) -> None:
    status = Path(f"/proc/{pid}/status")
    while "TracerPid:\t0\n" in status.read_text():
        pass


def _messages(device: str, hours: Iterator[int] | range, speed: float, minutes: int) -> list[Any]:
    times = [NOON_US + hour * HOUR_US for hour in hours]
    return [reading(device, time, speed, time + minutes * MINUTE_US) for time in times]


def _fill(plant: Plant) -> None:
    """Three objects: the second hides copies of readings of the first."""
    plant.write(_messages("a", range(8), 1.0, 1), name="first")
    plant.write([*_messages("a", range(4), 1.0, 2), *_messages("b", range(30), 3.0, 1)], name="second")
    plant.write([*_messages("a", range(4, 6), 2.0, 5), reading("c", NOON_US, -1.0)], name="third")
    plant.hub.write_events("1", NOON_US, [{"device": "a", "ts": 5, "kind": "failure"}])


def _change(plant: Plant) -> None:
    """The first object lacks readings now; others come, with a correction, a copy and broken ones."""
    plant.write(_messages("a", range(6, 9), 1.0, 1), name="first")
    plant.write([*_messages("b", range(3), 9.0, 0), *_messages("b", range(30, 40), 3.0, 1)], name="fourth")
    plant.write([*_messages("b", range(5), 3.0, 1), reading("c", NOON_US, -2.0)], name="fifth")
    plant.write(b"\x1f\x8bdamaged", name="sixth")
    plant.hub.write_events("2", NOON_US, [{"device": "a", "ts": 6, "kind": "failure"}])
    assert plant.fleet is FANS
