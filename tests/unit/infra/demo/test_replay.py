"""Stored telemetry is fed to gateways in event order, a little disturbed, with all its faults."""

import gzip
import json

from features import catalog
from infra.local.demo.replay import _batches, record
from serving.store import open_store

DAY_MS = 86_400_000
START_MS = 1_767_571_200_000  # 2026-01-05T00:00Z


def _line(device, ts):
    return json.dumps({"device": device, "ts": ts, "values": {"flow": 1.0}}).encode()


def _store(tmp_path, objects):
    store = open_store(str(tmp_path))
    for key, lines in objects.items():
        store.put(f"raw/pumps/telemetry/{key}", gzip.compress(b"\n".join(lines)))
    return store


def test_late_records_take_their_place_and_broken_ones_keep_theirs(tmp_path):
    store = _store(
        tmp_path,
        {
            "2026/01/05/00/a.json.gz": [_line("p1", START_MS), b"{broken", _line("p1", START_MS + 2000)],
            "2026/01/05/07/late.json.gz": [_line("p2", START_MS + 1000)],
            "2026/01/09/00/other.json.gz": [_line("p1", START_MS + 4 * DAY_MS)],
        },
    )
    recorded = record(store, catalog.load("pumps").fleet, START_MS, START_MS + DAY_MS)

    assert [line for _, _, line in recorded.lines] == [
        _line("p1", START_MS),
        b"{broken",
        _line("p2", START_MS + 1000),
        _line("p1", START_MS + 2000),
    ]
    assert recorded.devices == ["p1", "p2"]
    assert recorded.of(["", "p2"]) == [("/telemetry", b"{broken"), ("/telemetry", _line("p2", START_MS + 1000))]


def test_records_arrive_out_of_order_by_no_more_than_allowed(tmp_path):
    lines = [_line("p1", START_MS + 1000 * second) for second in range(300)]
    store = _store(tmp_path, {"2026/01/05/00/a.json.gz": lines})
    recorded = record(store, catalog.load("pumps").fleet, START_MS, START_MS + DAY_MS)

    moved = [line for _, line in recorded.of(["p1"], disorder_ms=20_000, seed=3)]

    assert sorted(moved) == sorted(lines)
    assert moved != lines
    assert [line for _, line in recorded.of(["p1"])] == lines
    places = [moved.index(line) for line in lines]
    assert max(abs(place - at) for at, place in enumerate(places)) <= 20


def test_events_come_when_they_became_known_also_those_of_long_before(tmp_path):
    def event(device, ts, known_at):
        return json.dumps({"device": device, "ts": ts, "kind": "failure", "known_at": known_at}).encode()

    lines = [_line("p1", START_MS + 1000 * second) for second in range(3)]
    store = _store(tmp_path, {"2026/01/05/00/a.json.gz": lines})
    old, now = event("p1", START_MS - 200 * DAY_MS, START_MS - 200 * DAY_MS), event("p1", START_MS, START_MS + 1500)
    later, other = event("p1", START_MS, START_MS + 2 * DAY_MS), event("p2", START_MS, START_MS)
    store.put("raw/pumps/events/2026/01/05/00/a.json.gz", gzip.compress(b"\n".join([later, now, other, old])))
    recorded = record(store, catalog.load("pumps").fleet, START_MS, START_MS + DAY_MS)

    sent = recorded.of(["p1"])

    assert [line for path, line in sent if path == "/events"] == [old, now]
    assert [path for path, _ in sent] == ["/events", "/telemetry", "/telemetry", "/events", "/telemetry"]
    assert [(path, len(batch)) for path, batch in _batches(sent)] == [
        ("/events", 1),
        ("/telemetry", 2),
        ("/events", 1),
        ("/telemetry", 1),
    ]
