import io

import pytest

from serving.cloud.meter import Meter
from serving.cloud.recorder import Recorder
from serving.errors import DiskFullError
from serving.journal import Journal
from serving.prediction import Prediction, decode
from serving.record import Spool
from tests.fakes.stores import MemoryStore

ONE = Prediction("id", "fan_failure", "cloud", "c", "fan", 1, 1, "1", "sha256:0", "sha256:1", 0.5, True, (1.0,))


@pytest.fixture
def parts(tmp_path):
    store, lines = MemoryStore(), io.StringIO()
    spool = Spool(tmp_path, store)
    yield store, spool, lines, Recorder(spool, Meter(), Journal(lines), capacity=3, forward_every_s=0.01)
    spool.close()


def logged(store: MemoryStore) -> list[Prediction]:
    return [row for data in store.objects.values() for row in decode(data)]


def test_a_stop_writes_and_forwards_what_waits(parts):
    store, _, _, recorder = parts
    recorder.start()
    recorder.record([ONE])
    recorder.stop()
    assert logged(store) == [ONE]


def test_it_forwards_while_it_runs(parts):
    store, _, _, recorder = parts
    recorder.start()
    recorder.record([ONE])
    while not logged(store):
        pass
    recorder.stop()


def test_there_is_room_for_so_many_and_no_more(parts):
    *_, recorder = parts
    assert recorder.has_room(3)
    recorder.record([ONE])
    assert recorder.has_room(2)
    assert not recorder.has_room(3)


def test_what_the_disk_refuses_waits_for_the_next_try(parts, monkeypatch):
    store, spool, lines, recorder = parts
    append = spool.append

    def full(predictions):
        raise DiskFullError("no space left for predictions")

    monkeypatch.setattr(spool, "append", full)
    recorder.record([ONE])
    recorder._write()
    assert recorder.waiting == 1
    assert "state=failing" in lines.getvalue()
    monkeypatch.setattr(spool, "append", append)
    recorder._write()
    recorder._forward()
    assert (recorder.waiting, logged(store)) == (0, [ONE])


def test_a_store_that_is_away_is_said_once_and_nothing_is_lost(parts):
    store, spool, lines, recorder = parts
    store.reachable = False
    recorder.record([ONE])
    recorder._write()
    recorder._forward()
    recorder._forward()
    assert lines.getvalue().count("event=forward state=waiting") == 1
    store.reachable = True
    recorder._forward()
    assert logged(store) == [ONE]
    assert spool.pending == 0
