"""Telemetry over MQTT: a subscriber that acknowledges a message only when it has been taken in.

With QoS 1 and a persistent session (the gateway's name is the client id) the broker keeps what comes while the gateway
is down or has no model yet, and sends it again; duplicates are recognised by device and time like any others. A message
holds what a body of ``POST /telemetry`` holds. Nothing is subscribed to before the first model is installed, because
the form of the telemetry is not known until then.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from serving.gateway.errors import BrokerAddressError, NoModelError
from serving.journal import Journal

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_AT_LEAST_ONCE = 1
_LONGEST_PAUSE_S = 60


@dataclass(frozen=True, slots=True)
class Broker:
    """Where the broker is and who asks."""

    host: str
    port: int
    user: str = ""
    tls: bool = False


def broker_of(address: str) -> Broker:
    """Read the address of a broker.

    Raises:
        BrokerAddressError: It is not of the form ``mqtt(s)://user@host:port``, or it carries a password.

    Example:
        >>> broker_of("mqtts://gateway-7@broker.plant")
        Broker(host='broker.plant', port=8883, user='gateway-7', tls=True)
    """
    why = ""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as error:
        raise BrokerAddressError("the broker's address cannot be used", why=str(error)) from error
    if parts.scheme not in _PORTS or not parts.hostname:
        why = "expected mqtt://host:port or mqtts://host:port"
    elif parts.password:
        why = "a password does not belong into it; use TIDEMILL_GATEWAY_BROKER_PASSWORD_FILE"
    if why or parts.hostname is None:
        raise BrokerAddressError("the broker's address cannot be used", where=f"{parts.scheme}://…", why=why)
    return Broker(parts.hostname, port or _PORTS[parts.scheme], unquote(parts.username or ""), parts.scheme == "mqtts")


class Subscriber:
    """Feeds the messages of one topic filter to the gateway.

    Args:
        broker: Where they come from.
        name: Client id; unique at the broker.
        topic: Topic filter.
        take: Takes in a payload; ``NoModelError`` leaves the message unacknowledged.
        journal: Told when the connection comes and goes.
        password: For the broker's user.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        name: str,
        topic: str,
        take: Callable[[bytes], object],
        journal: Journal,
        password: str = "",
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._take = take
        self._journal = journal
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False, manual_ack=True)
        self._client.reconnect_delay_set(1, _LONGEST_PAUSE_S)
        if broker.user:
            self._client.username_pw_set(broker.user, password or None)
        if broker.tls:
            self._client.tls_set_context(ssl.create_default_context())
        self._client.on_connect = self._connected
        self._client.on_connect_fail = self._failed
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._received

    def start(self) -> None:
        """Connect in the background, again and again if need be."""
        self._client.connect_async(self._broker.host, self._broker.port)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect; the broker keeps what comes from now on."""
        self._client.disconnect()
        self._client.loop_stop()

    def _connected(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any) -> None:
        if reason.is_failure:
            self._journal.change("mqtt", "mqtt", state="refused", reason=reason)
            return
        client.subscribe(self._topic, _AT_LEAST_ONCE)
        self._journal.change("mqtt", "mqtt", state="connected", broker=self._broker.host, topic=self._topic)

    def _failed(self, _client: mqtt.Client, _data: Any) -> None:
        self._journal.change("mqtt", "mqtt", state="unreachable", broker=self._broker.host)

    def _disconnected(
        self, _client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._journal.change("mqtt", "mqtt", state="disconnected", reason=reason)

    def _received(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        try:
            self._take(bytes(message.payload))
        except NoModelError:
            return  # unacknowledged: the broker sends it again after the next connect
        except Exception as error:  # noqa: BLE001 - what cannot be taken now cannot be taken when it comes again
            self._journal.change("mqtt_take", "mqtt_take", state="failing", reason=error)
        if message.qos:
            client.ack(message.mid, message.qos)
