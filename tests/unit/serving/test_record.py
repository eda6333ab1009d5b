import dataclasses
import errno
import gzip
import math
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import DiskFullError, InvalidKeyError, RecordError, SpoolBusyError, StoreUnreachableError
from serving.record import Prediction, Spool, decode, encode, prediction_id
from serving.store import FolderStore
from tests.fakes.stores import MemoryStore

NOON = 1_795_348_800_000_000  # 2026-11-22T12:00:00Z
DAY = 86_400_000_000


def prediction(device: str = "pump-1", at_us: int = NOON, **changes: object) -> Prediction:
    made = Prediction(
        id=prediction_id("pump_failure", "gateway", "gw-1", device, at_us, "sha256:00"),
        usecase="pump_failure",
        placement="gateway",
        instance="gw-1",
        device=device,
        window_end_us=at_us,
        predicted_at_us=at_us,
        version="3",
        bundle="sha256:00",
        feature_digest="sha256:11",
        score=0.25,
        alert=False,
        features=(1.0, math.nan, -2.5),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]  # fields by name


def same(left: list[Prediction], right: list[Prediction]) -> bool:
    """Equality that takes NaN for NaN."""
    return encode(left) == encode(right)


def forwarded(store: MemoryStore | FolderStore) -> list[Prediction]:
    return [made for entry in store.list("predictions/") for made in decode(store.get(entry.key))]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


# --- records -------------------------------------------------------------------------------------------------------


@given(
    device=st.text(max_size=20),
    score=st.floats(0, 1),
    at_us=st.integers(-(2**40), 2**55),
    features=st.lists(st.floats(allow_infinity=False)),
)
def test_what_was_encoded_is_decoded(device, score, at_us, features):
    made = prediction(device, at_us, score=score, features=tuple(features))
    (read,) = decode(encode([made]))
    assert dataclasses.replace(read, features=()) == dataclasses.replace(made, features=())
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(read.features, features, strict=True))
    assert same(decode(gzip.compress(encode([made, made]))), [made, made])


def test_a_missing_feature_is_null():
    assert b'"features":[1.0,null,-2.5]' in encode([prediction()])


def test_whole_numbers_of_other_writers_are_numbers():
    line = encode([prediction()]).replace(b'"score":0.25', b'"score":1').replace(b"[1.0,", b"[1,")
    (read,) = decode(line)
    assert (read.score, type(read.score), read.features[0]) == (1.0, float, 1.0)


@pytest.mark.parametrize(
    "changes", [{"score": math.nan}, {"score": math.inf}, {"features": (math.inf,)}], ids=["nan", "inf", "feature"]
)
def test_a_prediction_that_is_none_is_not_written(changes):
    with pytest.raises(RecordError, match="device pump-1"):
        encode([prediction(**changes)])


GOOD_LINE = encode([prediction()])


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b"1",
        b"nonsense",
        b"\xff",
        b"[" * 100_000,
        GOOD_LINE[:-9],
        GOOD_LINE.replace(b"false", b'"no"'),
        GOOD_LINE.replace(b'"version":"3"', b'"version":3'),
        GOOD_LINE.replace(b'"version":"3"', b'"version":"3","more":1'),
        GOOD_LINE.replace(str(NOON).encode(), b"1.5"),
        GOOD_LINE.replace(str(NOON).encode(), b"9" * 30),
        GOOD_LINE.replace(b"null", b'"1.5"'),
        GOOD_LINE.replace(b"null", b"1e999"),
        GOOD_LINE.replace(b"0.25", b"NaN"),
        GOOD_LINE.replace(b"0.25", b"true"),
        GOOD_LINE.replace(b'"gateway"', b'"moon"'),
    ],
)
def test_a_line_that_is_no_prediction_is_named(line):
    with pytest.raises(RecordError, match=r"\(line 2\)"):
        decode(GOOD_LINE + line + b"\n")


@pytest.mark.parametrize("data", [gzip.compress(GOOD_LINE, mtime=0)[:-9], b"\x1f\x8b\x08nonsense"])
def test_a_damaged_archive_is_a_record_error(data):
    with pytest.raises(RecordError, match="cannot be unpacked"):
        decode(data)


