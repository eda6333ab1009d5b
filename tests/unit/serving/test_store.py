import errno
import http.server
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import (
    DiskFullError,
    InvalidKeyError,
    InvalidStoreUriError,
    MissingExtraError,
    MissingObjectError,
    MissingStoreError,
    ReadOnlyStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from serving.store import Entry, FolderStore, Level, Store, check_key, open_store
from serving.web import HttpStore
from tests.fakes.stores import MemoryStore


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return FolderStore(tmp_path) if request.param == "folder" else MemoryStore()


@pytest.fixture
def folder(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path)


def keys(store: Store, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in store.list(prefix, after)]


# --- laws of the port ----------------------------------------------------------------------------------------------


def test_what_was_put_is_got_and_listed(store):
    store.put("raw/pumps/a.json", b"one")
    store.put("raw/pumps/a.json", b"longer")
    store.put("raw/pumps/empty", b"")
    assert store.get("raw/pumps/a.json") == b"longer"
    assert store.get("raw/pumps/empty") == b""
    assert [(entry.key, entry.size) for entry in store.list("")] == [("raw/pumps/a.json", 6), ("raw/pumps/empty", 0)]


def test_writing_again_changes_the_etag_even_when_size_and_moment_are_the_same(store):
    seen = set()
    for data in (b"a", b"b"):
        store.put("key", data)
        seen.add(next(store.list("")).etag)
    assert len(seen) == 2


def test_two_writes_within_one_tick_of_the_clock_have_two_etags(folder):
    entries = []
    for data in (b"a", b"b"):
        folder.put("key", data)
        os.utime(folder.root / "key", ns=(0, 0))
        entries += folder.list("")
    assert entries[0].modified_us == entries[1].modified_us
    assert entries[0].etag != entries[1].etag


def test_reading_does_not_change_the_etag(store):
    store.put("key", b"a")
    first = list(store.list(""))
    store.get("key")
    assert list(store.list("")) == first


def test_a_missing_object_is_said_to_be_missing(store):
    store.put("folder/object", b"")
    for key in ("nothing", "folder", "folder/object/below", "folder/other"):
        with pytest.raises(MissingObjectError):
            store.get(key)


def test_deleting_can_be_repeated(store):
    store.put("folder/object", b"x")
    for _ in range(2):
        store.delete("folder/object")
    store.delete("never/was")
    assert keys(store) == []


def test_only_the_first_of_several_conditional_writers_wins(store):
    assert store.put_if_absent("ledger/1", b"mine")
    assert not store.put_if_absent("ledger/1", b"yours")
    assert store.get("ledger/1") == b"mine"
    store.delete("ledger/1")
    assert store.put_if_absent("ledger/1", b"yours")


def test_of_many_concurrent_conditional_writers_one_wins_and_its_data_stays(store):
    for key in ("ledger/1", "ledger/2", "ledger/3"):
        start = threading.Barrier(8)

        def write(number, key=key, start=start):
            start.wait()
            return store.put_if_absent(key, str(number).encode())

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(write, range(8)))
        assert won.count(True) == 1
        assert store.get(key) == str(won.index(True)).encode()


def test_a_prefix_is_a_string_not_a_folder(store):
    for key in ("raw/pumps/1", "raw/pumpkins/1", "raw/fans/1", "raw-old"):
        store.put(key, b"")
    assert keys(store, "raw/pump") == ["raw/pumpkins/1", "raw/pumps/1"]
    assert keys(store, "raw/pumps/") == ["raw/pumps/1"]
    assert keys(store, "raw/pumps/1") == ["raw/pumps/1"]
    assert keys(store, "raw/pumps/1/") == keys(store, "none/") == keys(store, "raw/x") == []
    assert keys(store, "raw") == ["raw-old", "raw/fans/1", "raw/pumpkins/1", "raw/pumps/1"]


def test_a_listing_goes_on_inside_the_folder_where_it_stopped(store):
    written = ["a-/1", "a/1", "a/b/1", "a/b/2", "a/c", "b"]
    for key in written:
        store.put(key, b"")
    for place, key in enumerate(written):
        assert keys(store, "", key) == written[place + 1 :]
        assert keys(store, "a/", key) == [later for later in written[place + 1 :] if later.startswith("a/")]


