r"""The text of a message, as a gateway would send it.

    {"device":"pump-001","ts":1767571215042,"received":1767571215391,"values":{"vibration":1.402,…}}

``ts`` and ``received`` are UTC milliseconds. A silent sensor has no field at all.
"""

import json

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.delivery import SPOILT, Deliveries
from infra.local.pumps.physics import SIGNALS
from infra.local.pumps.plan import DAY_MS

DECIMALS = (3, 2, 3, 2, 2, 0)  # of the signals, as such sensors resolve them
CLOCK_AHEAD_MS = 3 * DAY_MS


def texts_of(device: str, values: NDArray[np.float64], deliveries: Deliveries, first: int, stop: int) -> list[str]:
    """Lines of deliveries ``first`` to ``stop`` of one pump.

    Args:
        device: Name of the pump.
        values: Readings by minute, shape ``(minutes, 6)``; NaN where a sensor was silent.
        deliveries: Arrivals of this pump.
        first: Position of the first delivery.
        stop: Position after the last.

    Returns:
        One line with its line feed per delivery.
    """
    rows = values[deliveries.minute[first:stop]]
    sent, received = deliveries.sent[first:stop], deliveries.received[first:stop]
    template = _template(device)
    lines = list(map(template.__mod__, zip(sent.tolist(), received.tolist(), *rows.T.tolist(), strict=True)))
    for position in np.flatnonzero(np.isnan(rows).any(axis=1)).tolist():
        lines[position] = _line(device, int(sent[position]), int(received[position]), rows[position])
    spoilt = deliveries.spoilt[first:stop]
    for position in np.flatnonzero(spoilt).tolist():
        lines[position] = spoil(lines[position], int(spoilt[position]) - 1)
    return lines


def spoil(line: str, how: int) -> str:
    r"""Spoil a sound line in the manner ``SPOILT[how]``.

    Example:
        >>> sound = '{"device":"pump-001","ts":5,"received":9,"values":{"vibration":1.0}}\n'
        >>> spoil(sound, 0)
        '{"device":"pump-001","ts":5,"re\n'
        >>> spoil(sound, 3)
        '{"ts":5,"received":9,"values":{"vibration":1.0}}\n'
    """
    name = SPOILT[how][0]
    if name == "cut off":
        return line[: len(line) * 4 // 9 + 1] + "\n"
    if name == "modem chatter":
        return "AT+CSQ: 9,99 OK\n"
    message = json.loads(line)
    if name == "text for a number":
        message["values"][next(iter(message["values"]))] = "n/a"
    elif name == "no device":
        del message["device"]
    elif name == "clock three days ahead":
        message["ts"] += CLOCK_AHEAD_MS
    elif name == "clock back at 1970":
        message["ts"] %= DAY_MS
    elif name == "no values":
        message["values"] = {}
    else:
        del message["ts"]
    return json.dumps(message, separators=(",", ":")) + "\n"


def _template(device: str) -> str:
    fields = ",".join(f'"{name}":%.{digits}f' for name, digits in zip(SIGNALS, DECIMALS, strict=True))
    return f'{{"device":"{device}","ts":%d,"received":%d,"values":{{{fields}}}}}\n'


def _line(device: str, sent: int, received: int, row: NDArray[np.float64]) -> str:
    present = [(n, d, v) for n, d, v in zip(SIGNALS, DECIMALS, row.tolist(), strict=True) if v == v]  # noqa: PLR0124
    fields = ",".join(f'"{name}":{value:.{digits}f}' for name, digits, value in present)
    return f'{{"device":"{device}","ts":{sent},"received":{received},"values":{{{fields}}}}}\n'