def test_the_id_depends_on_every_part_of_the_question():
    question = ("pump_failure", "gateway", "gw-1", "pump-1", 5, "sha256:00")
    ids = {prediction_id(*question)}
    for place in range(6):
        changed = [*question]
        changed[place] = 6 if place == 4 else "other"
        ids.add(prediction_id(*changed))  # type: ignore[arg-type]  # the one number stays a number
    # Parts cannot be shifted into each other either.
    ids.add(prediction_id("pump_failuregateway", "", "gw-1", "pump-1", 5, "sha256:00"))
    assert len(ids) == 8
    assert prediction_id(*question) in ids


# --- spool ---------------------------------------------------------------------------------------------------------


def test_predictions_arrive_once_and_in_order_under_their_key(tmp_path, store):
    spool = Spool(tmp_path / "spool", store)
    made = [prediction(f"pump-{number}") for number in range(5)]
    spool.append(made[:2])
    spool.append([])
    spool.append(iter(made[2:]))
    assert spool.pending == 5
    assert spool.forward() == 5
    assert (spool.pending, spool.last_error) == (0, "")
    assert same(forwarded(store), made)
    (key,) = store.objects
    assert re.fullmatch(
        r"predictions/pump_failure/gateway/gw-1/2026-11-22/20261122T120000Z-[0-9a-f]{16}\.jsonl\.gz", key
    )
    assert spool.forward() == 0
    assert store.writes == [key]


def test_each_usecase_instance_and_day_gets_its_own_object(tmp_path, store):
    spool = Spool(tmp_path, store, "log/")
    spool.append(
        [
            prediction(),
            prediction(at_us=NOON + DAY),
            prediction(usecase="other"),
            prediction(placement="cloud"),
            prediction(instance="gw-2"),
            prediction("pump-2"),
        ]
    )
    assert spool.forward() == 6
    assert sorted(key.rpartition("/")[0] for key in store.objects) == [
        "log/other/gateway/gw-1/2026-11-22",
        "log/pump_failure/cloud/gw-1/2026-11-22",
        "log/pump_failure/gateway/gw-1/2026-11-22",
        "log/pump_failure/gateway/gw-1/2026-11-23",
        "log/pump_failure/gateway/gw-2/2026-11-22",
    ]


def test_while_the_store_is_down_everything_is_kept_and_nothing_raised(tmp_path, store):
    spool = Spool(tmp_path, store)
    store.reachable = False
    spool.append([prediction("pump-1")])
    assert spool.forward() == 0
    assert "does not answer" in spool.last_error
    spool.append([prediction("pump-2")])
    assert spool.forward() == 0
    assert spool.pending == 2
    store.reachable = True
    assert spool.forward() == 2
    assert (spool.last_error, spool.pending) == ("", 0)
    assert sorted(made.device for made in forwarded(store)) == ["pump-1", "pump-2"]


def test_what_was_appended_outlives_the_process(tmp_path, store):
    first = Spool(tmp_path, store)
    first.append([prediction("pump-1")])
    first.close()
    second = Spool(tmp_path, store)
    assert second.pending == 1
    second.append([prediction("pump-2")])
    assert second.forward() == 2
    assert {made.device for made in forwarded(store)} == {"pump-1", "pump-2"}


class _KilledAfterPut(MemoryStore):
    """The process dies when the store has the object and the spool does not know it yet."""

    class Killed(BaseException):
        pass

    armed = True

    def put(self, key: str, data: bytes) -> None:
        super().put(key, data)
        if self.armed:
            raise self.Killed


def test_a_kill_between_write_and_deletion_leads_to_the_same_object_not_a_second(tmp_path):
    store = _KilledAfterPut()
    spool = Spool(tmp_path, store)
    spool.append([prediction("pump-1"), prediction("pump-2")])
    with pytest.raises(store.Killed):
        spool.forward()
    spool.close()
    written = dict(store.objects)
    assert len(written) == 1
    store.armed = False
    again = Spool(tmp_path, store)
    # New predictions do not mix with what may already be in the store.
    again.append([prediction("pump-3")])
    assert again.forward() == 3
    assert written.items() <= store.objects.items()
    assert sorted(made.device for made in forwarded(store)) == ["pump-1", "pump-2", "pump-3"]


