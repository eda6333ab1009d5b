"""Publishing: what clients see after power cuts, races, damage and years."""

import json
import shutil
from contextlib import suppress
from itertools import count

import pytest

from serving.trust.client import TrustedClient
from serving.trust.errors import (
    ConcurrentPublishError,
    KeysError,
    NotInitialisedError,
    TrustError,
    UntrustedError,
    WrongKeysError,
)
from serving.trust.keys import create_keys
from serving.trust.publisher import LIFETIMES, Publisher
from tests.fakes.interrupted import Budget, BusyStore, InterruptedStore, PowerCut
from tests.fakes.stores import MemoryStore

DAY = 86_400_000_000
NOW = 1_790_000_000_000_000
OLD = {"releases/pump_failure.json": b'{"number":1}', "bundles/aa.tmb": b"first model"}
NEW = {"releases/pump_failure.json": b'{"number":2}', "bundles/bb.tmb": b"second model"}


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def publisher(store, keys):
    made = Publisher(store, keys)
    made.initialise(NOW)
    return made


@pytest.fixture
def look(tmp_path, keys):
    """Files that a client sees which has never been here before: path -> content."""
    numbers = count()

    def seen(store: MemoryStore, now_us: int = NOW) -> dict[str, bytes]:
        client = TrustedClient(store, tmp_path / f"client-{next(numbers)}", Publisher(store, keys).root_bytes())
        client.refresh(now_us)
        return {path: client.fetch(path) for path in client.index()}

    return seen


def test_clients_see_what_was_published(store, publisher, look):
    assert look(store) == {}
    publisher.publish(OLD, (), NOW)
    assert look(store) == OLD
    publisher.publish(NEW, ["bundles/aa.tmb", "bundles/never.tmb"], NOW)
    assert look(store) == NEW
    assert publisher.read("releases/") == {"releases/pump_failure.json": b'{"number":2}'}


def test_publishing_the_same_again_writes_nothing(store, publisher):
    publisher.publish(OLD, (), NOW)
    before = store.objects
    publisher.publish(OLD, ["bundles/never.tmb"], NOW + DAY)
    publisher.initialise(NOW + DAY)
    assert store.objects == before


def test_nothing_is_published_where_clients_would_not_look(publisher):
    for path in ("keys/root.pem", "releases/a/b.json", "releases/../x", "/releases/x", "releases/"):
        with pytest.raises(TrustError, match="no role may publish"):
            publisher.publish({path: b""}, (), NOW)


# --- power cuts -----------------------------------------------------------------------------------------------------


def initialise_and_publish(publisher: Publisher) -> None:
    publisher.initialise(NOW)
    publisher.publish(OLD, (), NOW)


def replace(publisher):
    publisher.publish(NEW, ["bundles/aa.tmb"], NOW)


def sign_anew(publisher):
    publisher.refresh_metadata(NOW + 300 * DAY)


STEPS = {
    "the first publication": (False, initialise_and_publish, NOW),
    "a replacement": (True, replace, NOW),
    "a year": (True, sign_anew, NOW + 300 * DAY),
}


@pytest.mark.parametrize(("prepared", "step", "now_us"), STEPS.values(), ids=STEPS.keys())
def test_a_power_cut_after_any_write_is_harmless_and_a_rerun_converges(keys, look, prepared, step, now_us):
    start = MemoryStore()
    if prepared:
        initialise_and_publish(Publisher(start, keys))
    undisturbed = MemoryStore(start.objects)
    step(Publisher(undisturbed, keys))
    wanted = look(undisturbed, now_us)
    for writes in count():
        store = MemoryStore(start.objects)
        try:
            step(Publisher(InterruptedStore(store, Budget(writes)), keys))
        except PowerCut:
            if prepared:
                assert look(store) in (OLD, wanted)
            step(Publisher(store, keys))
            assert look(store, now_us) == wanted
            again = store.objects
            step(Publisher(store, keys))
            assert store.objects == again
        else:
            assert writes > 3
            return


