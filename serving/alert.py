"""From scores to alerts that somebody can act on.

A score that dances around its threshold must not ring a bell with every window. So each device has a small state
machine: quiet until ``consecutive`` windows in a row are alerts, then raised until ``clear`` windows in a row are not.
Only the two transitions are events.

Laws (``tests/unit/serving/test_alert.py``):

- raised and cleared take turns for each device and use case, beginning with raised;
- a window counts once: one that is not later than the last one changes nothing, so a replay does no harm;
- devices and use cases do not influence each other; another version of the model continues the count of the last.

Example:
    >>> from serving.record import Prediction
    >>> alerts = Alerts(AlertPolicy(consecutive=2))
    >>> first = Prediction("id", "pump_failure", "gateway", "gw", "pump-7", 1, 1, "3", "", "", 0.9, True, ())
    >>> alerts.observe(first)
    >>> alerts.observe(replace(first, window_end_us=2)).kind
    'raised'
    >>> [alert.device for alert in alerts.active()]
    ['pump-7']
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from serving.errors import RecordError, SettingsError
from serving.record import Prediction


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """How many windows in a row it takes.

    Attributes:
        consecutive: Windows with an alert until one is raised; 1 raises at once.
        clear: Windows without an alert until a raised one is cleared.

    Raises:
        SettingsError: One of them is less than 1.
    """

    consecutive: int = 2
    clear: int = 2

    def __post_init__(self) -> None:
        if min(self.consecutive, self.clear) < 1:
            raise SettingsError(
                "an alert policy needs at least one window each way",
                why=f"consecutive is {self.consecutive}, clear is {self.clear}",
                fix="use 1 or more for both",
            )


@dataclass(frozen=True, slots=True)
class Alert:
    """One transition of one device.

    Attributes:
        kind: ``raised`` or ``cleared``.
        usecase: Name of the use case.
        device: Whom it is about.
        score: Score of the window that made the transition.
        window_end_us: End of that window, UTC microseconds.
        version: Version of the model that scored it.
        since_us: End of the first window of the streak that raised the alert, UTC microseconds. A cleared alert keeps
            it, so ``window_end_us - since_us`` is how long it lasted.
    """

    kind: Literal["raised", "cleared"]
    usecase: str
    device: str
    score: float
    window_end_us: int
    version: str
    since_us: int


@dataclass(frozen=True, slots=True)
class Watch:
    """What is remembered of one device.

    Attributes:
        last_us: End of the last window that counted.
        streak: Windows in a row that speak for the next transition.
        streak_since_us: End of the first of them.
        raised: The alert that stands, if any.
    """

    last_us: int
    streak: int = 0
    streak_since_us: int = 0
    raised: Alert | None = None


def advance(policy: AlertPolicy, watch: Watch | None, prediction: Prediction) -> tuple[Watch, Alert | None]:
    """One step of the state machine of one device; pure.

    Args:
        policy: How many windows in a row it takes.
        watch: What is remembered of the device, None for nothing.
        prediction: The next window.

    Returns:
        What to remember, and the transition if this window made one.
    """
    end_us = prediction.window_end_us
    if watch is None:
        watch = Watch(last_us=end_us)
    elif end_us <= watch.last_us:
        return watch, None
    standing = watch.raised
    if prediction.alert == (standing is not None):  # it speaks for what is: the streak towards the other side is over
        return replace(watch, last_us=end_us, streak=0), None
    streak_since_us = watch.streak_since_us if watch.streak else end_us
    counted = replace(watch, last_us=end_us, streak=watch.streak + 1, streak_since_us=streak_since_us)
    if counted.streak < (policy.clear if standing else policy.consecutive):
        return counted, None
    alert = Alert(
        kind="cleared" if standing else "raised",
        usecase=prediction.usecase,
        device=prediction.device,
        score=prediction.score,
        window_end_us=end_us,
        version=prediction.version,
        since_us=standing.since_us if standing else streak_since_us,
    )
    return Watch(end_us, raised=None if standing else alert), alert


class Alerts:
    """The state machines of all devices. Not thread-safe: one owner feeds it.

    Args:
        policy: Applies to every device.
    """

    def __init__(self, policy: AlertPolicy | None = None) -> None:
        self._policy = policy or AlertPolicy()
        self._watches: dict[tuple[str, str], Watch] = {}

    def observe(self, prediction: Prediction) -> Alert | None:
        """Take one prediction; the alert that it raised or cleared, or None."""
        key = prediction.usecase, prediction.device
        self._watches[key], alert = advance(self._policy, self._watches.get(key), prediction)
        return alert

    def active(self) -> list[Alert]:
        """The alerts that stand, oldest first."""
        standing = [watch.raised for watch in self._watches.values() if watch.raised]
        return sorted(standing, key=lambda alert: (alert.since_us, alert.usecase, alert.device))

    def snapshot(self) -> bytes:
        """Everything that is remembered, as JSON for ``restore``: a restart must not raise the same alert again."""
        rows = [[usecase, device, asdict(watch)] for (usecase, device), watch in self._watches.items()]
        return json.dumps(rows, separators=(",", ":")).encode()

    @classmethod
    def restore(cls, policy: AlertPolicy, data: bytes) -> "Alerts":
        """Continue from a ``snapshot``, possibly under another policy.

        Raises:
            RecordError: It is not a snapshot of alerts.
        """
        alerts = cls(policy)
        try:
            for usecase, device, fields in json.loads(data):
                standing = fields.pop("raised")
                raised = Alert(**standing) if standing else None
                alerts._watches[str(usecase), str(device)] = Watch(**fields, raised=raised)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RecordError(
                "the memory of alerts cannot be read",
                why=str(error),
                fix="start without it; alerts may be raised again",
            ) from error
        return alerts
