"""Telemetry over a real MQTT broker, which comes, goes and keeps what the gateway missed."""

import getpass
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from serving.store import open_store
from tests.fakes import bundles, fans
from tests.fakes.programs import Program, wait_for
from tests.fakes.releases import Releases

MOSQUITTO = shutil.which("mosquitto", path="/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="the broker mosquitto is not installed")


class Broker:
    """mosquitto on a port of its own, with a user, keeping sessions and messages over a restart."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.folder = folder
        passwords = folder / "passwords"
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "plant", "secret"], check=True)
        # Started by root, mosquitto would become another user, who may not read a test's folder.
        (folder / "mosquitto.conf").write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
            f"user {getpass.getuser()}\npersistence true\npersistence_location {folder}/\n"
        )
        self.process: Any = None

    def start(self) -> None:
        command = [str(MOSQUITTO), "-c", str(self.folder / "mosquitto.conf")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def publish(self, *bodies: bytes) -> None:
        """Publish, and wait until the broker has taken all of them."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set("plant", "secret")
        wait_for(lambda: connects(client, self.port), "the broker")
        client.loop_start()
        wait_for(client.is_connected, "the broker's welcome")
        for number, body in enumerate(bodies):
            client.publish(f"telemetry/fans/{number}", body, qos=1).wait_for_publish(10)
        client.disconnect()
        client.loop_stop()


def connects(client: mqtt.Client, port: int) -> bool:
    try:
        return client.connect("127.0.0.1", port) == mqtt.MQTT_ERR_SUCCESS
    except OSError:
        return False


@pytest.fixture
def broker(tmp_path_factory, unused_port) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"), unused_port)
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def test_messages_are_taken_at_least_once_whoever_of_the_two_was_away(tmp_path, broker):
    store = open_store(str(tmp_path / "store"), create=True)
    releases = Releases(store, tmp_path / "signing")
    password = tmp_path / "password"
    password.write_text("secret\n")
    settings = {
        "TIDEMILL_STORE": str(tmp_path / "store"),
        "TIDEMILL_ROOT": str(releases.root),
        "TIDEMILL_GATEWAY_NAME": "gw-1",
        "TIDEMILL_GATEWAY_USECASE": "fan_failure",
        "TIDEMILL_GATEWAY_STATE": str(tmp_path / "state"),
        "TIDEMILL_GATEWAY_POLL_S": "0.3",
        "TIDEMILL_GATEWAY_BROKER": f"mqtt://plant@127.0.0.1:{broker.port}",
        "TIDEMILL_GATEWAY_BROKER_PASSWORD_FILE": str(password),
        "TIDEMILL_GATEWAY_TOPIC": "telemetry/#",
    }
    with Program("serving.gateway.command", tmp_path, settings) as gateway:

        def count(name: str) -> int:
            found: int = gateway.get("/status")[1][name]
            return found

        def connections() -> int:
            return gateway.output.count("event=mqtt state=connected")

        # Nothing is subscribed to before there is a model.
        broker.publish(fans.body(0, 5))
        assert connections() == 0
        releases.release("1", bundles.packed())
        wait_for(lambda: connections() == 1, "the subscription")
        wait_for(lambda: published_and_counted(broker, count), "the first message")

        # What is no telemetry does not hold up what is.
        broker.publish(b"{oops", *fans.records(60, 131))
        wait_for(lambda: count("accepted") == 131, "messages of one record each")
        assert gateway.get("/status")[1]["rejected"] == {"unreadable": 1}
        assert count("predictions") == 2

        # The gateway is away: the broker keeps its messages.
        gateway.stop()
        broker.publish(fans.body(131, 160))
        gateway.start()
        wait_for(lambda: count("accepted") == 29, "what the broker kept")

        # The broker is away: the gateway comes back to it by itself.
        broker.stop()
        wait_for(lambda: "state=disconnected" in gateway.output.rsplit("event=listening", 1)[1], "the loss")
        broker.start()
        broker.publish(fans.body(160, 191))
        wait_for(lambda: count("accepted") == 60, "messages after the reconnect")
        assert count("predictions") == 1
        assert gateway.stop() == 0


def published_and_counted(broker: Broker, count: Any) -> bool:
    """The subscription is answered a moment after the connection: the first hour is sent until it arrives."""
    broker.publish(fans.body(0, 60))
    wait = count("accepted") == 60
    return bool(wait)
