"""The stack over cheap parts: small web servers and programs that fail, started and stopped as the real ones are."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from infra.local import parts, stack
from infra.local.airflow_setup import airflow_environment, prepare_secrets
from infra.local.errors import StackError, StackRunningError
from infra.local.parts import answers, choose_addresses
from infra.local.ports import free_port
from infra.local.process import Part
from infra.local.stack import STATE, Stack, bring_down, read_state
from infra.local.trace import Trace, born

SERVE = """
import sys
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("127.0.0.1", int(sys.argv[1])), SimpleHTTPRequestHandler).serve_forever()
"""
TIDY = """
import signal, sys, time
from pathlib import Path
name, folder = sys.argv[1], Path(sys.argv[2])
def end(*_):
    (folder / f"{name}.ended").touch()
    sys.exit()
signal.signal(signal.SIGTERM, end)
(folder / f"{name}.ready").touch()
time.sleep(600)
"""
ENVIRON = dict(os.environ)


GIVEN: set[int] = set()


def web(name, body=SERVE):
    port = free_port(0, GIVEN)
    GIVEN.add(port)
    url = f"http://127.0.0.1:{port}"
    return Part(name, [sys.executable, "-c", body, str(port)], ENVIRON, lambda: answers(url), url, grace_s=2.0)


def program(name, body, healthy=lambda: False):
    return Part(name, [sys.executable, "-c", body], ENVIRON, healthy, grace_s=0.5)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """Return a function that makes a stack of given parts; whatever it started is ended after the test."""
    stacks = []

    def make(*wanted, **options):
        monkeypatch.setattr(parts, "make", lambda _plan: iter(wanted))
        stacks.append(Stack(tmp_path / "build", ENVIRON, wanted=(), **options))
        return stacks[-1]

    yield make
    for each in stacks:
        each.stop()


def test_all_parts_answer_when_the_stack_is_up_and_none_is_left_when_it_is_down(made, tmp_path):
    told = []
    one, two = web("one"), web("two")
    with made(one, two, progress=lambda name, seconds: told.append((name, seconds > 0))) as running:
        assert answers(one.url)
        assert answers(two.url)
        assert sorted(told) == [("one", True), ("two", True)]
        assert set(running.seconds) == {"one", "two"}
        assert (tmp_path / "build" / STATE).exists()
        assert len(running._trace.processes()) == 2
    assert running._trace.processes() == []
    assert not (tmp_path / "build" / STATE).exists()
    assert not answers(one.url)


def test_parts_may_tidy_up_before_they_end(made, tmp_path):
    names = ("a", "b", "c")
    wanted = [
        Part(name, [sys.executable, "-c", TIDY, name, str(tmp_path)], ENVIRON, (tmp_path / f"{name}.ready").exists)
        for name in names
    ]
    with made(*wanted):
        pass
    assert sorted(path.stem for path in tmp_path.glob("*.ended")) == list(names)


def test_a_part_that_ends_stops_the_start_and_its_last_words_are_told(made):
    good = web("good")
    running = made(good, program("bad", "print('no disk left'); raise SystemExit(3)"))
    with pytest.raises(StackError, match=r"bad ended.*bad.log.*no disk left"):
        running.start()
    assert running._trace.processes() == []


def test_a_part_that_does_not_answer_in_time_stops_the_start(made, monkeypatch):
    monkeypatch.setattr(stack, "HEALTHY_WITHIN_S", 0.5)
    running = made(program("deaf", "import time; time.sleep(600)"))
    with pytest.raises(StackError, match=r"deaf does not answer \(.*it said nothing"):
        running.start()
    assert running._trace.processes() == []


def test_a_second_stack_for_the_same_folder_is_refused(made):
    with made(web("one")), pytest.raises(StackRunningError, match=f"process {os.getpid()}.*tidemill down"):
        made(web("two")).start()


def test_what_a_dead_stack_left_is_swept_by_the_next_start(made, tmp_path):
    first = made(web("one"))
    first.start()
    left = first._trace.processes()
    state = (tmp_path / "build" / STATE).read_text()
    (tmp_path / "build" / STATE).write_text(state.replace(f'"owner": {os.getpid()}', '"owner": 999999999'))
    with made(web("two")):
        assert [pid for pid in left if born(pid)] == []


def test_a_part_that_ends_by_itself_is_started_again_but_not_for_ever(made):
    one = web("one")
    with made(one) as running:
        for _ in range(stack.MOST_STARTS - 1):
            running._running[0].process.kill()
            running._running[0].process.wait()
            assert running.revive() == ["one"]
        assert running.revive() == []
        running._running[0].process.kill()
        running._running[0].process.wait()
        with pytest.raises(StackError, match="one ended 3 times"):
            running.revive()


OWNER = """
import os, sys, time
from pathlib import Path
from infra.local import parts
from infra.local.process import Part
from infra.local.stack import Stack
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
parts.make = lambda plan: iter([Part("sleeper", ["sleep", "600"], dict(os.environ), lambda: True)])
with Stack(Path(sys.argv[1]), dict(os.environ), wanted=()) as stack:
    print(stack.plan.mark, flush=True)
    time.sleep(600)
