"""Write a simulated fleet into the raw part of a store, on as many processes as there are partitions of the hub."""

import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed

import numpy as np
from numpy.typing import NDArray

from infra.local.pumps.delivery import Deliveries, deliver
from infra.local.pumps.faults import apply_faults
from infra.local.pumps.messages import texts_of
from infra.local.pumps.physics import simulate
from infra.local.pumps.plan import DAY_MS, HOUR_MS, MINUTE_MS, Plan
from infra.local.pumps.wear import Event
from pipelines.importers.hub import RawWriter, json_lines
from serving.store import open_store

FLEET = "pumps"
PARTITIONS = 2  # of the hub; each writes an object an hour
GZIP_LEVEL = 2  # a level higher costs a third more time and saves a twentieth of the bytes


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """What was written: counts of objects, messages and events. ``late`` counts messages held back by an outage."""

    objects: int = 0
    messages: int = 0
    duplicates: int = 0
    late: int = 0
    spoilt: int = 0
    spikes: int = 0
    failures: int = 0
    maintenances: int = 0

    def __add__(self, other: "Written") -> "Written":
        """Sum field by field."""
        pairs = zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)
        return Written(*(left + right for left, right in pairs))


def write_fleet(
    plan: Plan, store_uri: str, *, processes: int = PARTITIONS, advance: Callable[[int, int], None] | None = None
) -> Written:
    """Simulate the fleet and write what the hub would have stored.

    Args:
        plan: What to simulate. Objects of the days ``from_day`` to ``last_day`` are written, by day of arrival.
        store_uri: Store to write into; it must exist.
        processes: 1 works in this process, more start one process per partition.
        advance: Called with (days done, days in all) summed over partitions.

    Returns:
        Counts over all partitions.
    """
    tasks = list(itertools.product(range(plan.from_day, plan.last_day), range(PARTITIONS)))
    if processes == 1:
        total = Written()
        for done, (day, partition) in enumerate(tasks, start=1):
            total += write_day(plan, store_uri, partition, day)
            if advance:
                advance(done, len(tasks))
        _pumps_of.cache_clear()
        return total
    with _executors() as executors:
        futures = [executors[part].submit(write_day, plan, store_uri, part, day) for day, part in tasks]
        return _gather(futures, advance)


def _gather(futures: list[Future[Written]], advance: Callable[[int, int], None] | None) -> Written:
    total = Written()
    for done, future in enumerate(as_completed(futures), start=1):
        total += future.result()
        if advance:
            advance(done, len(futures))
    return total


@contextlib.contextmanager
def _executors() -> Iterator[list[Executor]]:
    """One process a partition, so that each computes the courses of its own pumps only, and once."""
    context = multiprocessing.get_context("spawn")
    executors = [ProcessPoolExecutor(1, context, _leave_interrupts) for _ in range(PARTITIONS)]
    try:
        yield list(executors)
    finally:
        for executor in executors:
            executor.shutdown(wait=True, cancel_futures=True)


def _leave_interrupts() -> None:
    """Ctrl-C reaches every process of the terminal: the parent alone decides, the others would only print traces."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def write_day(plan: Plan, store_uri: str, partition: int, day: int) -> Written:
    """Write what one partition of the hub received on one day: an object an hour, and the events reported that day."""
    writer = RawWriter(open_store(store_uri), FLEET, level=GZIP_LEVEL)
    pumps = _pumps_of(plan, partition)
    if not pumps:  # a single pump leaves the second partition empty
        return Written()
    midnight = plan.start_ms + day * DAY_MS
    slices = [np.searchsorted(pump.deliveries.received, (midnight, midnight + DAY_MS)).tolist() for pump in pumps]
    cuts = list(zip(pumps, slices, strict=True))
    received = np.concatenate([pump.deliveries.received[first:stop] for pump, (first, stop) in cuts])
    texts: list[str] = []
    for pump, (first, stop) in cuts:
        texts += texts_of(pump.name, pump.values, pump.deliveries, first, stop)
    order = np.argsort(received, kind="stable")
    borders = np.searchsorted(received[order], midnight + HOUR_MS * np.arange(25)).tolist()
    objects = 0
    for hour, (first, stop) in enumerate(itertools.pairwise(borders)):
        if first < stop:
            body = "".join([texts[position] for position in order[first:stop].tolist()]).encode()
            writer.write_telemetry(f"partition-{partition}", (midnight + hour * HOUR_MS) * 1000, body)
            objects += 1
    written = _count(cuts) + _write_events(writer, plan, partition, day, pumps)
    return written + Written(objects=objects)


def _write_events(writer: RawWriter, plan: Plan, partition: int, day: int, pumps: "tuple[_Pump, ...]") -> Written:
    """Events are written on the day somebody reports them."""
    first, stop = day * DAY_MS // MINUTE_MS, (day + 1) * DAY_MS // MINUTE_MS
    known = [(event, pump.name) for pump in pumps for event in pump.events if first <= event.known_minute < stop]
    known.sort(key=lambda pair: (pair[0].known_minute, pair[1]))
    if not known:
        return Written()
    lines = json_lines(
        {
            "device": name,
            "ts": plan.start_ms + event.minute * MINUTE_MS,
            "kind": event.kind,
            "detail": event.detail,
            "known_at": plan.start_ms + event.known_minute * MINUTE_MS,
        }
        for event, name in known
    )
    writer.write_events(f"partition-{partition}", (plan.start_ms + day * DAY_MS) * 1000, lines)
    failures = sum(event.kind == "failure" for event, _ in known)
    return Written(objects=1, failures=failures, maintenances=len(known) - failures)


@dataclasses.dataclass(frozen=True, slots=True)
class _Pump:
    name: str
    values: NDArray[np.float64]
    spiked: NDArray[np.bool_]
    deliveries: Deliveries
    events: tuple[Event, ...]


def _count(cuts: "list[tuple[_Pump, list[int]]]") -> Written:
    total = Written()
    for pump, (first, stop) in cuts:
        come, fresh = pump.deliveries, ~pump.deliveries.again[first:stop]
        total += Written(
            messages=stop - first,
            duplicates=int((~fresh).sum()),
            late=int((come.held[first:stop] & fresh).sum()),
            spoilt=int((come.spoilt[first:stop] > 0).sum()),
            spikes=int((pump.spiked[come.minute[first:stop]] & fresh).sum()),
        )
    return total


@functools.lru_cache(maxsize=PARTITIONS)
def _pumps_of(plan: Plan, partition: int) -> tuple[_Pump, ...]:
    """The pumps of one partition, computed once a process."""
    pumps = []
    for device in range(partition, plan.devices, PARTITIONS):
        course = simulate(plan, device)
        values = course.values
        spiked = apply_faults(plan, device, values)
        pumps.append(_Pump(plan.device_name(device), values, spiked, deliver(plan, device), course.events))
    return tuple(pumps)
