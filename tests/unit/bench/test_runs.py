import sys

import pytest

from tests.bench.runs import Job, interleaved, ratios, run

REPORT = (
    "import sys; sys.path.insert(0, '.'); from tests.bench.stopwatch import Stopwatch, report; watch = Stopwatch()\n"
)


def test_cpu_seconds_hold_those_of_threads_and_of_children():
    spin = "import time; end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    program = f"{REPORT}import subprocess, sys, threading\n"
    program += f"subprocess.run([sys.executable, '-c', {spin!r}])\n"
    program += f"thread = threading.Thread(target=exec, args=({spin!r}, {{}})); thread.start(); thread.join()\n"
    program += "report(watch.stop())"
    measured = run(Job((sys.executable, "-c", program)))
    assert measured["cpu"] > 0.39


def test_peak_memory_is_that_of_the_job_and_not_of_who_started_it():
    ballast = bytearray(200 << 20)
    ballast[:: 1 << 12] = b"x" * (200 << 8)
    program = REPORT + "report(watch.stop())"
    assert run(Job((sys.executable, "-c", program)))["peak_mib"] < 100
    assert len(ballast) == 200 << 20


def test_a_job_that_fails_says_why():
    with pytest.raises(RuntimeError, match="no such reading"):
        run(Job((sys.executable, "-c", "raise SystemExit('no such reading')")))


def test_jobs_take_turns(tmp_path, capsys):
    program = "import sys; open(sys.argv[1], 'a').write(sys.argv[2]); print('{}')"
    jobs = {name: Job((sys.executable, "-c", program, str(tmp_path / "order"), name)) for name in "ab"}
    assert interleaved(jobs, 3).keys() == {"a", "b"}
    assert (tmp_path / "order").read_text() == "ababab"


def test_ratios_are_taken_round_by_round():
    assert ratios([{"cpu": 2.0}, {"cpu": 9.0}], [{"cpu": 1.0}, {"cpu": 3.0}], "cpu") == [2.0, 3.0]
