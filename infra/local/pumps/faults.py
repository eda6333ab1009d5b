"""Sensors that lie: stuck at one value, silent for a while, or spiking beyond anything the pump can do.

Stuck and silent sensors pass every check of a single reading; spikes lie outside the valid range and belong into the
quarantine. One sensor of a pump is faulty at a time.
"""

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.episodes import episodes, pause_for
from infra.local.pumps.plan import Plan

FAULT_MINUTES = 90.0  # mean length of a fault
KINDS = ("stuck", "silent", "spiking")
SPIKES = (88.0, 850.0, -4.0, 999.0, 9999.0, 65535.0)  # what each broken sensor sends, beyond its range
SPIKE_SHARE = 0.05  # of the minutes of a spiking sensor


def apply_faults(plan: Plan, device: int, values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Damage the readings of one pump in place.

    Args:
        plan: The simulated fleet; ``fault_share`` is the share of minutes with a faulty sensor.
        device: Number of the pump.
        values: True readings, shape ``(minutes, 6)``; NaN afterwards where a sensor was silent.

    Returns:
        Whether a minute carries a spike, shape ``(minutes,)``.
    """
    minutes = values.shape[0]
    random = np.random.default_rng((plan.seed, device, 5))
    chance = np.random.default_rng((plan.seed, device, 6)).random((minutes,))
    spiked = np.zeros(minutes, dtype=np.bool_)
    for begin, end in episodes(random, minutes, pause_for(plan.fault_share, FAULT_MINUTES), FAULT_MINUTES).tolist():
        # Drawn from the fault's own first minute: an episode beyond the period must not shift the ones before it.
        choice = np.random.default_rng((plan.seed, device, 7, begin))
        kind, signal = int(choice.integers(len(KINDS))), int(choice.integers(values.shape[1]))
        if KINDS[kind] == "stuck":
            values[begin:end, signal] = values[begin, signal]
        elif KINDS[kind] == "silent":
            values[begin:end, signal] = np.nan
        else:
            struck = begin + np.flatnonzero(chance[begin:end] < SPIKE_SHARE)
            values[struck, signal] = SPIKES[signal]
            spiked[struck] = True
    return spiked
