"""The gateway as its operator meets it: a process, a disk, a store that comes and goes."""

import json
import random
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from serving.prediction import Prediction, decode
from serving.store import open_store
from tests.fakes import bundles, fans, models
from tests.fakes.certificates import self_signed
from tests.fakes.programs import Program, wait_for
from tests.fakes.releases import Releases


class Plant:
    """A folder store with signed releases, and a gateway's settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "store"
        self.store = open_store(str(self.path), create=True)
        self.releases = Releases(self.store, folder / "signing")

    def settings(self, **more: str) -> dict[str, str]:
        return {
            "TIDEMILL_STORE": str(self.path),
            "TIDEMILL_ROOT": str(self.releases.root),
            "TIDEMILL_GATEWAY_NAME": "gw-1",
            "TIDEMILL_GATEWAY_USECASE": "fan_failure",
            "TIDEMILL_GATEWAY_STATE": str(self.folder / "state"),
            "TIDEMILL_GATEWAY_POLL_S": "0.3",
            **more,
        }

    def gateway(self, **more: str) -> Program:
        return Program("serving.gateway.command", self.folder, self.settings(**more))

    def predictions(self) -> list[Prediction]:
        entries = self.store.list("predictions/fan_failure/gateway/gw-1/")
        return [row for entry in entries for row in decode(self.store.get(entry.key))]


@pytest.fixture
def plant(tmp_path):
    return Plant(tmp_path)


def status(gateway: Program) -> Any:
    return gateway.get("/status")[1]


def runs(gateway: Program, version: str) -> None:
    wait_for(lambda: status(gateway)["version"] == version, f"version {version}")


def test_a_gateway_from_its_first_start_to_its_regular_end(plant):
    with plant.gateway() as gateway:
        assert gateway.get("/health") == (200, {"healthy": True, "states": ["waiting"], "reasons": []})
        assert gateway.ask("POST", "/telemetry", fans.body(0, 10))[0] == 503
        plant.releases.release("1", bundles.packed())
        runs(gateway, "1")
        answer = gateway.ask("POST", "/telemetry", fans.body(0, 200, devices=3))[1]
        assert answer == {"accepted": 600, "rejected": {}, "duplicates": 0, "late": 0, "predictions": 9}
        wait_for(lambda: len(plant.predictions()) == 9, "the predictions in the store")
        asked = gateway.run("status", "--json")
        assert asked.returncode == 0
        assert json.loads(asked.stdout)["version"] == "1"
        assert gateway.stop() == 0
        report = json.loads(plant.store.get("reports/fans/gw-1.json"))
        assert (report["process"], report["version"], report["predictions"]) == ("stopped", "1", 9)
        lines = gateway.output.splitlines()
        assert all(line[:2] == "20" and " event=" in line for line in lines)
        assert len(lines) < 15
        assert gateway.run("status").returncode == 3


def test_after_a_power_cut_the_last_good_bundle_answers_with_the_store_out_of_reach(plant):
    plant.releases.release("1", bundles.packed())
    with plant.gateway() as gateway:
        runs(gateway, "1")
        gateway.ask("POST", "/telemetry", fans.body(0, 71))
        wait_for(lambda: len(plant.predictions()) == 1, "the first prediction")
        gateway.kill()
        plant.path.rename(plant.folder / "cut")
        gateway.start()
        wait_for(lambda: status(gateway)["updates"]["state"] == "unreachable", "the outage to be seen")
        assert (status(gateway)["version"], status(gateway)["healthy"]) == ("1", True)
        answer = gateway.ask("POST", "/telemetry", fans.body(0, 131))[1]
        assert (answer["accepted"], answer["predictions"]) == (131, 2)
        (plant.folder / "cut").rename(plant.path)
        wait_for(lambda: len({row.id for row in plant.predictions()}) == 2, "the predictions made meanwhile")
        assert gateway.stop() == 0


def test_releases_follow_each_other_while_telemetry_comes_in_and_no_window_is_lost(plant):
    plant.releases.release("1", bundles.packed())
    with plant.gateway() as gateway:
        runs(gateway, "1")
        stop = threading.Event()
        answers: Counter[int] = Counter()
        minute = 0

        def feed() -> None:
            nonlocal minute
            connection = gateway.connect()
            while not stop.is_set():
                connection.request("POST", "/telemetry", fans.body(minute, minute + 60, devices=5))
                answer = connection.getresponse()
                answer.read()
                answers[answer.status] += 1
                minute += 60
            connection.close()

        feeding = threading.Thread(target=feed)
        feeding.start()
        plant.releases.release("2", models.has_other_golden_scores())
        wait_for(lambda: "version 2 was refused" in status(gateway)["reason"], "the refusal")
        for version, bias in (("3", 1.0), ("4", 2.0)):
            plant.releases.release(version, bundles.packed(bias=bias))
            runs(gateway, version)
        stop.set()
        feeding.join()
        assert gateway.stop() == 0
    assert set(answers) == {200}
    logged = plant.predictions()
    windows = Counter((row.device, row.window_end_us) for row in logged)
    # The newest reading is at minute - 1; a window is due when the lateness of ten minutes has passed since its end.
    assert len(windows) == 5 * ((minute - 1 - 10) // 60)
    assert set(windows.values()) == {1}
    answered = dict.fromkeys(row.version for row in sorted(logged, key=lambda row: row.window_end_us))
    assert list(answered) == ["1", "3", "4"]


def test_power_cuts_at_any_moment_of_a_release_leave_a_gateway_that_answers(plant):
    generator = random.Random(20)
    released = ["1"]
    plant.releases.release("1", bundles.packed())
    with plant.gateway() as gateway:
        runs(gateway, "1")
        for number in range(2, 6):
            # The first predictions end the probation of the version before.
            gateway.ask("POST", "/telemetry", fans.body(0, number * 60 + 11))
            wait_for(lambda: status(gateway)["state"] == "serving", "the end of the probation")
            released.append(str(number))
            plant.releases.release(str(number), bundles.packed(bias=number / 10))
            threading.Event().wait(generator.uniform(0.0, 0.9))
            gateway.kill()
            gateway.start()
            found = status(gateway)
            assert found["version"] in released[-2:]
            assert found["healthy"]
            runs(gateway, str(number))
        assert gateway.stop() == 0


def test_what_arrives_after_a_regular_restart_continues_the_features(plant):
    plant.releases.release("1", bundles.packed())
    with plant.gateway() as gateway:
        runs(gateway, "1")
        gateway.ask("POST", "/telemetry", fans.body(0, 100))
        assert gateway.stop() == 0
        gateway.start()
        assert gateway.ask("POST", "/telemetry", fans.body(95, 131))[1] == {
            "accepted": 31,
            "rejected": {},
            "duplicates": 5,
            "late": 0,
            "predictions": 1,
        }


def test_over_mutual_tls_only_known_clients_get_through(plant):
    certificate, key = self_signed(plant.folder)
    plant.releases.release("1", bundles.packed())
    files = {"CERTIFICATE": certificate, "PRIVATE_KEY": key, "CLIENT_AUTHORITY": certificate}
    with plant.gateway(**{f"TIDEMILL_GATEWAY_{name}": str(file) for name, file in files.items()}) as gateway:
        assert gateway.url.startswith("https://")
        wait_for(lambda: gateway.run("status", "--json").returncode == 0, "an answer to the operator's own client")
        assert answer_to_a_stranger(certificate, int(gateway.url.rsplit(":", 1)[1])) == b""


def answer_to_a_stranger(authority: Path, port: int) -> bytes:
    """What a client without a certificate gets; under TLS 1.3 it learns with its first read that it is refused."""
    context = ssl.create_default_context(cafile=str(authority))
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as stream,
        ):
            stream.sendall(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
            return stream.recv(1)
    except OSError:
        return b""


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "reachable from elsewhere without a token": ({"TIDEMILL_GATEWAY_HOST": "0.0.0.0"}, "TM-242"),
    "a misspelt setting": ({"TIDEMILL_GATEWAY_PROT": "1"}, "TIDEMILL_GATEWAY_PORT"),
    "a name that cannot be a file": ({"TIDEMILL_GATEWAY_NAME": "a/b"}, "TIDEMILL_GATEWAY_NAME"),
    "no root of trust": ({"TIDEMILL_ROOT": "/nowhere/root.json"}, "TIDEMILL_ROOT"),
    "a state folder that cannot be written": ({"TIDEMILL_GATEWAY_STATE": "/dev/null/state"}, "TM-270"),
    "a development root in production": ({"TIDEMILL_PRODUCTION": "true"}, "TM-254"),
    "a broker's address that is none": ({"TIDEMILL_GATEWAY_BROKER": "broker:1883"}, "TM-275"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_gateway_that_is_set_up_wrongly_does_not_start_and_says_why(plant, case):
    settings, said = REFUSED[case]
    ended = plant.gateway(**settings).run("run", "--port", "0")
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_agent_in_the_same_state_folder_does_not_start(plant):
    with plant.gateway() as gateway:
        second = gateway.run("run", "--port", "0")
        assert (second.returncode, "TM-271" in second.stderr) == (2, True)


def test_the_settings_are_shown_with_their_sources(plant):
    shown = plant.gateway(TIDEMILL_GATEWAY_BROKER="mqtt://u:secret@b").run("config", "--json")
    lines = {line["variable"]: line for line in json.loads(shown.stdout)["settings"]}
    assert (lines["TIDEMILL_GATEWAY_NAME"]["value"], lines["TIDEMILL_GATEWAY_NAME"]["source"]) == (
        "gw-1",
        "environment",
    )
    assert lines["TIDEMILL_GATEWAY_PORT"]["source"] == "default"
    assert "secret" not in shown.stdout


def test_the_agent_imports_nothing_that_the_base_installation_lacks():
    # boto3 is left out: securesystemslib imports it by itself where it is installed.
    absent = "click deltalake jinja2 mlflow msgspec onnx pandas polars pyarrow rich sklearn skl2onnx uvicorn"
    probe = (
        f"import sys, serving.gateway.command, serving.gateway.mqtt; print(*(set({absent.split()}) & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True).stdout
    assert found.strip() == ""
