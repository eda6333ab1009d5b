import gzip
import json

import pytest

from features.schema import Reason
from pipelines import quarantine
from pipelines.errors import QuarantineError
from pipelines.rejects import WHOLE, Reject
from tests.fakes.stores import MemoryStore


def reject(data: bytes = b"{}", ordinal: int = 0, reason: Reason = Reason.NO_DEVICE) -> quarantine.Rejected:
    return quarantine.rejected("raw/fans/telemetry/a", Reject(0, ordinal, 7, data, reason, "No."), "e1")


def test_what_is_written_is_read_back():
    store = MemoryStore()
    lines = [reject(b"\xff\x00"), reject(b"whole", WHOLE)]
    quarantine.write(store, "fans", "00000001", lines)
    assert list(quarantine.read(store, "fans", "00000001")) == lines
    (batch,) = quarantine.batches(store, "fans")
    assert (batch.name, batch.reasons, batch.count, batch.unfinished) == ("00000001", {"no_device": 2}, 2, False)


def test_the_same_rejects_give_the_same_bytes_and_replace_what_a_killed_run_left():
    store, again = MemoryStore(), MemoryStore()
    quarantine.write(store, "fans", "1", [reject(ordinal=number) for number in range(11_000)])
    assert len(store.objects) == 3
    quarantine.write(store, "fans", "1", [reject()])
    quarantine.write(again, "fans", "1", [reject()])
    assert store.objects == again.objects
    assert len(store.objects) == 1
    quarantine.write(store, "fans", "1", [])
    assert not store.objects


def test_a_huge_object_is_named_but_not_copied():
    data = b" " * (16 * 1024 * 1024 + 1)
    assert reject(data, WHOLE).data == b""
    assert reject(data[:-1], WHOLE).data == data[:-1]


def test_a_batch_that_does_not_exist_is_an_error_that_says_where_to_look():
    with pytest.raises(QuarantineError, match="nothing is quarantined as batch 7"):
        list(quarantine.read(MemoryStore(), "fans", "7"))


def test_a_damaged_batch_is_an_error_that_names_the_object():
    store = MemoryStore({"quarantine/fans/1/0000.jsonl.gz": b"junk"})
    with pytest.raises(QuarantineError, match=r"0000\.jsonl\.gz"):
        list(quarantine.read(store, "fans", "1"))


class CountingStore(MemoryStore):
    """Counts what is read."""

    reads = 0

    def get(self, key: str) -> bytes:
        self.reads += 1
        return super().get(key)


def test_batches_are_counted_without_reading_them():
    store = CountingStore()
    for number in range(30):
        kept = [reject(ordinal=n, reason=reason) for n, reason in enumerate([*Reason, Reason.NO_TIME])]
        quarantine.write(store, "fans", f"{number:08d}", kept)
    found = quarantine.batches(store, "fans")
    assert len(found) == 30
    assert found[7].reasons == {reason.value: 1 + (reason is Reason.NO_TIME) for reason in Reason}
    assert store.reads == 0
    assert max(len(key.rpartition("/")[2]) for key in store.objects) < 255


@pytest.mark.parametrize("name", ["0000.jsonl.gz", "0000.999x1.jsonl.gz", "0000.x.jsonl.gz"])
def test_objects_whose_names_say_nothing_are_read(name):
    line = {
        "key": "raw/fans/telemetry/a",
        "ordinal": 0,
        "offset": 7,
        "bytes": "e30=",
        "reason": "no_time",
        "sentence": "",
    }
    store = MemoryStore({f"quarantine/fans/1/{name}": gzip.compress(json.dumps(line).encode())})
    assert [(batch.name, batch.reasons) for batch in quarantine.batches(store, "fans")] == [("1", {"no_time": 1})]
    (found,) = quarantine.read(store, "fans", "1")
    assert (found.data, found.etag) == (b"{}", "")


def test_lines_that_a_killed_writer_left_twice_are_read_once():
    store, both = MemoryStore(), MemoryStore()
    for lines in ([reject(), reject(ordinal=1, reason=Reason.NO_TIME)], [reject()]):
        quarantine.write(store, "fans", "1", lines)
        for key, data in store.objects.items():
            both.put(key, data)
    assert len(both.objects) == 2
    assert sorted(line.ordinal for line in quarantine.read(both, "fans", "1")) == [0, 1]


def test_purging_a_reason_leaves_the_others():
    store = MemoryStore()
    quarantine.write(store, "fans", "1", [reject(), reject(ordinal=1, reason=Reason.NO_TIME), reject(ordinal=2)])
    assert quarantine.purge(store, "fans", "1", "no_device") == {"no_device": 2}
    assert [line.ordinal for line in quarantine.read(store, "fans", "1")] == [1]
    assert quarantine.purge(store, "fans", "1") == {"no_time": 1}
    assert not store.objects