"""


def start_owner(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    owner.stdout.readline()
    owner.stdout.close()
    state = read_state(tmp_path)
    assert state is not None
    return owner, state.trace


def test_down_asks_the_owner_and_leaves_nothing(tmp_path):
    owner, trace = start_owner(tmp_path)
    assert bring_down(tmp_path) == 1
    assert owner.wait(10) == 0
    assert trace.processes() == []
    assert bring_down(tmp_path) == 0


def test_down_sweeps_when_the_owner_and_its_guard_are_gone(tmp_path):
    owner, trace = start_owner(tmp_path)
    owner.send_signal(signal.SIGSTOP)
    (guard,) = [pid for pid in children(owner.pid) if pid not in trace.processes()]
    os.kill(guard, signal.SIGKILL)
    owner.kill()
    owner.wait()
    assert len(trace.processes()) == 1
    assert bring_down(tmp_path) == 1
    assert trace.processes() == []


def test_down_never_touches_a_process_that_only_has_the_number_of_the_owner(tmp_path):
    owner, trace = start_owner(tmp_path)
    state = json.loads((tmp_path / STATE).read_text())
    leaders = {pid: birth - 1 for pid, birth in state["leaders"].items()}
    stale = {**state, "mark": Trace().mark, "owner_born": state["owner_born"] - 1, "leaders": leaders}
    (tmp_path / STATE).write_text(json.dumps(stale))
    assert bring_down(tmp_path) == 0
    assert owner.poll() is None
    assert len(trace.processes()) == 1
    owner.send_signal(signal.SIGTERM)
    owner.wait(10)


def children(pid):
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_usual_ports_are_used_and_every_service_has_its_own():
    found = choose_addresses(parts.ALL, 3)
    assert list(found) == ["mlflow", "airflow", "server", "gateway-1", "gateway-2", "gateway-3"]
    assert len(set(found.values())) == 6
    assert choose_addresses(("mlflow",), 3).keys() == {"mlflow"}


def test_a_service_moves_when_its_usual_port_is_taken(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setitem(parts.USUAL_PORTS, "mlflow", taken.getsockname()[1])
        assert choose_addresses(("mlflow",), 0)["mlflow"] != f"http://127.0.0.1:{taken.getsockname()[1]}"


def plan(tmp_path, **environ):
    urls = {"mlflow": "http://127.0.0.1:5001", "gateway-1": "http://127.0.0.1:8101"}
    return parts.Plan(tmp_path, str(tmp_path / "store"), environ, tmp_path, "machine_failure", "mark", urls)


def test_processes_are_told_where_things_are_and_never_use_a_proxy_for_this_machine(tmp_path):
    told = plan(tmp_path, NO_PROXY="plant.example", PYTHONDONTWRITEBYTECODE="1").environment()
    assert told["TIDEMILL_STORE"] == str(tmp_path / "store")
    assert told["MLFLOW_TRACKING_URI"] == "http://127.0.0.1:5001"
    assert told["NO_PROXY"] == told["no_proxy"] == "plant.example,127.0.0.1,localhost"
    assert "PYTHONDONTWRITEBYTECODE" not in told


def test_keys_and_work_folder_of_the_environment_are_kept(tmp_path):
    told = plan(tmp_path, TIDEMILL_KEYS=str(tmp_path / "mine"), TIDEMILL_WORK="/scratch").environment()
    assert (told["TIDEMILL_KEYS"], told["TIDEMILL_WORK"]) == (str(tmp_path / "mine"), "/scratch")


def test_trust_is_prepared_once_and_the_root_stays(tmp_path):
    parts.prepare_trust(plan(tmp_path))
    first = (tmp_path / "trust" / "root.json").read_bytes()
    parts.prepare_trust(plan(tmp_path))
    assert (tmp_path / "trust" / "root.json").read_bytes() == first


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path):
    first = prepare_secrets(tmp_path / "airflow")
    assert prepare_secrets(tmp_path / "airflow") == first
    assert len(first.jwt) == 64
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "airflow").iterdir()}
    assert modes == {"secrets.json": 0o600, "passwords.json": 0o600}


def test_settings_of_another_airflow_are_dropped_and_connections_stay(tmp_path):
    environ = {
        "AIRFLOW__CORE__EXECUTOR": "Celery",
        "AIRFLOW_HOME": "/x",
        "AIRFLOW_CONN_AWS_DEFAULT": "aws://",
        "A": "b",
    }
    secret = prepare_secrets(tmp_path)
    told = airflow_environment(environ, tmp_path, tmp_path / "dags", 8099, secret)
    assert told["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert told["AIRFLOW_HOME"] == str(tmp_path)
    assert (told["AIRFLOW_CONN_AWS_DEFAULT"], told["A"]) == ("aws://", "b")
    assert told["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:8099/execution/"


def test_health_is_asked_over_http_and_what_is_no_answer_is_no_health():
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"

        def garbage():
            connection, _ = mute.accept()
            connection.recv(100)
            connection.sendall(b"no http at all\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=garbage)
        thread.start()
        assert not answers(url)
        thread.join()
    assert not answers(url)