NAMES = st.text(st.sampled_from("ab-./0é𝄞"), min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))
KEYS = st.lists(NAMES.map(lambda name: name.replace("/", "")).filter(bool), min_size=1, max_size=4).map("/".join)


@given(written=st.sets(KEYS, max_size=12), prefix=st.text("ab-./0é", max_size=4), after=KEYS | st.just(""))
def test_a_folder_lists_the_same_keys_in_the_same_order_as_a_plain_sorted_set(tmp_path_factory, written, prefix, after):
    usable = {key for key in written if not any(other.startswith(f"{key}/") for other in written) and _allowed(key)}
    store = FolderStore(tmp_path_factory.mktemp("store"))
    for key in usable:
        store.put(key, b"")
    expected = sorted((key for key in usable if key.startswith(prefix) and key > after), key=lambda key: key.encode())
    try:
        assert keys(store, prefix, after) == expected
    except InvalidKeyError:
        assert not _allowed(prefix.rpartition("/")[0])


def _allowed(key: str) -> bool:
    try:
        return bool(check_key(key))
    except InvalidKeyError:
        return False


def test_what_is_fetched_carries_the_version_that_was_read(store):
    store.put("raw/a", b"one")
    before = store.fetch("raw/a")
    store.put("raw/a", b"longer")
    after = store.fetch("raw/a")
    assert (before.data, after.data, after.metadata) == (b"one", b"longer", {})
    assert before.entry.etag != after.entry.etag
    assert [after.entry] == list(store.list("raw/"))


def test_one_level_is_told_apart_from_what_lies_below(store):
    for key in ("raw/2025/01/a", "raw/2025/02/a", "raw/2026/01/a", "raw/b", "raw/a", "raw-old"):
        store.put(key, b"x")
    level = store.level("raw/")
    assert [entry.key for entry in level.entries] == ["raw/a", "raw/b"]
    assert level.folders == ("raw/2025/", "raw/2026/")
    assert store.level("").folders == ("raw/",)
    assert store.level("none/") == store.level("raw/a/") == Level((), ())


# --- keys ----------------------------------------------------------------------------------------------------------

BAD_KEYS = {
    "empty": "",
    "absolute": "/etc/passwd",
    "parent": "../outside",
    "parent-inside": "a/../../outside",
    "here": "a/./b",
    "doubled-slash": "a//b",
    "trailing-slash": "a/",
    "nul": "a\0b",
    "newline": "a\nb",
    "backslash": "a\\b",
    "surrogate": "a\ud800",
    "long-segment": "a" * 256,
    "long": "/".join(["a" * 200] * 6),
    "temporary": "a/.tidemill-0123.part",
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_bad_key_is_refused_before_anything_is_touched(tmp_path, key):
    store = FolderStore(tmp_path / "store")
    store.root.mkdir()
    for call in (lambda: store.put(key, b""), lambda: store.put_if_absent(key, b""), lambda: store.delete(key)):
        with pytest.raises(InvalidKeyError):
            call()
    with pytest.raises(StoreError):  # reading is looser: some of them are just not there
        store.get(key)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert list(store.root.iterdir()) == []


def test_odd_names_that_others_wrote_can_be_read(folder):
    (folder.root / "back\\slash and\ttab").write_bytes(b"x")
    assert keys(folder) == ["back\\slash and\ttab"]
    assert folder.get("back\\slash and\ttab") == b"x"


# --- folder --------------------------------------------------------------------------------------------------------


def test_a_missing_root_is_not_taken_for_an_empty_store(tmp_path):
    gone = tmp_path / "gone"
    with pytest.raises(MissingStoreError, match=f"mkdir -p '{gone}'"):
        open_store(str(gone))
    store = FolderStore(gone)
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.list(""),
        lambda: store.delete("a"),
    ):
        with pytest.raises(MissingStoreError):
            call()
    assert not gone.exists()
    open_store(str(gone), create=True).put("a", b"")
    assert keys(open_store(str(gone))) == ["a"]


