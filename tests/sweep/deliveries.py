"""Thousands of objects with duplicates, late and broken records, over ingesters that are killed: nothing is lost.

What the objects hold, and what must come of it, follows from the seed. The hub writes while four ingesters are at work;
each of them is killed again and again. At the end the tables are those of one run over the objects, the rows are what
brute force finds, and each broken record lies in quarantine once, with its reason.
"""

import gzip
import json
import random
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.lake import Lake
from pipelines.materialize import materialize
from tests.fakes.copies import believed
from tests.fakes.fleets import DAY_US, FAN_FEATURES, FANS, MINUTE_US, NOON_US, reading
from tests.sweep import ingesters

_MESSAGES = 8
_DEVICES = 20
_INGESTERS = 4
_AFTERWARDS = 5  # kills when all objects are written
_FOLDER = "raw/fans/telemetry/2025/11/24/12"


@dataclass
class Delivery:
    """Objects, and what is in them.

    Attributes:
        objects: Their bytes, by name, in the order in which they are written.
        good: The messages that are to be believed or are copies.
        broken: Bytes and reason of each broken record, by name of its object and ordinal.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    good: list[Any] = field(default_factory=list)
    broken: dict[tuple[str, int], tuple[bytes, str]] = field(default_factory=dict)


def run(count: int, seed: int) -> str:
    """Deliver so many objects; what was seen, in a line.

    Raises:
        AssertionError: Something was lost, doubled, or not quarantined.
    """
    print(f"deliveries: seed {seed}", flush=True)
    chance = random.Random(seed)
    delivery = _deliver(count, chance)
    root = Path(tempfile.mkdtemp(prefix="tidemill-deliveries-"))
    try:
        kills = _ingest(root / "plant", delivery, chance)
        _write(root / "once", delivery)
        assert ingesters.end(ingesters.start(ingesters.take_in, root / "once", 20_000)) == 0
        _compare(root, delivery)
    finally:
        shutil.rmtree(root)
    return f"deliveries: {count} objects, {len(delivery.good)} readings, {kills} kills, nothing lost or doubled"


def _deliver(count: int, chance: random.Random) -> Delivery:
    """Objects of a few messages, shuffled, up to seven days late.

    One in five was told before, one in fifty is broken, one in ten says a part, of which another one says the rest.
    """
    delivery = Delivery()
    names = [f"hub-{number:06d}.json.gz" for number in range(count)]
    chance.shuffle(names)
    rests: list[Any] = []
    for number, name in enumerate(names):
        lines = []
        for ordinal in range(_MESSAGES):
            kind = chance.random()
            message = _message(number * _MESSAGES + ordinal, chance)
            if kind < 0.02:
                line, reason = _broken(message, chance)
                delivery.broken[name, ordinal] = line, reason
            elif kind < 0.22 and delivery.good:
                message = dict(chance.choice(delivery.good))
                message["received"] += chance.choice([0, 0, 60_000, 3_600_000])
                if chance.random() < 0.1:
                    message["values"] = {"speed": chance.randint(1, 2000), "current": 1.0}
                line = _line(message)
                delivery.good.append(message)
            else:
                if kind < 0.32:
                    rests.append(message | {"values": {"current": message["values"]["current"]}})
                    message["values"] = {"speed": message["values"]["speed"]}
                elif kind < 0.42 and rests:
                    message = rests.pop(chance.randrange(len(rests)))
                line = _line(message)
                delivery.good.append(message)
            lines.append(line)
        delivery.objects[name] = gzip.compress(b"\n".join(lines), 1, mtime=0)
    return delivery


def _message(number: int, chance: random.Random) -> Any:
    moment = NOON_US + number * MINUTE_US // 8
    late = chance.choice([0, 0, 0, MINUTE_US, chance.randrange(7 * DAY_US)])
    return reading(f"fan-{chance.randrange(_DEVICES):02d}", moment, chance.randint(1, 2000), moment + late)


def _line(message: Any) -> bytes:
    return json.dumps(message).encode()


def _broken(message: Any, chance: random.Random) -> tuple[bytes, str]:
    match chance.randrange(4):
        case 0:
            return _line(message | {"values": {"speed": -5}}), "out_of_range"
        case 1:
            return _line({name: value for name, value in message.items() if name != "device"}), "no_device"
        case 2:
            return _line(message | {"ts": None}), "no_time"
        case _:
            return _line(message | {"ts": message["received"] + 3_600_000}), "in_the_future"


def _write(root: Path, delivery: Delivery) -> None:
    (root / _FOLDER).mkdir(parents=True)
    for name, data in delivery.objects.items():
        (root / _FOLDER / name).write_bytes(data)


def _ingest(root: Path, delivery: Delivery, chance: random.Random) -> int:
    """Write the objects while four ingesters run, and kill them; how often."""
    (root / _FOLDER).mkdir(parents=True)
    done, waiting = root / "done", list(delivery.objects.items())
    cut = max(len(waiting) // 40, 5)
    share = max(len(waiting) // (20 + len(waiting) // 100), 5)
    first, waiting = waiting[:share], waiting[share:]
    processes: list[Any] = []
    kills = spared = 0
    with ingesters.killed_at_the_end(processes):
        while not any(process.exitcode == 0 for process in processes):
            _put(root / _FOLDER, first)
            first, waiting = waiting[:share], waiting[share:]
            if not first:
                done.touch()
                spared += 1
            processes[:] = [process for process in processes if process.exitcode in (None, 0)]
            while len(processes) < _INGESTERS:
                processes.append(ingesters.start(ingesters.take_in_until, root, cut, done))
            time.sleep(chance.uniform(0, 0.4))
            if spared < _AFTERWARDS:
                chance.choice(processes).kill()
                kills += 1
        for process in processes:
            assert ingesters.end(process) in (0, ingesters.KILLED)
    return kills


def _put(folder: Path, objects: list[tuple[str, bytes]]) -> None:
    """As whole objects: a listing shows none that is still being written."""
    for name, data in objects:
        temporary = folder / f".tidemill-{name}"
        temporary.write_bytes(data)
        temporary.rename(folder / name)


def _compare(root: Path, delivery: Delivery) -> None:
    found, once = ingesters.rows(root / "plant"), ingesters.rows(root / "once")
    assert found == once, _difference(found, once)
    expected = sorted(believed(FANS, {"all": delivery.good}))
    assert found == expected, _difference(found, expected)
    for each in ("plant", "once"):
        materialize(Lake(str(root / each)), FAN_FEATURES)
    assert ingesters.computed(root / "plant") == ingesters.computed(root / "once")
    wanted = sorted(
        (f"{_FOLDER}/{name}", ordinal, reason, data) for (name, ordinal), (data, reason) in delivery.broken.items()
    )
    for each in ("plant", "once"):
        assert ingesters.quarantined(root / each) == wanted


def _difference(found: list[Any], expected: list[Any]) -> str:
    lost, more = set(expected) - set(found), set(found) - set(expected)
    return f"{len(lost)} lost, {len(more)} more, {len(found) - len(set(found))} doubled: {sorted(lost | more)[:4]}"