def test_a_client_that_follows_through_every_power_cut_never_has_to_refuse(keys, tmp_path):
    store = MemoryStore()
    publisher = Publisher(store, keys)
    initialise_and_publish(publisher)
    client = TrustedClient(store, tmp_path / "client", publisher.root_bytes())
    for writes in range(40):
        files = {"releases/pump_failure.json": f"{writes}".encode(), f"bundles/{writes}.tmb": b"model"}
        with suppress(PowerCut):
            Publisher(InterruptedStore(store, Budget(writes % 8)), keys).publish(
                files, [f"bundles/{writes - 1}.tmb"], NOW
            )
        client.refresh(NOW)
        assert all(client.fetch(path) for path in client.index())
    publisher.publish(NEW, (), NOW)
    client.refresh(NOW)
    assert client.fetch("bundles/bb.tmb") == b"second model"


# --- several publishers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tmb", ".releases.json", ".snapshot.json", ".timestamp.json"])
def test_of_two_publishers_one_wins_and_the_other_changes_nothing(keys, look, ending):
    store = BusyStore(ending)
    first, second = Publisher(store, keys), Publisher(store, keys)
    first.initialise(NOW)
    other = {"releases/other.json": b"{}"}
    store.meanwhile = lambda: second.publish(other, (), NOW)
    with pytest.raises(ConcurrentPublishError, match="run again"):
        first.publish(OLD, (), NOW)
    assert look(store) == other
    first.publish(OLD, (), NOW)
    assert look(store) == other | OLD


def test_a_slow_publisher_that_shows_an_old_timestamp_is_healed_by_the_next_run(store, publisher, look):
    publisher.publish(OLD, (), NOW)
    stale = store.get("updates/metadata/timestamp.json")
    publisher.publish(NEW, (), NOW)
    store.put("updates/metadata/timestamp.json", stale)
    assert "bundles/bb.tmb" not in look(store)
    assert publisher.refresh_metadata(NOW) == ()
    assert "bundles/bb.tmb" in look(store)


# --- damage and strangers -------------------------------------------------------------------------------------------


def test_a_damaged_file_is_healed_by_publishing_it_again(store, publisher, look):
    publisher.publish(OLD, (), NOW)
    key = next(key for key in store.objects if key.endswith(".aa.tmb"))
    store.put(key, b"damaged")
    publisher.publish({}, ["bundles/aa.tmb"], NOW)
    publisher.publish(OLD, (), NOW)
    assert look(store) == OLD


@pytest.mark.parametrize(
    "name", ["2.timestamp.json", "2.snapshot.json", "2.releases.json", "1.targets.json", "1.root.json"]
)
@pytest.mark.parametrize("damage", ["flipped", "cut", "gone", "other keys"])
def test_nothing_is_signed_on_top_of_what_others_wrote(store, publisher, tmp_path, name, damage):
    publisher.publish(OLD, (), NOW)
    key = f"updates/metadata/{name}"
    data = store.get(key)
    if damage == "gone":
        store.delete(key)
    elif damage == "other keys":
        create_keys(tmp_path / "other")
        stranger = MemoryStore()
        Publisher(stranger, tmp_path / "other").initialise(NOW)
        Publisher(stranger, tmp_path / "other").publish(OLD, (), NOW)
        store.put(key, stranger.get(key))
    else:
        middle = data.index(b'"expires"') + 14
        store.put(key, data[:middle] + (b"9" + data[middle + 1 :] if damage == "flipped" else b""))
    before = store.objects
    if damage == "gone" and name == "2.timestamp.json":
        publisher.publish(OLD, (), NOW)  # the state before is complete: it is published again, under higher numbers
        return
    with pytest.raises((UntrustedError, WrongKeysError, NotInitialisedError)):
        publisher.publish(NEW, (), NOW)
    assert store.objects == before


