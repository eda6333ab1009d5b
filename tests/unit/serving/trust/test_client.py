"""The client of updates against attacks, accidents and the lapse of time, over a real repository."""

import fcntl
import http.server
import json
import os
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined]  # re-exported without __all__
from tuf.api.metadata import Metadata, Root, Timestamp  # type: ignore[attr-defined]  # re-exported without __all__

import serving.trust.publisher
from features.errors import TidemillError
from serving.errors import DiskFullError, MissingObjectError, StoreDeniedError
from serving.store import FolderStore, open_store
from serving.trust.client import TrustedClient
from serving.trust.errors import (
    DevelopmentRootError,
    ExpiredMetadataError,
    TrustError,
    UnreachableError,
    UntrustedError,
    UpdateBusyError,
)
from serving.trust.keys import KeyRing, create_keys
from serving.trust.layout import moment
from serving.trust.publisher import Publisher
from tests.fakes.interrupted import PowerCut
from tests.fakes.stores import MemoryStore

DAY = 86_400_000_000
NOW = 1_790_000_000_000_000
OLD = {"releases/fan.json": b'{"number":1}', "bundles/aa.tmb": b"first model"}
NEW = {"releases/fan.json": b'{"number":2}', "bundles/bb.tmb": b"second model"}


class CountingStore(MemoryStore):
    """Remembers what was asked for."""

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        super().__init__(objects)
        self.gets: list[str] = []

    def get(self, key: str) -> bytes:
        self.gets.append(key.rpartition("/")[2])
        return super().get(key)


@pytest.fixture(scope="module")
def history(keys):
    """What the store held after the first publication, and after the second one a day later."""
    store = MemoryStore()
    publisher = Publisher(store, keys)
    publisher.initialise(NOW)
    publisher.publish(OLD, (), NOW)
    first = store.objects
    publisher.publish(NEW, ["bundles/aa.tmb"], NOW + DAY)
    return first, store.objects, publisher.root_bytes()


@pytest.fixture
def store(history):
    return CountingStore(history[1])


@pytest.fixture
def root(history):
    return history[2]


@pytest.fixture
def client(store, root, tmp_path):
    return TrustedClient(store, tmp_path / "client", root)


def rolled_back(store: MemoryStore, objects: dict[str, bytes]) -> None:
    for key in store.objects:
        store.delete(key)
    for key, data in objects.items():
        store.put(key, data)


