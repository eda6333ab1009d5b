"""A failure is told through real servers on loopback, says what to do, and never changes how its task ended."""

import asyncio
import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from dags import notify
from dags.errors import NotificationError, ScheduleError
from dags.notify import Message, deadline_missed, of_task, repeated, send, task_failed

SAID = "TM-203 the store does not answer: refused (tidemill ingest pumps). Fix: start it, or correct TIDEMILL_STORE"
MESSAGE = Message("failed", "ingest", "ingest pumps", "scheduled__1", "TM-203", "no store", "start it", "http://log")


class Hook:
    """A webhook: keeps what is posted, and answers as it is told."""

    def __init__(self, status=200):
        hook = self
        self.bodies: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                hook.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"


class Mail(socketserver.StreamRequestHandler):
    """The few words of SMTP that a client without a password needs."""

    letters: list[str]

    def handle(self):
        self.wfile.write(b"220 plant\r\n")
        in_body = False
        body: list[str] = []
        while line := self.rfile.readline():
            text = line.decode().rstrip("\r\n")
            if in_body:
                if text == ".":
                    self.letters.append("\n".join(body))
                    in_body = False
                    self.wfile.write(b"250 taken\r\n")
                else:
                    body.append(text)
            elif text.upper() == "DATA":
                in_body = True
                self.wfile.write(b"354 go on\r\n")
            elif text.upper() == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 fine\r\n")


@pytest.fixture
def serve():
    running = []

    def start(server):
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        running.append(server)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hook(serve):
    made = Hook()
    serve(made.server)
    return made


@pytest.fixture
def letters(serve):
    kept: list[str] = []
    server = serve(socketserver.ThreadingTCPServer(("127.0.0.1", 0), type("Kept", (Mail,), {"letters": kept})))
    return kept, f"smtp://127.0.0.1:{server.server_address[1]}"


@pytest.fixture(autouse=True)
def _alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEMILL_WORK", str(tmp_path / "work"))
    for name in notify._CHANNELS:
        monkeypatch.delenv(f"TIDEMILL_NOTIFY_{name.upper()}", raising=False)


def context(error=None, **more):
    ti = SimpleNamespace(dag_id="ingest", task_id="ingest", run_id="scheduled__1", log_url="http://airflow/log", **more)
    return {"ti": ti, "exception": error}


def test_a_message_says_what_failed_where_the_code_the_fix_and_the_log():
    found = of_task(context(AirflowFailException(SAID), rendered_map_index="pumps"))
    assert found.title == "Tidemill: ingest pumps failed in DAG ingest (TM-203)"
    assert found.text.splitlines() == [
        "Tidemill: ingest pumps failed in DAG ingest (TM-203)",
        "the store does not answer: refused (tidemill ingest pumps)",
        "Fix: start it, or correct TIDEMILL_STORE",
        "More: tidemill explain TM-203",
        "Run: scheduled__1",
        "Log: http://airflow/log",
    ]


def test_a_task_that_was_killed_has_a_message_as_well():
    found = of_task(context())
    assert (found.code, found.fix) == ("", "")
    assert "its machine went away" in found.what


def test_every_channel_that_is_named_is_told(hook, letters):
    kept, smtp = letters
    told = send(
        MESSAGE,
        {"slack": hook.url, "webhook": hook.url, "email": "a@plant, b@plant", "smtp": smtp, "sender": "t@plant"},
    )
    assert told == ["webhook", "slack", "email"]
    program, chat = hook.bodies
    assert (program["code"], program["fix"], program["url"], program["format"]) == (
        "TM-203",
        "start it",
        "http://log",
        1,
    )
    assert chat == {"text": MESSAGE.text}
    (letter,) = kept
    assert "Subject: Tidemill: ingest pumps failed in DAG ingest (TM-203)" in letter
    assert "To: a@plant, b@plant" in letter
    assert "Fix: start it" in letter


def test_one_channel_that_fails_keeps_none_of_the_others_from_being_told(hook, serve):
    broken = Hook(500)
    serve(broken.server)
    with pytest.raises(NotificationError, match="webhook: HTTP Error 500"):
        send(MESSAGE, {"webhook": broken.url, "slack": hook.url})
    assert len(hook.bodies) == 1


@pytest.mark.parametrize("wrong", ["http://127.0.0.1:9/", "ftp://x", "", "http://127.0.0.1:99999/"])
def test_a_notification_that_fails_changes_nothing_for_its_task(wrong, monkeypatch, tmp_path):
    monkeypatch.setenv("TIDEMILL_NOTIFY_SLACK", wrong)
    task_failed(context(AirflowFailException(SAID)))
    (tmp_path / "tidemill.toml").write_text("[notifications")
    task_failed(context(AirflowFailException(SAID)))
    asyncio.run(deadline_missed("2:00:00"))


def test_nobody_is_told_until_somebody_is_named(hook, monkeypatch):
    task_failed(context(AirflowFailException(SAID)))
    assert hook.bodies == []
    monkeypatch.setenv("TIDEMILL_NOTIFY_SLACK", hook.url)
    task_failed(context(AirflowFailException(SAID)))
    assert len(hook.bodies) == 1


def test_the_same_failure_is_told_once_an_hour_and_another_one_at_once(hook, monkeypatch):
    monkeypatch.setenv("TIDEMILL_NOTIFY_SLACK", hook.url)
    for said in (SAID, SAID, SAID.replace("TM-203", "TM-307")):
        task_failed(context(AirflowFailException(said)))
    assert ["TM-203" in body["text"] for body in hook.bodies] == [True, False]


def test_what_was_told_is_forgotten_after_a_while(tmp_path):
    memory = tmp_path / "told" / "notified.json"
    assert [repeated(MESSAGE, memory, now, 60) for now in (0, 59, 60, 61, 130)] == [False, True, False, True, False]
    memory.write_text("no json")
    assert not repeated(MESSAGE, memory, 131, 60)


def test_a_run_that_is_late_is_told_with_its_page(hook, monkeypatch):
    monkeypatch.setenv("TIDEMILL_NOTIFY_WEBHOOK", hook.url)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://airflow:8080/")
    run = {"dag_id": "ingest", "dag_run_id": "scheduled__2026-01-01T00:00:00+00:00", "state": "running"}
    asyncio.run(deadline_missed("2:00:00", {"dag_run": run}))
    (told,) = hook.bodies
    assert told["title"] == "Tidemill: a run of DAG ingest is late"
    assert told["what"].startswith("It is running and should have been over within 2:00:00")
    assert told["url"] == "http://airflow:8080/dags/ingest/runs/scheduled__2026-01-01T00%3A00%3A00%2B00%3A00"


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"slack": "hooks.example/1"}, "slack is no http"),
        ({"email": "a@plant"}, "email needs smtp and sender"),
        ({"email": "a@plant", "smtp": "mail:25", "sender": "t@plant"}, "neither smtp://host nor smtps://host"),
        ({"quiet": "a while"}, "'a while' is no length of time"),
    ],
)
def test_what_is_wrong_with_a_channel_is_found_without_sending(chosen, said):
    assert [said in line for line in notify.problems(chosen)] == [True]


def test_a_password_never_goes_in_the_clear(letters):
    kept, smtp = letters
    chosen = {"email": "a@plant", "smtp": smtp.replace("//", "//me:secret@"), "sender": "t@plant"}
    with pytest.raises(NotificationError, match="email"):
        send(MESSAGE, chosen)
    assert kept == []
    with pytest.raises(ScheduleError):
        notify.quiet_s({"quiet": "x"})