def test_the_keys_of_another_repository_are_refused(store, publisher, tmp_path):
    create_keys(tmp_path / "other")
    other = Publisher(store, tmp_path / "other")
    before = store.objects
    for attempt in (
        lambda: other.initialise(NOW),
        lambda: other.publish(OLD, (), NOW),
        lambda: other.refresh_metadata(NOW),
        other.root_bytes,
    ):
        with pytest.raises(WrongKeysError, match="not those of the repository"):
            attempt()
    assert store.objects == before


def test_an_older_timestamp_under_the_newest_name_is_refused(store, publisher):
    publisher.publish(OLD, (), NOW)
    store.put("updates/metadata/2.timestamp.json", store.get("updates/metadata/1.timestamp.json"))
    with pytest.raises(UntrustedError, match="it is timestamp 1"):
        publisher.publish(NEW, (), NOW)


def test_metadata_that_was_signed_but_never_published_is_refused(store, publisher, keys):
    publisher.publish(OLD, (), NOW)
    twin = MemoryStore()
    Publisher(twin, keys).initialise(NOW)
    Publisher(twin, keys).publish(NEW, (), NOW)
    store.put("updates/metadata/2.releases.json", twin.get("updates/metadata/2.releases.json"))
    with pytest.raises(UntrustedError, match="not signed"):
        publisher.expiries()


def test_a_folder_with_another_key_for_releases_is_refused(store, publisher, keys, tmp_path):
    mixed = tmp_path / "mixed"
    shutil.copytree(keys, mixed)
    create_keys(tmp_path / "other")
    stated, others = (json.loads((folder / "keys.json").read_bytes()) for folder in (mixed, tmp_path / "other"))
    stated["keys"]["releases"] = others["keys"]["releases"]
    (mixed / "keys.json").write_text(json.dumps(stated))
    shutil.copy(tmp_path / "other" / "releases.pem", mixed / "releases.pem")
    with pytest.raises(WrongKeysError, match="the releases keys"):
        Publisher(store, mixed).publish(OLD, (), NOW)


def test_an_empty_store_is_not_taken_for_a_new_one(store, keys):
    with pytest.raises(NotInitialisedError):
        Publisher(store, keys).publish(OLD, (), NOW)
    assert store.objects == {}


# --- years ----------------------------------------------------------------------------------------------------------

DUE = {
    "nothing is signed on the same day": (0, ()),
    "after two days the timestamp": (2, ("timestamp",)),
    "after four days the snapshot and with it the timestamp": (4, ("snapshot", "timestamp")),
    "after fifty days the releases": (50, ("releases", "snapshot", "timestamp")),
    "after two hundred days everything": (200, ("root", "targets", "releases", "snapshot", "timestamp")),
    "after two years too": (730, ("root", "targets", "releases", "snapshot", "timestamp")),
}


@pytest.mark.parametrize(("days", "expected"), DUE.values(), ids=DUE.keys())
def test_metadata_is_signed_anew_at_half_of_its_life(store, publisher, look, days, expected):
    publisher.publish(OLD, (), NOW)
    now_us = NOW + days * DAY
    assert publisher.refresh_metadata(now_us) == expected
    assert publisher.refresh_metadata(now_us) == ()
    assert look(store, now_us) == OLD
    expiries = publisher.expiries()
    assert all(expiries[role] > now_us + LIFETIMES[role].total_seconds() / 2 * 1e6 - DAY for role in LIFETIMES)


@pytest.mark.usefixtures("publisher")
def test_online_keys_are_enough_until_offline_roles_expire(store, keys, tmp_path, look, caplog):
    online = tmp_path / "online"
    shutil.copytree(keys, online)
    for name in ("root-1", "root-2", "root-3", "targets"):
        (online / f"{name}.pem").unlink()
    everyday = Publisher(store, online)
    everyday.initialise(NOW)
    everyday.publish(OLD, (), NOW)
    assert look(store) == OLD
    assert everyday.refresh_metadata(NOW + 200 * DAY) == ("releases", "snapshot", "timestamp")
    assert "root metadata expires" in caplog.text
    assert look(store, NOW + 200 * DAY) == OLD
    with pytest.raises(KeysError, match="keys are not here"):
        Publisher(MemoryStore(), online).initialise(NOW)