def state_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file with its inode and content: a rewrite shows even when nothing differs."""
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


# --- the everyday ---------------------------------------------------------------------------------------------------


def test_a_new_client_sees_and_fetches_what_is_published(client):
    assert client.refresh(NOW + DAY)
    assert set(client.index()) == set(NEW)
    assert {path: client.fetch(path) for path in client.index()} == NEW


def test_the_local_folder_needs_no_links(client, tmp_path):
    """Some gateways keep their state on file systems that have none."""
    client.refresh(NOW + DAY)
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_no_news_costs_two_requests_and_no_write(client, store, tmp_path):
    client.refresh(NOW + DAY)
    client.fetch("bundles/bb.tmb")
    before = state_of(tmp_path)
    store.gets.clear()
    assert not client.refresh(NOW + DAY)
    assert store.gets == ["2.root.json", "timestamp.json"]
    assert client.fetch("bundles/bb.tmb") == b"second model"
    assert len(store.gets) == 2
    assert state_of(tmp_path) == before


def test_a_restarted_client_asks_for_as_little(client, store, root, tmp_path):
    client.refresh(NOW + DAY)
    client.fetch("bundles/bb.tmb")
    store.gets.clear()
    again = TrustedClient(store, tmp_path / "client", root)
    assert again.refresh(NOW + DAY)
    assert again.fetch("bundles/bb.tmb") == b"second model"
    assert store.gets == ["2.root.json", "timestamp.json"]


def test_news_are_followed_and_old_downloads_removed(history, root, tmp_path):
    store = MemoryStore(history[0])
    client = TrustedClient(store, tmp_path / "client", root)
    assert client.refresh(NOW)
    assert {path: client.fetch(path) for path in client.index()} == OLD
    rolled_back(store, history[1])
    assert client.refresh(NOW + DAY)
    assert client.fetch("releases/fan.json") == b'{"number":2}'
    assert len(list((tmp_path / "client" / "targets").iterdir())) == 1


def test_what_is_not_published_is_missing(client):
    client.refresh(NOW + DAY)
    for path in ("bundles/aa.tmb", "releases/other.json", "../keys/root-1.pem", ""):
        with pytest.raises(MissingObjectError, match="no such file is published"):
            client.fetch(path)


def test_nothing_is_known_before_the_first_refresh(client):
    for ask in (client.index, partial(client.fetch, "bundles/bb.tmb")):
        with pytest.raises(UnreachableError, match="refresh first"):
            ask()


def test_a_web_server_is_a_store_too(history, root, tmp_path):
    published = open_store(str(tmp_path / "published"), create=True)
    for key, data in history[1].items():
        published.put(key, data)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "published"))
    ) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        client = TrustedClient(open_store(f"http://127.0.0.1:{server.server_address[1]}"), tmp_path / "client", root)
        assert client.refresh(NOW + DAY)
        assert client.fetch("bundles/bb.tmb") == b"second model"
        server.shutdown()
    with pytest.raises(UnreachableError):
        client.refresh(NOW + DAY)


def test_a_store_that_denies_what_it_lacks_is_followed(history, root, tmp_path):
    class Denying(MemoryStore):
        """S3 without the right to list."""

        def get(self, key):
            try:
                return super().get(key)
            except MissingObjectError as error:
                raise StoreDeniedError("denied", where=key) from error

    client = TrustedClient(Denying(history[1]), tmp_path / "client", root)
    assert client.refresh(NOW + DAY)


# --- attacks and accidents in the store -----------------------------------------------------------------------------


Attack = Callable[[MemoryStore, Path], None]


def find(store: MemoryStore, ending: str) -> str:
    return next(key for key in store.objects if key.endswith(ending))


def flip(ending: str) -> Attack:
    def damage(store: MemoryStore, _: Path) -> None:
        key = find(store, ending)
        data = bytearray(store.get(key))
        data[len(data) // 2] ^= 1
        store.put(key, bytes(data))

    return damage


def cut(ending: str) -> Attack:
    return lambda store, _: store.put(find(store, ending), store.get(find(store, ending))[:-20])


def grow(ending: str) -> Attack:
    return lambda store, _: store.put(find(store, ending), store.get(find(store, ending)) + b" " * 1_000_000)


def lose(ending: str) -> Attack:
    return lambda store, _: store.delete(find(store, ending))


def exchange(store: MemoryStore, folder: Path) -> None:
    """A repository by somebody else's keys, with all the same names."""
    create_keys(folder / "stranger")
    other = MemoryStore()
    stranger = Publisher(other, folder / "stranger")
    stranger.initialise(NOW)
    stranger.publish(OLD, (), NOW)
    stranger.publish({"bundles/bb.tmb": b"evil model"}, (), NOW + DAY)
    rolled_back(store, other.objects)


def unplug(store: MemoryStore, _: Path) -> None:
    store.reachable = False


ATTACKS: dict[str, tuple[Attack, type[TrustError]]] = {
    "a changed timestamp": (flip("/timestamp.json"), UntrustedError),
    "a changed snapshot": (flip("/3.snapshot.json"), UntrustedError),
    "a changed delegation": (flip("/1.targets.json"), UntrustedError),
    "a changed list of releases": (flip("/3.releases.json"), UntrustedError),
    "a cut snapshot": (cut("/3.snapshot.json"), UntrustedError),
    "a list of releases that never ends": (grow("/3.releases.json"), UntrustedError),
    "a timestamp that never ends": (grow("/timestamp.json"), UntrustedError),
    "another's repository": (exchange, UntrustedError),
    "a changed bundle": (flip(".bb.tmb"), UntrustedError),
    "a cut bundle": (cut(".bb.tmb"), UntrustedError),
    "a bundle that never ends": (grow(".bb.tmb"), UntrustedError),
    "a lost timestamp": (lose("/timestamp.json"), UnreachableError),
    "a lost snapshot": (lose("/3.snapshot.json"), UnreachableError),
    "a lost list of releases": (lose("/3.releases.json"), UnreachableError),
    "a lost bundle": (lose(".bb.tmb"), UnreachableError),
    "a cut cable": (unplug, UnreachableError),
}


