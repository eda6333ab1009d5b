import gzip
import json
from typing import Any

import pytest

from pipelines.importers.hub import RawWriter, json_lines
from tests.fakes.stores import MemoryStore

ARRIVED_US = 1_764_000_000_999_999  # 2025-11-24T16:00:00.999999Z


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_the_prefix_is_the_hour_of_arrival_in_utc(store):
    key = RawWriter(store, "pumps").write_telemetry("hub-1", ARRIVED_US, [])
    assert key == "raw/pumps/telemetry/2025/11/24/16/hub-1.json.gz"
    assert list(store.objects) == [key]


def test_events_lie_beside_telemetry(store):
    assert RawWriter(store, "pumps").write_events("1", ARRIVED_US, []).startswith("raw/pumps/events/2025/11/24/16/")


def test_messages_are_json_lines_and_ready_made_lines_are_kept(store):
    messages: list[dict[str, Any]] = [{"device": "ü", "ts": 1}, {"device": "b", "values": {"flow": None}}]
    writer = RawWriter(store, "pumps")
    made, given = writer.write_telemetry("a", ARRIVED_US, messages), writer.write_telemetry("b", 0, b"{}\n{}")
    assert [json.loads(line) for line in gzip.decompress(store.get(made)).splitlines()] == messages
    assert gzip.decompress(store.get(given)) == b"{}\n{}"


def test_the_same_messages_give_the_same_bytes(store):
    writer = RawWriter(store, "pumps")
    first, second = (writer.write_telemetry(name, ARRIVED_US, [{"ts": 1}]) for name in ("a", "b"))
    assert store.get(first) == store.get(second)
    assert store.get(first)[4:8] == bytes(4)  # no time stamp


def test_no_messages_are_no_lines():
    assert json_lines([]) == b""
