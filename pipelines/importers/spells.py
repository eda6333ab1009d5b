"""A state that lasts for a while, told by a pair of events.

>>> spells = Spells("room", "occupied", "", "occupancy", 0)
>>> found = [event for minute, used in enumerate([False, True, True]) for event in spells.add(minute, lasting=used)]
>>> [(event.kind, event.time_us) for event in (*found, *spells.end())]
[('occupied_begin', 1), ('occupied_end', 2)]
"""

from collections.abc import Iterator

from pipelines.importers.arrivals import Report


class Spells:
    """Watches one state of one device from reading to reading.

    Args:
        device: Its name.
        state: The state; events are ``<state>_begin`` and ``<state>_end``.
        detail: What the events say beside it.
        name: What the objects of the events are called.
        known_after_us: How long after it happened a change became known.
    """

    def __init__(self, device: str, state: str, detail: str, name: str, known_after_us: int) -> None:
        self._device, self._state, self._detail = device, state, detail
        self._name, self._known_after_us = name, known_after_us
        self._lasting = False
        self._seen_us = 0

    def add(self, time_us: int, *, lasting: bool) -> Iterator[Report]:
        """Tell the change, if the state is another than at the reading before."""
        self._seen_us = time_us
        if lasting != self._lasting:
            self._lasting = lasting
            yield self._report("begin" if lasting else "end", time_us)

    def end(self) -> Iterator[Report]:
        """End a state that still lasts, at the last reading: nobody knows what came after."""
        if self._lasting:
            self._lasting = False
            yield self._report("end", self._seen_us)

    def _report(self, what: str, time_us: int) -> Report:
        known_us = time_us + self._known_after_us
        return Report(self._device, time_us, f"{self._state}_{what}", self._detail, known_us, self._name)
