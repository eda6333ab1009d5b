import socket

from infra.local.ports import LOOPBACK, free_port


def listener():
    found = socket.socket()
    found.bind((LOOPBACK, 0))
    found.listen()
    return found, found.getsockname()[1]


def test_the_usual_port_is_taken_when_it_is_free():
    found, port = listener()
    found.close()
    assert free_port(port) == port


def test_another_port_is_taken_when_somebody_listens():
    found, port = listener()
    with found:
        assert free_port(port) != port


def test_a_port_that_was_given_away_is_not_given_again():
    found, port = listener()
    found.close()
    other = free_port(port, {port})
    assert other != port
    assert free_port(port, {port, other}) not in {port, other}
