r"""The text of a message, as a gateway would send it.

    {"device":"pump-001","ts":1767571215042,"received":1767571215391,"values":{"vibration":1.402,…}}

``ts`` and ``received`` are UTC milliseconds. A silent sensor has no field at all.
"""

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.delivery import Deliveries
from infra.local.pumps.physics import SIGNALS
from pipelines.importers.faults import spoil

DECIMALS = (3, 2, 3, 2, 2, 0)  # of the signals, as such sensors resolve them


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


def _template(device: str) -> str:
    fields = ",".join(f'"{name}":%.{digits}f' for name, digits in zip(SIGNALS, DECIMALS, strict=True))
    return f'{{"device":"{device}","ts":%d,"received":%d,"values":{{{fields}}}}}\n'


def _line(device: str, sent: int, received: int, row: NDArray[np.float64]) -> str:
    present = [(n, d, v) for n, d, v in zip(SIGNALS, DECIMALS, row.tolist(), strict=True) if v == v]  # noqa: PLR0124
    fields = ",".join(f'"{name}":{value:.{digits}f}' for name, digits, value in present)
    return f'{{"device":"{device}","ts":{sent},"received":{received},"values":{{{fields}}}}}\n'
