from collections.abc import Mapping

import pytest

from pipelines.ledger import Ledger
from pipelines.past import EVER, Intent, Outcome, Past, Place, Source, Span
from tests.fakes.stores import MemoryStore

PREFIX = "ledger/objects/fans"


def intent(seq: int, *names: str, etag: str = "1") -> Intent:
    return Intent(seq, tuple(Source(name, etag, 5, seq) for name in names), 7)


class Book:
    """A ledger whose intents are all carried out."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.ledger = Ledger(self.store, PREFIX, keep_places=True)
        self.past = Past(keep_places=True)

    def carry_out(
        self, planned: Intent, grown: tuple[int, ...] = (), hidden: Mapping[Place, Span] | None = None
    ) -> None:
        assert self.ledger.plan(planned)
        self.ledger.note_grown(planned.seq, grown)
        self.past.add(planned, grown, hidden or {})
        self.ledger.finish(planned.seq, Outcome({"records": 1}, hidden or {}), self.past)


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    monkeypatch.setattr("pipelines.ledger._SUM_UP_EVERY", 3)
    return Book()


@pytest.mark.parametrize("batches", range(1, 8))
def test_what_is_read_back_is_what_was_written(book, batches):
    for seq in range(1, batches + 1):
        hidden = {(seq, 1): (seq, seq + 5), (max(seq - 1, 1), 0): (-seq, 0)}
        book.carry_out(intent(seq, f"a{seq}", "again", etag=str(seq)), hidden=hidden)
    found = book.ledger.read(batches)
    assert found.objects == book.past.objects
    assert (found.left, found.undone) == ([], False)
    assert found.places("again") == tuple((seq, 1) for seq in range(1, batches + 1))


def test_a_number_is_planned_once(book):
    assert book.ledger.plan(intent(1, "a"))
    assert not book.ledger.plan(intent(1, "b"))
    assert book.ledger.intent(1).objects[0].key == "a"


def test_an_object_that_grew_while_it_was_read_is_new_again_whoever_else_read_it(book):
    book.ledger.note_grown(1, [0])
    book.carry_out(intent(1, "a", "b", "c"), grown=(1,))
    found = book.ledger.read(1)
    assert [found.is_new(name, "1") for name in "abcd"] == [True, True, False, True]


def test_an_object_that_was_written_again_as_it_once_was_is_new(book):
    for seq, etag in enumerate("121", start=1):
        assert book.past.is_new("a", etag)
        book.carry_out(intent(seq, "a", etag=etag))
    assert not book.ledger.read(3).is_new("a", "1")


def test_what_is_planned_and_not_in_the_table_is_left_to_do(book):
    book.carry_out(intent(1, "a"))
    book.ledger.plan(intent(2, "b"))
    found = book.ledger.read(1)
    assert (found.left, found.is_new("b", "1")) == ([2], True)


def test_where_an_outcome_is_lost_all_readings_may_be_hidden(book):
    book.carry_out(intent(1, "a"))
    book.store.delete(f"{PREFIX}/00000001.done.json")
    found = book.ledger.read(1)
    assert found.undone
    assert found.objects["a"].hidden == EVER
    book.ledger.finish_late(1, {"records": 1})
    assert not book.ledger.read(1).undone


def test_a_damaged_summary_costs_time_and_nothing_else(book):
    for seq in range(1, 5):
        book.carry_out(intent(seq, f"a{seq}"))
    book.store.put(f"{PREFIX}/00000003.known.json.gz", b"[]")
    assert book.ledger.read(4).objects == book.past.objects


def test_summaries_of_many_objects_are_written_seldom_and_read_all_the_same(book, monkeypatch):
    monkeypatch.setattr("pipelines.ledger._SELDOM", 2)
    monkeypatch.setattr("pipelines.ledger._MANY_OBJECTS", 5)
    for seq in range(1, 11):
        book.carry_out(intent(seq, f"a{seq}"))
        assert book.ledger.read(seq).objects == book.past.objects
    summaries = [entry.key for entry in book.store.list(PREFIX) if "known" in entry.key]
    assert summaries == [f"{PREFIX}/{seq:08d}.known.json.gz" for seq in (3, 6)]


def test_intents_of_an_older_program_have_no_time_of_writing(book):
    old = b'{"seq": 1, "objects": [{"key": "a", "etag": "1", "size": 5}], "planned_at_us": 7}'
    book.store.put(f"{PREFIX}/00000001.json", old)
    book.store.put(f"{PREFIX}/00000001.done.json", b'{"seq": 1, "accepted": 3}')
    assert book.ledger.intent(1).objects == (Source("a", "1", 5, 0),)
    assert book.ledger.read(1).objects["a"].hidden == EVER