@pytest.mark.parametrize(("attack", "expected"), ATTACKS.values(), ids=ATTACKS.keys())
def test_an_attack_is_refused_and_healing_is_noticed(client, history, tmp_path, attack, expected):
    def update() -> bytes:
        client.refresh(NOW + DAY)
        fetched: bytes = client.fetch("bundles/bb.tmb")
        return fetched

    store = client._store
    attack(store, tmp_path)
    with pytest.raises(expected) as caught:
        update()
    assert type(caught.value) is expected
    assert not list((tmp_path / "client").glob("targets/*"))
    store.reachable = True
    rolled_back(store, history[1])
    assert update() == b"second model"


def test_after_a_failed_refresh_the_state_before_still_answers(client, store):
    client.refresh(NOW + DAY)
    client.fetch("bundles/bb.tmb")
    store.reachable = False
    with pytest.raises(UnreachableError):
        client.refresh(NOW + DAY)
    assert set(client.index()) == set(NEW)
    assert client.fetch("bundles/bb.tmb") == b"second model"


@pytest.mark.parametrize("lost", ["nothing", "the cache", "the cache and the downloads"])
def test_an_older_state_is_refused_whatever_was_lost_locally(client, store, history, tmp_path, lost):
    client.refresh(NOW + DAY)
    client.fetch("bundles/bb.tmb")
    for folder in {"nothing": (), "the cache": ("metadata",)}.get(lost, ("metadata", "targets")):
        for path in sorted((tmp_path / "client" / folder).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
    rolled_back(store, history[0])
    for attempt in (client, TrustedClient(store, tmp_path / "client", history[2])):
        with pytest.raises(UntrustedError):
            attempt.refresh(NOW + DAY)
    rolled_back(store, history[1])
    client.refresh(NOW + DAY)
    assert set(client.index()) == set(NEW)


def test_the_keys_of_releases_cannot_publish_elsewhere(store, keys, client, monkeypatch):
    monkeypatch.setattr(serving.trust.publisher, "_PATH", re.compile(".*"))
    elsewhere = {"keys/stolen.json": b"{}", "releases/deep/x.json": b"{}", "bundles/cc.tmb": b"third model"}
    Publisher(store, keys).publish(elsewhere, (), NOW + DAY)
    client.refresh(NOW + DAY)
    assert set(client.index()) == {*NEW, "bundles/cc.tmb"}
    with pytest.raises(MissingObjectError):
        client.fetch("keys/stolen.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage_gives_an_error_of_ours_or_the_truth(history, root, tmp_path_factory, data):
    objects = history[1]
    store = MemoryStore(objects)
    key = data.draw(st.sampled_from(sorted(objects)))
    content = bytearray(objects[key])
    position = data.draw(st.integers(0, len(content) - 1))
    content[position : position + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    store.put(key, bytes(content))
    client = TrustedClient(store, tmp_path_factory.mktemp("client"), root)
    with suppress(TrustError):
        client.refresh(NOW + DAY)
        assert {path: client.fetch(path) for path in client.index()} == NEW


# --- time -----------------------------------------------------------------------------------------------------------

TIMES = {
    "on the day": (DAY, None),
    "before it expires": (4 * DAY - 2_000_000, None),
    "when the timestamp expires": (4 * DAY, ExpiredMetadataError),
    "years later": (4000 * DAY, ExpiredMetadataError),
    "with a clock that was never set": (-NOW, None),
}


@pytest.mark.parametrize(("later_us", "expected"), TIMES.values(), ids=TIMES.keys())
def test_expiry_is_judged_by_the_given_time(client, later_us, expected):
    if expected is None:
        assert client.refresh(NOW + later_us)
    else:
        with pytest.raises(expected, match="expired"):
            client.refresh(NOW + later_us)


def test_expired_metadata_is_forgiven_once_it_is_signed_anew(client, store, keys):
    client.refresh(NOW + DAY)
    with pytest.raises(ExpiredMetadataError):
        client.refresh(NOW + 400 * DAY)
    assert set(client.index()) == set(NEW)
    Publisher(store, keys).refresh_metadata(NOW + 400 * DAY)
    client.refresh(NOW + 400 * DAY)
    assert client.fetch("bundles/bb.tmb") == b"second model"


def test_a_renewed_root_is_followed_by_old_and_new_clients(client, store, keys, root, tmp_path):
    client.refresh(NOW + DAY)
    publisher = Publisher(store, keys)
    for years in (1, 2, 3):
        publisher.refresh_metadata(NOW + years * 360 * DAY)
        client.refresh(NOW + years * 360 * DAY)
    assert Metadata[Root].from_bytes(publisher.root_bytes()).signed.version == 4
    for name, installed in {"old": root, "new": publisher.root_bytes()}.items():
        fresh = TrustedClient(store, tmp_path / name, installed)
        fresh.refresh(NOW + 3 * 360 * DAY)
        assert set(fresh.index()) == set(NEW)


def test_a_withheld_root_is_noticed(client, store, keys):
    Publisher(store, keys).refresh_metadata(NOW + 300 * DAY)
    client.refresh(NOW + 300 * DAY)
    store.delete("updates/metadata/2.root.json")
    for path in (client._local.root / "metadata").rglob("*.root.json"):
        path.unlink()
    with pytest.raises(UntrustedError, match="root 1 after 2"):
        client.refresh(NOW + 300 * DAY)


def test_a_role_whose_keys_were_replaced_starts_anew(client, store, keys, history):
    """Recovery from a stolen timestamp key that was used to sign absurdly high versions."""
    ring = KeyRing.load(keys)
    stolen = Metadata(Timestamp(version=10**6, expires=moment(NOW + 3 * DAY)))
    stolen.signed.snapshot_meta = (
        Metadata[Timestamp].from_bytes(store.get("updates/metadata/timestamp.json")).signed.snapshot_meta
    )
    stolen.sign(ring.signers("timestamp")[0])
    store.put("updates/metadata/timestamp.json", stolen.to_bytes())
    client.refresh(NOW + DAY)

    replacement = CryptoSigner.generate_ed25519()
    new_root = Metadata[Root].from_bytes(history[2])
    new_root.signed.version = 2
    new_root.signed.revoke_key(ring.of("timestamp")[0].keyid, "timestamp")
    new_root.signed.add_key(replacement.public_key, "timestamp")
    for index, signer in enumerate(ring.signers("root")):
        new_root.sign(signer, append=index > 0)
    store.put("updates/metadata/2.root.json", new_root.to_bytes())
    stolen.signed.version = 5
    stolen.sign(replacement)
    store.put("updates/metadata/timestamp.json", stolen.to_bytes())
    client.refresh(NOW + DAY)
    assert json.loads((client._local.root / "floor.json").read_bytes())["timestamp"][0] == 5


def test_one_root_key_cannot_replace_the_root(client, store, keys, history):
    forged = Metadata[Root].from_bytes(history[2])
    forged.signed.version = 2
    forged.signed.expires += timedelta(days=1)
    forged.sign(KeyRing.load(keys).signers("root")[0])
    store.put("updates/metadata/2.root.json", forged.to_bytes())
    with pytest.raises(UntrustedError, match="1/2 keys"):
        client.refresh(NOW + DAY)


# --- which root -----------------------------------------------------------------------------------------------------


def test_a_development_root_is_refused_in_production_only(store, root, tmp_path):
    TrustedClient(store, tmp_path / "development", root)
    with pytest.raises(DevelopmentRootError, match="create production keys"):
        TrustedClient(store, tmp_path / "production", root, production=True)


def test_a_production_root_is_taken_in_production(tmp_path):
    create_keys(tmp_path / "keys", development=False)
    store = MemoryStore()
    publisher = Publisher(store, tmp_path / "keys")
    publisher.initialise(NOW)
    client = TrustedClient(store, tmp_path / "client", publisher.root_bytes(), production=True)
    client.refresh(NOW)
    assert client.index() == {}


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"[]", b"\xff", b'{"signed":{"_type":"root"},"signatures":[]}'])
def test_a_root_that_is_none_is_refused(store, tmp_path, data):
    with pytest.raises(UntrustedError):
        TrustedClient(store, tmp_path / "client", data)


def test_other_metadata_is_no_root(store, tmp_path):
    with pytest.raises(UntrustedError):
        TrustedClient(store, tmp_path / "client", store.get("updates/metadata/timestamp.json")).refresh(NOW)


# --- the local folder -----------------------------------------------------------------------------------------------


def test_a_second_process_is_turned_away_while_the_first_refreshes(client, store, root, tmp_path):
    client.refresh(NOW + DAY)
    handle = os.open(tmp_path / "client" / "lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(UpdateBusyError):
        client.refresh(NOW + DAY)
    os.close(handle)
    client.refresh(NOW + DAY)


def test_a_power_cut_at_any_local_write_is_forgotten_by_the_next_start(history, root, tmp_path, monkeypatch):
    plain = FolderStore.put
    for writes in count():
        left = [writes]

        def put(self, key, data, left=left):
            if left[0] == 0:
                raise PowerCut
            left[0] -= 1
            plain(self, key, data)

        store = MemoryStore(history[0])
        folder = tmp_path / str(writes)
        TrustedClient(store, folder, root).refresh(NOW)
        rolled_back(store, history[1])
        with monkeypatch.context() as patch:
            patch.setattr(FolderStore, "put", put)
            try:
                client = TrustedClient(store, folder, root)
                client.refresh(NOW + DAY)
                client.fetch("bundles/bb.tmb")
                finished = True
            except PowerCut:
                finished = False
        restarted = TrustedClient(store, folder, root)
        restarted.refresh(NOW + DAY)
        assert restarted.fetch("bundles/bb.tmb") == b"second model"
        if finished:
            assert writes >= 5  # timestamp, snapshot, releases, floor, download
            return


@pytest.mark.parametrize("content", [b"", b"{", b"\x00" * 200])
def test_torn_files_of_the_cache_are_fetched_again(client, store, root, tmp_path, content):
    client.refresh(NOW + DAY)
    client.fetch("bundles/bb.tmb")
    for path in (tmp_path / "client").rglob("*"):
        if path.is_file() and path.name not in ("floor.json", "lock"):
            path.write_bytes(content)
    again = TrustedClient(store, tmp_path / "client", root)
    again.refresh(NOW + DAY)
    assert again.fetch("bundles/bb.tmb") == b"second model"


def test_an_unreadable_floor_is_not_taken_for_none(client, tmp_path):
    client.refresh(NOW + DAY)
    for content in (b"", b"[]", b'{"timestamp": 5}'):
        (tmp_path / "client" / "floor.json").write_bytes(content)
        with pytest.raises(UntrustedError, match=r"floor\.json"):
            client.refresh(NOW + DAY)


def test_a_full_disk_is_told_as_one(client, monkeypatch):
    def full(_self, key, _data):
        raise DiskFullError("no space left", where=key)

    client.refresh(NOW + DAY)
    monkeypatch.setattr(FolderStore, "put", full)
    with pytest.raises(DiskFullError):
        client.fetch("bundles/bb.tmb")


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(store, root, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TidemillError, match="cannot be made"):
        TrustedClient(store, tmp_path / "file" / "client", root)
