"""The cloud server as its clients meet it: a process, many requests, releases that follow each other."""

import json
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.prediction import Prediction, decode
from serving.store import open_store
from tests.fakes import bundles, models
from tests.fakes.certificates import self_signed
from tests.fakes.programs import Program, wait_for
from tests.fakes.releases import Releases

INFER = "/v2/models/fan_failure/infer"
ROWS = bundles.bundle().golden.rows
BIAS = {"1": 0.0, "2": 1.0, "3": 2.0}


class Cloud:
    """A folder store with signed releases, and a server's settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = open_store(str(folder / "store"), create=True)
        self.releases = Releases(self.store, folder / "signing")

    def server(self, **more: str) -> Program:
        settings = {
            "TIDEMILL_STORE": str(self.folder / "store"),
            "TIDEMILL_ROOT": str(self.releases.root),
            "TIDEMILL_SERVER_STATE": str(self.folder / "state"),
            "TIDEMILL_SERVER_NAME": "cloud-1",
            "TIDEMILL_SERVER_POLL_S": "0.2",
            **more,
        }
        return Program("serving.cloud.command", self.folder, settings)

    def release(self, version: str) -> None:
        self.releases.release(version, bundles.packed(bias=BIAS[version]))

    def predictions(self) -> list[Prediction]:
        entries = self.store.list("predictions/fan_failure/cloud/cloud-1/")
        return [row for entry in entries for row in decode(self.store.get(entry.key))]


@pytest.fixture
def cloud(tmp_path):
    return Cloud(tmp_path)


def request_of(first_window: int = 0, rows: Any = ROWS[:2]) -> bytes:
    data = [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]
    tensor = {"name": "features", "shape": list(rows.shape), "datatype": "FP64", "data": data}
    ends = [(first_window + number) * 3_600_000_000 for number in range(len(rows))]
    parameters = {"devices": ["fan-1"] * len(rows), "window_ends_us": ends}
    return json.dumps({"inputs": [tensor], "parameters": parameters}).encode()


def scores_of(version: str, rows: Any = ROWS[:2]) -> Any:
    weights = bundles.weights_of()
    return 1.0 / (1.0 + np.exp(-(np.nan_to_num(rows) @ weights + BIAS[version])))


class Clients(threading.Thread):
    """Asks without a pause until told to stop, and keeps every answer."""

    def __init__(self, server: Program, number: int) -> None:
        super().__init__()
        self.server = server
        self.number = number
        self.stopping = threading.Event()
        self.answers: list[tuple[int, Any]] = []

    def run(self) -> None:
        connection = self.server.connect()
        asked = 0
        while not self.stopping.is_set():
            window = 1 + 2 * (asked + self.number * 100_000)
            connection.request("POST", INFER, request_of(window))
            answer = connection.getresponse()
            self.answers.append((answer.status, json.loads(answer.read())))
            asked += 1
        connection.close()


def test_no_request_fails_while_releases_follow_each_other_and_everything_is_recorded(cloud):
    cloud.release("1")
    with cloud.server() as server:
        wait_for(lambda: server.get("/v2/health/ready")[0] == 200, "the server to be ready")
        clients = [Clients(server, number) for number in range(3)]
        for client in clients:
            client.start()
        for version in ("2", "3", "1"):
            cloud.release(version)
            served = lambda wanted=version: server.get("/v2/models/fan_failure")[1]["versions"] == [wanted]  # noqa: E731 - two lines below it is over
            wait_for(served, f"version {version}")
        cloud.releases.release("4", models.has_other_golden_scores())
        wait_for(lambda: "event=refused" in server.output, "the refusal")
        for client in clients:
            client.stopping.set()
        for client in clients:
            client.join()
        assert server.stop() == 0
    answers = [answer for client in clients for answer in client.answers]
    assert {status for status, _ in answers} == {200}
    for _, answer in answers:
        np.testing.assert_allclose(answer["outputs"][0]["data"], scores_of(answer["model_version"]), atol=1e-5)
    for client in clients:
        assert list(dict.fromkeys(answer["model_version"] for _, answer in client.answers))[:3] == ["1", "2", "3"]
        assert client.answers[-1][1]["model_version"] == "1"
    recorded = {row.id: row for row in cloud.predictions()}
    ids = [name for _, answer in answers for name in answer["parameters"]["prediction_ids"]]
    assert len(ids) == len(set(ids))
    assert set(ids) == set(recorded)


def test_a_server_is_not_ready_before_its_store_answers_and_goes_on_when_it_is_gone(cloud):
    cloud.release("1")
    hidden = cloud.folder / "hidden"
    (cloud.folder / "store" / "updates").rename(hidden)
    with cloud.server() as server:
        wait_for(lambda: "state=failing" in server.output, "the first look")
        assert server.get("/v2/health/ready")[0] == 400
        assert server.get("/v2/health/live")[0] == 200
        assert server.ask("POST", INFER, request_of())[0] == 404
        hidden.rename(cloud.folder / "store" / "updates")
        wait_for(lambda: server.get("/v2/health/ready")[0] == 200, "the server to be ready")
        (cloud.folder / "store" / "updates").rename(hidden)
        wait_for(lambda: server.output.count("state=failing") == 2, "the outage to be seen")
        assert server.ask("POST", INFER, request_of())[0] == 200
        assert server.get("/v2/health/ready")[0] == 200
        assert server.stop() == 0


def test_predictions_survive_a_power_cut_and_are_forwarded_by_the_next_start(cloud):
    cloud.release("1")
    with cloud.server() as server:
        wait_for(lambda: server.get("/v2/health/ready")[0] == 200, "the server to be ready")
        ids = server.ask("POST", INFER, request_of())[1]["parameters"]["prediction_ids"]
        wait_for(lambda: b"tidemill_unrecorded 0" in server.get("/metrics")[1], "the spool")
        server.kill()
        server.start()
        assert server.stop() == 0
    assert sorted(row.id for row in cloud.predictions()) == sorted(ids)


def test_limits_and_the_token_hold_over_the_wire(cloud):
    cloud.release("1")
    token = cloud.folder / "token"
    token.write_text("a-token-of-sixteen-letters\n")
    limits = {"TIDEMILL_SERVER_TOKEN_FILE": str(token), "TIDEMILL_SERVER_MAX_BODY_MIB": "1"}
    known = {"Authorization": "Bearer a-token-of-sixteen-letters"}
    with cloud.server(**limits, TIDEMILL_SERVER_MAX_ROWS="10") as server:
        wait_for(lambda: server.get("/v2/health/ready")[0] == 200, "the server to be ready")
        assert server.ask("POST", INFER, request_of())[0] == 401
        assert server.ask("POST", INFER, request_of(), known)[0] == 200
        assert server.ask("POST", INFER, request_of(rows=ROWS), known) == (
            413,
            {"error": "20 rows in one request, at most 10 are taken"},
        )
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=5) as stream:
            stream.sendall(f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n".encode())
            assert stream.recv(65536).startswith(b"HTTP/1.1 413")
        assert server.stop() == 0


def test_a_stop_lets_requests_in_hand_have_their_answers(cloud):
    cloud.release("1")
    with cloud.server() as server:
        wait_for(lambda: server.get("/v2/health/ready")[0] == 200, "the server to be ready")
        body = request_of()
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=5) as stream:
            head = f"POST {INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
            stream.sendall(head.encode() + body[:50])
            time.sleep(0.2)
            ended = threading.Thread(target=server.stop)
            ended.start()
            time.sleep(0.2)
            stream.sendall(body[50:])
            assert stream.recv(65536).startswith(b"HTTP/1.1 200")
            ended.join()
    assert len(cloud.predictions()) == 2


def test_over_tls_clients_are_answered(cloud):
    certificate, key = self_signed(cloud.folder)
    files = {"TIDEMILL_SERVER_CERTIFICATE": str(certificate), "TIDEMILL_SERVER_PRIVATE_KEY": str(key)}
    with cloud.server(**files) as server:
        context = ssl.create_default_context(cafile=str(certificate))
        port = int(server.url.rsplit(":", 1)[1])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as stream,
        ):
            stream.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            assert stream.recv(65536).startswith(b"HTTP/1.1 200")
        assert server.stop() == 0


REFUSED: dict[str, tuple[dict[str, str], int, str]] = {
    "reachable from elsewhere without a token": ({"TIDEMILL_SERVER_HOST": "0.0.0.0"}, 2, "TM-242"),
    "a store that does not exist": ({"TIDEMILL_STORE": "/nowhere"}, 2, "TM-202"),
    "a misspelt setting": ({"TIDEMILL_SERVER_PROT": "1"}, 2, "TIDEMILL_SERVER_PORT"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_server_that_is_set_up_wrongly_does_not_start_and_says_why(cloud, case):
    settings, code, said = REFUSED[case]
    ended = cloud.server(**settings).run("--port", "0")
    assert (ended.returncode, said in ended.stderr, "Traceback" in ended.stderr) == (code, True, False)
