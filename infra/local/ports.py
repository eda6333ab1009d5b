"""Free ports on the loopback address."""

import socket
from collections.abc import Collection

LOOPBACK = "127.0.0.1"


def free_port(preferred: int, taken: Collection[int] = ()) -> int:
    """Return the preferred port, or another free one where somebody listens there already.

    Args:
        preferred: The usual port of a service, 0 for none.
        taken: Ports given away already whose services do not listen yet.
    """
    if preferred and preferred not in taken and _can_listen(preferred):
        return preferred
    while True:
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are only waiting out their time is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
