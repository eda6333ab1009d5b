"""The doctor finds what is broken and says what to do about it."""

import dataclasses
import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.local import cli, doctor
from infra.local.doctor import Finding
from serving.trust.keys import create_keys


@dataclasses.dataclass
class Server:
    """An HTTP server that answers as it is told."""

    url: str
    status: int = 200
    body: bytes = b"OK"
    skew_s: int = 0


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response_only(told.status)
            self.send_header("Date", self.date_time_string(int(time.time()) + told.skew_s))
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        told = Server(f"http://127.0.0.1:{http.server_port}")
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield told
        http.shutdown()


def now_us() -> int:
    return time.time_ns() // 1000


def test_mlflow_that_answers_is_fine(server: Server):
    assert doctor.tracking(server.url, now_us()).state == "ok"


@pytest.mark.parametrize(
    ("change", "state", "part"),
    [
        ({"status": 403}, "fail", "--allowed-hosts 127.0.0.1:"),
        ({"status": 500}, "fail", "HTTP 500"),
        ({"body": b"<html>"}, "fail", "another server"),
        ({"skew_s": 600}, "warn", " s from ours"),
    ],
)
def test_mlflow_that_answers_otherwise_is_told_apart(server: Server, change: dict[str, object], state: str, part: str):
    for name, value in change.items():
        setattr(server, name, value)
    found = doctor.tracking(server.url, now_us())
    assert found.state == state
    assert part in f"{found.sentence} {found.fix}"


def test_mlflow_that_is_down_is_found():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    found = doctor.tracking(url, now_us())
    assert (found.state, "does not answer" in found.sentence) == ("fail", True)


def test_an_address_without_a_server_is_found():
    assert doctor.tracking("sqlite:///mlflow.db", now_us()).state == "fail"


def test_a_store_that_can_be_written_is_fine_and_left_empty(tmp_path: Path):
    assert doctor.store(str(tmp_path)).state == "ok"
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_store_that_is_not_there_fails_only_where_somebody_named_it(tmp_path: Path):
    missing = str(tmp_path / "missing")
    assert doctor.store(missing).state == "fail"
    assert doctor.store(missing, by_default=True).state == "warn"


def test_a_store_that_can_only_be_read_is_found():
    found = doctor.store("http://127.0.0.1:1/store")
    assert found.state == "fail"


def test_a_work_folder_that_cannot_be_written_is_found(tmp_path: Path):
    (tmp_path / "file").write_text("")
    assert doctor.work_folder(tmp_path / "file").state == "fail"
    assert doctor.work_folder(tmp_path / "new").state in ("ok", "warn")


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "LEAST_FREE_GIB", 1e9)
    monkeypatch.setattr(doctor, "GOOD_FREE_GIB", 2e9)
    assert doctor.work_folder(tmp_path).state == "fail"


def test_keys_for_their_owner_only_are_fine(tmp_path: Path):
    assert doctor.keys(tmp_path / "keys").state == "warn"
    create_keys(tmp_path / "keys")
    found = doctor.keys(tmp_path / "keys")
    assert (found.state, "development keys" in found.sentence) == ("ok", True)


@pytest.mark.parametrize(("mode", "state"), [(0o640, "warn"), (0o644, "fail")])
def test_keys_that_others_may_read_are_found(tmp_path: Path, mode: int, state: str):
    create_keys(tmp_path / "keys")
    (tmp_path / "keys" / "releases.pem").chmod(mode)
    found = doctor.keys(tmp_path / "keys")
    assert found.state == state
    assert "releases.pem" in found.sentence
    assert "chmod" in found.fix


def test_damaged_keys_are_found(tmp_path: Path):
    create_keys(tmp_path / "keys")
    (tmp_path / "keys" / "keys.json").write_text("{}")
    assert doctor.keys(tmp_path / "keys").state == "fail"


def test_a_taken_port_is_a_remark():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = doctor.free_ports({"mlflow": port})
    assert (found.state, f"{port} (mlflow)" in found.sentence) == ("warn", True)
    assert doctor.free_ports({"mlflow": port}).state == "ok"


def test_the_verdict_names_what_failed():
    fine, odd, bad = Finding("a", "ok", ""), Finding("b", "warn", ""), Finding("c", "fail", "")
    assert doctor.verdict([fine]) == "Ready."
    assert doctor.verdict([fine, odd, odd]) == "Ready, with 2 remarks."
    assert doctor.verdict([fine, odd, bad]) == "Not ready: c."


def test_the_command_ends_with_1_when_a_check_fails(server: Server, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "store").mkdir()
    words = ["doctor", "--store", "store", "--tracking", server.url]
    assert cli.run(words) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1].startswith("Ready")
    server.status = 500
    assert cli.run([*words, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["verdict"]) == (False, "Not ready: mlflow.")
