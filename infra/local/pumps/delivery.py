"""The way from a pump to the hub: at least once, not in order, sometimes hours late, sometimes spoilt.

An uplink that is down holds messages back; the gateway keeps them and sends them in a burst when it is up again, which
is how late data comes in practice. A lost acknowledgement makes a message arrive twice. Single messages are overtaken.
Few are spoilt, in the ways that `pipelines.importers.faults` lists.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.episodes import episodes, pause_for
from infra.local.pumps.plan import MINUTE_MS, Plan
from pipelines.importers.faults import SPOILT

OUTAGE_MINUTES = 130.0
BURST_SPACING_MS = 25  # between held-back messages when the uplink is up again


@dataclasses.dataclass(frozen=True, slots=True)
class Deliveries:
    """Messages of one pump in the order of their arrival; all arrays have shape ``(n,)``.

    Attributes:
        minute: Which reading a message carries.
        sent: Event time, UTC milliseconds.
        received: Arrival at the hub, UTC milliseconds, not decreasing.
        spoilt: 0 for a sound message, else 1 + position in ``SPOILT``.
        held: Whether an uplink that was down held it back.
        again: Whether it is a repetition of a message that arrived before.
    """

    minute: NDArray[np.int64]
    sent: NDArray[np.int64]
    received: NDArray[np.int64]
    spoilt: NDArray[np.uint8]
    held: NDArray[np.bool_]
    again: NDArray[np.bool_]


def deliver(plan: Plan, device: int) -> Deliveries:
    """When each message of one pump arrives, and how."""
    count = plan.minutes
    minute = np.arange(count, dtype=np.int64)
    chance = np.random.default_rng((plan.seed, device, 8)).random((count, 9))
    phase = int(np.random.default_rng((plan.seed, device, 9)).integers(0, MINUTE_MS - 1000))
    sent = plan.start_ms + minute * MINUTE_MS + phase + (200 * chance[:, 0]).astype(np.int64)
    received = sent + 120 + np.minimum(-250.0 * np.log1p(-chance[:, 1]), 5000.0).astype(np.int64)
    overtaken = chance[:, 2] < plan.disorder_share
    received += np.where(overtaken, 70_000 + 400_000 * chance[:, 3], 0.0).astype(np.int64)
    held = _hold_back(plan, device, received)
    spoilt = np.where(chance[:, 4] < plan.corrupt_share, 1 + (len(SPOILT) * chance[:, 5]), 0).astype(np.uint8)
    twice = np.flatnonzero((chance[:, 6] < plan.duplicate_share) & (spoilt == 0))
    minute = np.concatenate([minute, twice])
    received = np.concatenate([received, received[twice] + 1000 + (60_000 * chance[twice, 7]).astype(np.int64)])
    order = np.lexsort((minute, received))
    chosen = minute[order]
    return Deliveries(
        minute=chosen,
        sent=sent[chosen],
        received=received[order],
        spoilt=np.where(order < count, spoilt[chosen], 0).astype(np.uint8),
        held=held[chosen],
        again=order >= count,
    )


def _hold_back(plan: Plan, device: int, received: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Move arrivals that fall into an outage of the uplink to its end, in place; says which were moved."""
    held = np.zeros(received.shape[0], dtype=np.bool_)
    random = np.random.default_rng((plan.seed, device, 10))
    pause = pause_for(plan.late_share, OUTAGE_MINUTES)
    for begin, end in episodes(random, received.shape[0], pause, OUTAGE_MINUTES).tolist():
        begins, ends = plan.start_ms + begin * MINUTE_MS, plan.start_ms + end * MINUTE_MS
        caught = np.flatnonzero((received >= begins) & (received < ends))
        received[caught] = ends + BURST_SPACING_MS * np.arange(caught.shape[0])
        held[caught] = True
    return held
