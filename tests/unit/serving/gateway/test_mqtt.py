import pytest

from serving.gateway.errors import BrokerAddressError
from serving.gateway.mqtt import Broker, broker_of


@pytest.mark.parametrize(
    ("address", "broker"),
    [
        ("mqtt://broker", Broker("broker", 1883)),
        ("mqtt://broker:99", Broker("broker", 99)),
        ("mqtts://gw%201@broker", Broker("broker", 8883, "gw 1", tls=True)),
        ("mqtt://[::1]:5", Broker("::1", 5)),
    ],
)
def test_an_address_is_taken_apart(address, broker):
    assert broker_of(address) == broker


@pytest.mark.parametrize("address", ["broker:1883", "tcp://broker", "mqtt://", "mqtt://broker:port", "http://broker"])
def test_what_is_no_address_of_a_broker_is_refused(address):
    with pytest.raises(BrokerAddressError):
        broker_of(address)


def test_a_password_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(BrokerAddressError) as refused:
        broker_of("mqtt://user:secret@broker")
    assert "secret" not in str(refused.value)
    assert "PASSWORD_FILE" in str(refused.value)