def test_a_process_killed_at_any_moment_loses_and_repeats_nothing(tmp_path):
    """A real process appends and forwards and is killed; what it said it kept arrives exactly once."""
    root = tmp_path / "store"
    root.mkdir()
    program = (
        "import dataclasses, sys\nfrom pathlib import Path\n"
        "from serving.record import Spool, decode\nfrom serving.store import FolderStore\n"
        "spool = Spool(Path(sys.argv[1]), FolderStore(Path(sys.argv[2])), segment_bytes=700)\n"
        "made = decode(sys.stdin.buffer.read())[0]\n"
        "for number in range(int(sys.argv[3]), 10**9):\n"
        "    spool.append([dataclasses.replace(made, id=str(number))])\n"
        "    print(number, flush=True)\n"
        "    if number % 3 == 0:\n        spool.forward()\n"
    )
    promised: set[str] = set()
    begin = 0
    for lines in (1, 4, 9):
        run = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "spool"), str(root), str(begin)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert run.stdin is not None
        assert run.stdout is not None
        run.stdin.write(GOOD_LINE)
        run.stdin.close()
        said = [run.stdout.readline() for _ in range(lines)]
        run.send_signal(signal.SIGKILL)
        said += run.stdout.readlines()
        run.stdout.close()
        run.wait()
        promised |= {line.decode().strip() for line in said if line.endswith(b"\n")}
        begin += 1000
    spool = Spool(tmp_path / "spool", FolderStore(root))
    spool.forward()
    arrived = [made.id for made in forwarded(FolderStore(root))]
    assert len(arrived) == len(set(arrived))
    # Beyond what was promised there may be the one prediction that was kept but not yet said.
    assert promised <= set(arrived)
    assert len(set(arrived) - promised) <= 3


def test_a_line_torn_off_by_a_power_cut_is_left_out(tmp_path, store):
    spool = Spool(tmp_path, store)
    spool.append([prediction("pump-1")])
    spool.close()
    (segment,) = tmp_path.glob("*.jsonl")
    with segment.open("ab") as file:
        file.write(GOOD_LINE[:50])
    (tmp_path / "000000000009.jsonl").write_bytes(GOOD_LINE[:50])
    again = Spool(tmp_path, store)
    assert again.pending == 1
    again.forward()
    assert [made.device for made in forwarded(store)] == ["pump-1"]
    assert again.damaged == 0
    assert list(tmp_path.glob("*.jsonl")) == []


def test_a_line_that_the_disk_damaged_does_not_hold_up_the_others(tmp_path, store):
    spool = Spool(tmp_path, store)
    spool.append([prediction("pump-1"), prediction("pump-2")])
    spool.close()
    (segment,) = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"pump-1"', b"\0\0\0\0\0\0\0\0"))
    again = Spool(tmp_path, store)
    assert again.forward() == 1
    assert (again.damaged, again.pending) == (1, 0)


def test_the_disk_it_takes_is_bounded_and_the_loss_is_counted(tmp_path, store):
    store.reachable = False
    size = len(GOOD_LINE)
    spool = Spool(tmp_path, store, segment_bytes=2 * size, limit_bytes=6 * size)
    for number in range(20):
        spool.append([prediction(f"pump-{number % 10}", instance=f"{number:04d}"[-4:])])
    assert sum(path.stat().st_size for path in tmp_path.glob("*.jsonl")) <= 6 * size
    assert spool.dropped > 0
    assert spool.pending + spool.dropped == 20
    store.reachable = True
    assert spool.forward() == 20 - spool.dropped
    # The newest are the ones that were kept.
    assert sorted(made.instance for made in forwarded(store)) == [f"{n:04d}" for n in range(spool.dropped, 20)]


