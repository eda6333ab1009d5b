import os
import signal
import subprocess
import sys
import time

import pytest

from infra.local.process import Part, Running, start
from infra.local.trace import MARK, Guard, Trace, born

# A part that starts a child in a session of its own, as Airflow and training do, and tells who they are.
PARENT = """
import os, signal, subprocess, sys, time
if "stubborn" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session="apart" in sys.argv)
print(os.getpid(), child.pid, flush=True)
time.sleep(600)
"""


STARTED: list[Running] = []


@pytest.fixture
def trace():
    trace = Trace()
    yield trace
    trace.sweep(0)
    while STARTED:
        STARTED.pop().process.wait()


def begin(part, trace, folder):
    """Start a part and wait until it has said a line."""
    STARTED.append(start(part, trace.mark, folder))
    while not STARTED[-1].log.read_text().endswith("\n"):
        time.sleep(0.01)
    return STARTED[-1]


def launch(trace, tmp_path, *words):
    part = Part("sleeper", [sys.executable, "-c", PARENT, *words], dict(os.environ), lambda: True)
    running = begin(part, trace, tmp_path)
    return running, [int(word) for word in running.log.read_text().split()]


def gone(pids):
    return [pid for pid in pids if born(pid) is not None] == []


def wait_until_gone(pids):
    deadline = time.monotonic() + 10
    while not gone(pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    return gone(pids)


@pytest.mark.parametrize("words", [(), ("apart",)])
def test_a_mark_finds_a_part_and_everything_it_started(trace, tmp_path, words):
    _, pids = launch(trace, tmp_path, *words)
    assert trace.processes() == sorted(pids)
    assert Trace().processes() == []


def test_a_process_that_hides_its_environment_is_found_by_its_session(trace, tmp_path):
    hidden = (
        "import subprocess, time; subprocess.Popen(['sleep', '600'], env={}); print(1, flush=True); time.sleep(600)"
    )
    part = Part("hiding", [sys.executable, "-c", hidden], dict(os.environ), lambda: True)
    begin(part, trace, tmp_path)
    found = trace.processes()
    assert len(found) == 2
    trace.sweep(5)
    assert wait_until_gone(found)


def test_a_part_that_writes_over_its_environment_is_found_because_it_was_noted(trace, tmp_path):
    retitled = "import setproctitle, time; setproctitle.setproctitle('x' * 4000); print(1, flush=True); time.sleep(600)"
    part = Part("retitled", [sys.executable, "-c", retitled], dict(os.environ), lambda: True)
    pid = begin(part, trace, tmp_path).process.pid
    assert trace.processes() == []
    trace.leaders[pid] = born(pid) or 0
    assert trace.processes() == [pid]
    trace.leaders[pid] -= 1
    assert trace.processes() == [], "a later process with the number of a part is none of ours"
    trace.leaders[pid] += 1
    assert trace.sweep(5) == 1


@pytest.mark.parametrize("words", [(), ("apart",), ("stubborn",), ("stubborn", "apart")])
def test_a_sweep_ends_everything_that_carries_the_mark_and_nothing_else(trace, tmp_path, words):
    bystander = subprocess.Popen(["sleep", "600"], env={MARK: Trace().mark})
    try:
        running, pids = launch(trace, tmp_path, *words)
        assert trace.sweep(0.3) == 2
        assert wait_until_gone(pids)
        assert not running.alive
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("words", [(), ("stubborn",)])
def test_a_part_is_asked_first_and_killed_when_it_does_not_listen(trace, tmp_path, words):
    running, pids = launch(trace, tmp_path, *words)
    running.ask_to_end()
    running.end(time.monotonic() + 0.3)
    assert running.process.returncode == (-signal.SIGKILL if words else -signal.SIGTERM)
    assert wait_until_gone(pids)


def test_a_process_is_told_from_a_later_one_with_its_number(trace, tmp_path):
    running, _ = launch(trace, tmp_path)
    first = born(running.process.pid)
    assert first == born(running.process.pid)
    assert first != born(os.getpid())
    running.process.kill()
    running.process.wait()
    assert born(running.process.pid) is None


def test_a_process_that_is_dead_but_not_yet_buried_counts_as_gone():
    process = subprocess.Popen(["true"])
    deadline = time.monotonic() + 10
    while born(process.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert born(process.pid) is None
    process.wait()


OWNER = """
import os, sys, time
from pathlib import Path
from infra.local.process import Part, start
from infra.local.trace import Guard, born
mark, folder, title = sys.argv[1], Path(sys.argv[2]), "import setproctitle; setproctitle.setproctitle('x' * 4000); "
guard = Guard(mark, 5.0)
for name, before in (("plain", ""), ("retitled", title)):
    body = before + "print(1, flush=True); import time; time.sleep(600)"
    running = start(Part(name, [sys.executable, "-c", body], dict(os.environ), lambda: True), mark, folder)
    guard.watch(running.process.pid, born(running.process.pid))
    while not running.log.read_text():
        time.sleep(0.01)
    print(running.process.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_an_owner_that_was_killed(trace, tmp_path, number):
    command = [sys.executable, "-c", OWNER, trace.mark, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as owner:
        assert owner.stdout is not None
        pids = [int(owner.stdout.readline()) for _ in range(2)]
        owner.send_signal(number)
    assert wait_until_gone(pids)


def test_a_guard_that_was_dismissed_ends_nothing(trace, tmp_path):
    _, pids = launch(trace, tmp_path)
    guard = Guard(trace.mark, 0.1)
    guard.watch(pids[0], born(pids[0]) or 0)
    guard.dismiss()
    assert guard._process.returncode == 0
    assert trace.processes() == sorted(pids)


def test_the_last_words_of_a_part_are_the_end_of_its_log(trace, tmp_path):
    script = "for number in range(99): print('line', number)"
    running = start(
        Part("talker", [sys.executable, "-c", script], dict(os.environ), lambda: True), trace.mark, tmp_path
    )
    running.process.wait()
    assert running.last_words().splitlines()[0] == "line 87"
    assert running.last_words().endswith("line 98")