def test_a_file_in_place_of_the_root_is_refused(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(MissingStoreError, match="is not a folder"):
        open_store(str(tmp_path / "file"))


def test_a_key_cannot_be_an_object_and_a_folder(folder):
    folder.put("a/b", b"x")
    for write, key in ((folder.put, "a"), (folder.put_if_absent, "a"), (folder.put, "a/b/c")):
        with pytest.raises(StoreError, match="an object and a folder at once"):
            write(key, b"")
    assert keys(folder) == ["a/b"]
    assert all(not path.name.startswith(".tidemill-") for path in folder.root.rglob("*"))


def test_the_write_is_synced_before_it_is_named_and_the_folder_after(folder, monkeypatch):
    events: list[str] = []
    sync, replace = os.fsync, Path.replace

    def spy_sync(handle: int) -> None:
        events.append("sync folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "sync file")
        sync(handle)

    def spy_replace(self: Path, target: Path) -> Path:
        events.append("name")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    folder.put("new/key", b"x")
    # First the new folder becomes durable in the root, then the object in the folder.
    assert events == ["sync folder", "sync file", "name", "sync folder"]


def test_a_full_disk_leaves_the_old_object_and_no_scraps(folder, monkeypatch):
    folder.put("key", b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for write in (folder.put, folder.put_if_absent):
        with pytest.raises(DiskFullError, match="No space left") as caught:
            write("key" if write == folder.put else "other", b"new")
        assert caught.value.exit_code == 3
    monkeypatch.undo()
    assert folder.get("key") == b"old"
    assert [path.name for path in folder.root.iterdir()] == ["key"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_really_full_device_is_recognised(folder, monkeypatch):
    real = Path.open

    def on_full_device(self: Path, mode: str = "r", *rest: object, **more: object):
        return real(Path("/dev/full"), "wb") if self.name.startswith(".tidemill-") else real(self, mode)

    monkeypatch.setattr(Path, "open", on_full_device)
    with pytest.raises(DiskFullError):
        folder.put("key", b"x" * 100_000)


def test_an_error_of_permission_is_a_denial(folder, monkeypatch):
    def denied(*_: object, **__: object) -> bytes:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(StoreDeniedError, match="check owner and mode"):
        folder.get("key")


def test_a_writer_killed_at_any_moment_leaves_the_old_or_the_new_object(tmp_path):
    store = FolderStore(tmp_path)
    store.put("folder/key", b"0" * 300_000)
    program = (
        "import sys\nfrom pathlib import Path\nfrom serving.store import FolderStore\n"
        "store = FolderStore(Path(sys.argv[1]))\nprint('go', flush=True)\n"
        "while True:\n    for digit in b'0123456789':\n        store.put('folder/key', bytes([digit]) * 300_000)\n"
    )
    for pause in (0.0, 0.003, 0.011, 0.03):
        writer = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        data = store.get("folder/key")
        assert len(data) == 300_000
        assert len(set(data)) == 1
        assert keys(store) == ["folder/key"]


def test_objects_that_vanish_during_a_listing_are_left_out(folder):
    for number in range(3):
        folder.put(f"{number}/x", b"")
    listing = folder.list("")
    assert next(listing).key == "0/x"
    folder.delete("1/x")
    assert [entry.key for entry in listing] == ["2/x"]


def test_a_file_that_grows_while_it_is_read_is_cut_where_its_entry_ends(folder, monkeypatch):
    path = folder.root / "log"
    path.write_bytes(b"line 1\n")
    look = os.fstat

    def look_and_let_grow(handle: int) -> os.stat_result:
        status = look(handle)
        with path.open("ab") as file:
            file.write(b"line 2\n")
        return status

    monkeypatch.setattr(os, "fstat", look_and_let_grow)
    found = folder.fetch("log")
    assert (found.data, found.entry.size) == (b"line 1\n", 7)
    assert found.entry.etag != next(folder.list("")).etag


def test_a_file_that_shrinks_while_it_is_read_is_read_again_and_never_handed_out_short(folder, monkeypatch):
    path = folder.root / "log"
    sizes = iter([9, 4, 2])
    look = os.fstat

    def look_too_early(handle: int) -> os.stat_result:
        size = next(sizes)
        path.write_bytes(b"x" * (size + 1))
        status = look(handle)
        path.write_bytes(b"x" * size)
        return status

    path.write_bytes(b"x" * 20)
    monkeypatch.setattr(os, "fstat", look_too_early)
    with pytest.raises(StoreUnreachableError, match="became shorter"):
        folder.fetch("log")
    monkeypatch.setattr(os, "fstat", look)
    assert folder.fetch("log").data == b"xx"


# --- opening -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form", ["{}", "file://{}", "file://localhost{}", "FILE://{}"], ids=["path", "file", "localhost", "capitals"]
)
def test_the_forms_of_a_folder_open_the_same_store(tmp_path, form):
    root = tmp_path / "with space"
    root.mkdir()
    path = str(root) if form == "{}" else str(root).replace(" ", "%20")
    store = open_store(form.format(path))
    assert store.uri == str(root)
    assert open_store(store.uri).uri == store.uri


@pytest.mark.parametrize("uri", ["", " ", "ftp://host/x", "file://relative/path", "s3:///prefix", "http:///x"])
def test_a_uri_of_no_known_kind_is_refused(uri):
    with pytest.raises(InvalidStoreUriError):
        open_store(uri)


@pytest.mark.parametrize("scheme", ["s3", "https", "http"])
def test_credentials_in_a_uri_are_refused_and_not_repeated(scheme):
    with pytest.raises(InvalidStoreUriError) as caught:
        open_store(f"{scheme}://user:hunter2@host/x")
    assert "hunter2" not in str(caught.value)


def test_s3_without_boto3_names_the_extra(monkeypatch):
    for name in ("serving.s3", "serving.s3.store", "serving.s3.bulk", "serving.s3.connection"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name in [loaded for loaded in sys.modules if loaded.partition(".")[0] == "boto3"] or ["boto3"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'tidemill\[s3\]'"):
        open_store("s3://bucket/prefix")


def test_the_thin_modules_load_nothing_of_the_platform():
    program = (
        "import sys, serving.store, serving.bundle, serving.record, serving.settings, serving.operators, serving.web\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & set(sys.argv[1:])))"
    )
    heavy = ["boto3", "botocore", "click", "msgspec", "pandas", "pyarrow", "onnx", "onnxruntime", "sklearn"]
    done = subprocess.run([sys.executable, "-c", program, *heavy], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- web -----------------------------------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body, promised = {
            "/base/updates/a%20b.json": (200, b"data", 4),
            "/base/plain": (200, b"x", 1),
            "/base/cut": (200, b"da", 4),
            "/base/denied": (403, b"", 0),
            "/base/broken": (500, b"", 0),
            "/base/big": (200, b"x" * 101, 101),
        }.get(self.path, (404, b"", 0))
        self.send_response(status)
        self.send_header("Content-Length", str(promised))
        if body == b"data":
            self.send_header("ETag", '"abc"')
            self.send_header("Last-Modified", "Mon, 24 Nov 2025 16:00:00 GMT")
            self.send_header("X-Amz-Meta-Device", "press-7")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def web() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/base/"
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_web_store_reads_by_key(web):
    assert open_store(web).get("updates/a b.json") == b"data"


def test_a_web_store_tells_the_version_and_what_was_attached(web):
    found = open_store(web).fetch("updates/a b.json")
    assert found.entry == Entry("updates/a b.json", 4, "abc", 1_764_000_000_000_000)
    assert found.metadata == {"device": "press-7"}
    assert open_store(web).fetch("plain").entry == Entry("plain", 1, "", 0)


@pytest.mark.parametrize(
    ("key", "error"),
    [
        ("none", MissingObjectError),
        ("denied", StoreDeniedError),
        ("broken", StoreUnreachableError),
        ("cut", StoreUnreachableError),
        ("../base/cut", InvalidKeyError),
    ],
)
def test_a_web_store_tells_its_failures_apart(web, key, error):
    with pytest.raises(error):
        open_store(web).get(key)


def test_a_web_store_does_not_swallow_what_is_too_large(web):
    with pytest.raises(StoreError, match="limit 100 bytes"):
        HttpStore(web, limit=100).get("big")


def test_a_web_store_is_read_only(web):
    store = open_store(web)
    for call in (
        lambda: store.put("a", b""),
        lambda: store.put_if_absent("a", b""),
        lambda: store.delete("a"),
        lambda: store.list(""),
    ):
        with pytest.raises(ReadOnlyStoreError):
            call()


def test_a_web_store_that_nobody_serves_is_unreachable():
    with pytest.raises(StoreUnreachableError) as caught:
        HttpStore("http://127.0.0.1:9", timeout=2).get("a")
    assert caught.value.exit_code == 3