def test_a_segment_on_its_way_is_not_dropped(tmp_path):
    class Slow(MemoryStore):
        """While the first segment is on its way, more arrives than the spool may hold."""

        arriving = True

        def put(self, key: str, data: bytes) -> None:
            if self.arriving:
                self.arriving = False
                for number in range(1, 5):
                    spool.append([prediction(f"pump-{number}")])
            super().put(key, data)

    store = Slow()
    spool = Spool(tmp_path, store, segment_bytes=1, limit_bytes=3 * len(GOOD_LINE))
    spool.append([prediction("pump-0")])
    assert spool.forward() == 3
    assert sorted(made.device for made in forwarded(store)) == ["pump-0", "pump-3", "pump-4"]
    assert (spool.dropped, spool.pending) == (2, 0)


def test_an_object_does_not_tell_when_it_was_compressed(tmp_path, store):
    spool = Spool(tmp_path, store)
    spool.append([prediction()])
    spool.forward()
    (data,) = store.objects.values()
    assert data[4:8] == bytes(4)


def test_a_full_disk_keeps_none_of_the_batch_and_the_spool_usable(tmp_path, store, monkeypatch):
    spool = Spool(tmp_path, store)
    spool.append([prediction("pump-1")])

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        spool.append([prediction("pump-2"), prediction("pump-3")])
    monkeypatch.undo()
    assert spool.pending == 1
    spool.append([prediction("pump-4")])
    spool.forward()
    assert [made.device for made in forwarded(store)] == ["pump-1", "pump-4"]


def test_an_append_is_synced(tmp_path, store, monkeypatch):
    synced: list[str] = []
    real = os.fsync

    def spy(handle: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        real(handle)

    monkeypatch.setattr(os, "fsync", spy)
    Spool(tmp_path, store).append([prediction()])
    assert synced == [str(tmp_path / "000000000001.jsonl"), str(tmp_path)]


def test_a_folder_belongs_to_one_spool(tmp_path, store):
    spool = Spool(tmp_path, store)
    with pytest.raises(SpoolBusyError):
        Spool(tmp_path, store)
    spool.close()
    Spool(tmp_path, store).close()


def test_a_name_that_cannot_be_a_key_is_refused_at_once_not_at_each_forward(tmp_path, store):
    spool = Spool(tmp_path, store)
    with pytest.raises(InvalidKeyError):
        spool.append([prediction(), prediction(instance="../gw")])
    assert spool.pending == 0


def test_predictions_made_while_forwarding_are_neither_lost_nor_repeated(tmp_path, store):
    spool = Spool(tmp_path, store, segment_bytes=len(GOOD_LINE))
    done = threading.Event()

    def produce(name: str) -> None:
        for number in range(50):
            spool.append([prediction(f"{name}-{number}")])

    def forward() -> None:
        while not done.is_set():
            spool.forward()

    producers = [threading.Thread(target=produce, args=(name,)) for name in "abc"]
    forwarders = [threading.Thread(target=forward) for _ in range(2)]
    for thread in producers + forwarders:
        thread.start()
    for thread in producers:
        thread.join()
    done.set()
    for thread in forwarders:
        thread.join()
    spool.forward()
    assert sorted(made.device for made in forwarded(store)) == sorted(f"{n}-{i}" for n in "abc" for i in range(50))
    assert spool.pending == 0


def test_an_unreachable_store_is_not_asked_for_every_segment(tmp_path):
    class Counting(MemoryStore):
        asked = 0

        def put(self, key: str, data: bytes) -> None:
            self.asked += 1
            raise StoreUnreachableError("no answer")

    store = Counting()
    spool = Spool(tmp_path, store, segment_bytes=1)
    for number in range(4):
        spool.append([prediction(f"pump-{number}")])
    spool.forward()
    assert store.asked == 1


def test_folders_are_made_where_missing(tmp_path, store):
    Spool(tmp_path / "a" / "b", store).append([prediction()])
    assert [path.name for path in (tmp_path / "a" / "b").glob("*.jsonl")] == ["000000000001.jsonl"]
