from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.listing import Listing, everything, note
from serving.store import Level, Store
from tests.fakes.stores import MemoryStore

ROOT = "raw/fans/telemetry/"
NOW_US = int(datetime(2025, 11, 24, 14, tzinfo=UTC).timestamp()) * 1_000_000


class RemoteStore(MemoryStore):
    """A store behind an address, which counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    @property
    def endpoint(self) -> str:
        return "http://plant.example"

    def list(self, prefix: str, after: str = ""):
        self.asked.append(f"{prefix} {after}".strip())
        return super().list(prefix, after)

    def level(self, prefix: str) -> Level:
        self.asked.append(f"{prefix} level")
        return MemoryStore(self.objects).level(prefix)


def look(store: Store, prefix: str = ROOT, now_us: int = NOW_US, **options) -> set[str]:
    listing = Listing(store, prefix, now_us, **options)
    keys = [entry.key for entry in listing.entries()]
    assert keys == sorted(keys)
    listing.done()
    return {key.removeprefix(prefix) for key in keys}


SEGMENTS = st.text("a-./0", min_size=1, max_size=2).map(lambda text: text.replace("/", "").strip(".")).filter(bool)
KEYS = st.lists(SEGMENTS, min_size=1, max_size=7).map("/".join)


@given(keys=st.sets(KEYS, max_size=30))
def test_a_remote_store_is_listed_in_parts_to_the_same_sorted_whole(keys):
    store = RemoteStore()
    for key in keys:
        store.put(ROOT + key, b"x")
    store.put("raw/fans/events/a", b"x")
    assert [entry.key for entry in everything(store, ROOT)] == sorted(ROOT + key for key in keys)


def test_the_parts_are_as_many_as_keep_the_threads_at_work_and_no_more():
    store = RemoteStore()
    for day in range(1, 29):
        for hour in range(24):
            for month in (10, 11):
                store.put(f"{ROOT}2025/{month}/{day:02d}/{hour:02d}/hub.json", b"x")
    assert len(list(everything(store, ROOT))) == 28 * 24 * 2
    assert len(store.asked) == 1 + 1 + 2 + 56


@pytest.mark.parametrize("form", ["{:%Y/%m/%d/%H}", "dt={:%Y-%m-%d/hour=%H}", "year={:%Y/month=%m/day=%d/hour=%H}"])
@pytest.mark.parametrize("site", ["", "site-1/line-2/"])
def test_after_a_full_listing_only_the_end_of_a_timeline_is_listed(form, site):
    store = RemoteStore()
    hours = [datetime(2025, 11, 24, 13, tzinfo=UTC) - timedelta(hours=number) for number in range(40)]
    keys = [f"{site}{form.format(hour)}/a.json" for hour in hours]
    for key in keys:
        store.put(ROOT + key, b"x")
    assert look(store) == set(keys)
    store.put(f"{ROOT}{site}{form.format(hours[0])}/b.json", b"x")
    late = f"{site}{form.format(hours[5])}/late.json"
    store.put(ROOT + late, b"x")
    found = look(store, overlap=timedelta(hours=6))
    assert {late, f"{site}{form.format(hours[0])}/b.json"} < found
    assert found == set(keys[:7]) | {late, f"{site}{form.format(hours[0])}/b.json"}


def test_what_came_under_an_old_date_is_found_by_the_next_full_listing():
    store = RemoteStore()
    store.put(f"{ROOT}2025/11/24/13/a", b"x")
    assert look(store, full_every=3) == {"2025/11/24/13/a"}
    store.put(f"{ROOT}2015/03/01/00/import", b"x")
    assert look(store, full_every=3) == {"2025/11/24/13/a"}
    assert look(store, full_every=3) == {"2025/11/24/13/a"}
    assert look(store, full_every=3) == {"2025/11/24/13/a", "2015/03/01/00/import"}
    assert look(store, full_every=3) == {"2025/11/24/13/a"}


def test_a_new_place_and_names_without_a_date_are_always_listed():
    store = RemoteStore()
    for key in ("site-1/2025/11/24/13/a", "flat.json", "loose/x"):
        store.put(ROOT + key, b"x")
    look(store)
    for key in ("site-2/2020/01/01/00/a", "another.json", "loose/y"):
        store.put(ROOT + key, b"x")
    assert {"site-2/2020/01/01/00/a", "another.json", "flat.json", "loose/y"} < look(store)


def test_a_hub_whose_clock_is_ahead_hides_nobody():
    store = RemoteStore()
    store.put(f"{ROOT}2035/01/01/00/from-the-future", b"x")
    look(store)
    store.put(f"{ROOT}2025/11/24/13/a", b"x")
    assert "2025/11/24/13/a" in look(store)


@pytest.mark.parametrize("state", [b"", b"[]", b"{", b'{"reached": 1, "runs": 0}', b'{"reached": {"a": "b"}}'])
def test_what_was_remembered_and_cannot_be_read_costs_a_full_listing(state):
    store = RemoteStore()
    store.put(f"{ROOT}2025/11/24/13/a", b"x")
    store.put("ledger/listing/fans/telemetry.json", state)
    assert Listing(store, ROOT, NOW_US).full
    assert look(store) == {"2025/11/24/13/a"}
    assert not Listing(store, ROOT, NOW_US).full


def test_a_run_that_did_not_end_is_not_remembered():
    store = RemoteStore()
    store.put(f"{ROOT}2025/11/24/13/a", b"x")
    list(Listing(store, ROOT, NOW_US).entries())
    assert Listing(store, ROOT, NOW_US).full


@pytest.mark.parametrize("name", ["2025/13/45", "9999/99", "2025/00/00/00", "0000/01/01"])
def test_what_looks_like_a_date_and_is_none_is_listed_whole(name):
    store = RemoteStore()
    store.put(f"{ROOT}{name}/a", b"x")
    look(store)
    store.put(f"{ROOT}{name}/b", b"x")
    assert look(store) == {f"{name}/a", f"{name}/b"}


def served(*keys: str) -> RemoteStore:
    """A store that was listed as a whole when it held these objects."""
    store = RemoteStore()
    for key in keys:
        store.put(ROOT + key, b"x")
    look(store)
    return store


def test_objects_that_are_named_are_looked_at_wherever_they_lie():
    store = served("2025/11/24/13/a")
    for key in ("2015/03/01/00/late", "2015/03/01/00/late-too", "2015/03/01/00/unnamed"):
        store.put(ROOT + key, b"x")
    names = {f"{ROOT}2015/03/01/00/late", f"{ROOT}2015/03/01/00/gone", f"{ROOT}2025/11/24/13/a", "raw/others/a"}
    keys = [entry.key.removeprefix(ROOT) for entry in Listing(store, ROOT, NOW_US).entries(also=names)]
    assert sorted(set(keys)) == ["2015/03/01/00/late", "2025/11/24/13/a"]
    assert keys == sorted(keys)


def test_a_note_is_followed_until_its_object_was_seen_by_a_run_that_ended():
    store = served("2025/11/24/13/a")
    replayed = "2015/03/01/00/replay"
    note(store, ROOT + replayed)
    assert replayed not in look(store)  # the note comes before the object
    store.put(ROOT + replayed, b"x")
    assert replayed in {entry.key.removeprefix(ROOT) for entry in Listing(store, ROOT, NOW_US).entries()}
    assert replayed in look(store)  # the run before did not end
    assert replayed not in look(store)
    assert list(store.list("ledger/listing/fans/telemetry/")) == []


def test_a_full_listing_takes_up_notes_too():
    store = RemoteStore()
    note(store, f"{ROOT}2015/03/01/00/replay")
    store.put(f"{ROOT}2015/03/01/00/replay", b"x")
    assert look(store) == {"2015/03/01/00/replay"}
    assert list(store.list("ledger/listing/fans/telemetry/")) == []


@pytest.mark.parametrize("newest", ["2025/11/21/13", "dt=2025-11-21", "year=2025/month=09"])
def test_what_no_clock_writes_to_is_listed_as_a_whole(newest):
    store = served(f"{newest}/a")
    store.put(f"{ROOT}2015/03/01/00/backfill", b"x")
    store.put(f"{ROOT}year=2015/month=01/backfill", b"x")
    assert look(store) >= {f"{newest}/a", "2015/03/01/00/backfill"}


def test_a_folder_for_each_month_is_live_for_the_month():
    store = served("year=2025/month=11/a", "year=2025/month=09/a")
    assert look(store) == {"year=2025/month=11/a"}


def test_a_note_that_another_run_has_just_followed_stops_nobody():
    class Rival(RemoteStore):
        def get(self, key: str) -> bytes:
            if key.endswith(".txt"):
                self.delete(key)
            return super().get(key)

    store = Rival()
    store.put(f"{ROOT}2025/11/24/13/a", b"x")
    note(store, f"{ROOT}2025/11/24/13/a")
    assert look(store) == {"2025/11/24/13/a"}
