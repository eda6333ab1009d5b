"""S3 over the real protocol: boto3 against an S3 server on loopback.

The server answers one request at a time, so its conditional writes are atomic as S3's are. One test lets it look first
and write later, as some services do: the control of the probe.
"""

import io
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from serving.errors import (
    DamagedObjectError,
    InvalidKeyError,
    InvalidStoreUriError,
    MissingObjectError,
    MissingStoreError,
    StoreDeniedError,
    StoreUnreachableError,
)
from serving.probe import unsafe_because
from serving.s3 import S3Store, connection
from serving.s3 import bulk as bulk_client
from serving.s3 import store as s3
from serving.store import PART_BYTES, Level, open_store

BUCKET = "plant"
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


class Server:
    """An S3 server that can be told to hang up, to answer a fault, or to be careless about conditions."""

    def __init__(self) -> None:
        self._application: Application = DomainDispatcherApplication(create_backend_app)
        self._lock = threading.Lock()
        self.careless = False
        self.lose_answers = 0
        self.cut_bodies = 0
        self.spoil = self._spoilt = 0
        self.etag = ""
        self.sealed = self.break_off = False
        self.answers: list[tuple[str, str]] = []
        self.requests: list[tuple[str, str]] = []
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Silent)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if self.answers:
            status, code = self.answers.pop(0)
            body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>told so</Message></Error>".encode()
            start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        if self.careless and environ.pop("HTTP_IF_NONE_MATCH", None) and self._exists(environ):
            start("412 Precondition Failed", [("Content-Length", "0")])
            return [b""]
        reading = environ["REQUEST_METHOD"] == "GET" and "list-type" not in environ["QUERY_STRING"]

        def answer(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            if reading and self.etag:
                headers = [(name, self.etag if name.lower() == "etag" else value) for name, value in headers]
            if reading and self.sealed:
                headers = [*headers, ("x-amz-server-side-encryption", "aws:kms")]
            return start(status, headers, *more)

        with self._lock:
            done = list(self._application(environ, answer))
        if reading and self.spoil:
            self.spoil -= 1
            return [bytes([self._next(), *b"".join(done)[1:]])]
        if self.lose_answers:
            self.lose_answers -= 1
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        if self.cut_bodies and environ["REQUEST_METHOD"] == "GET":
            self.cut_bodies -= 1
            return [b"".join(done)[:-1]]
        return self._broken(done, environ["werkzeug.socket"]) if self.break_off else done

    def _broken(self, done: list[bytes], connection_: socket.socket) -> Iterator[bytes]:
        """Half of an answer, before the connection is reset."""
        whole = b"".join(done)
        yield whole[: len(whole) // 2]
        time.sleep(0.05)
        connection_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(connection_.detach())

    def _next(self) -> int:
        self._spoilt += 1
        return self._spoilt % 32  # no byte of the tests' objects, and never the same twice

    def _exists(self, environ: dict[str, Any]) -> bool:
        status: list[str] = []
        question = {**environ, "REQUEST_METHOD": "HEAD", "wsgi.input": io.BytesIO(), "CONTENT_LENGTH": "0"}
        with self._lock:
            list(self._application(question, lambda line, *_: status.append(line)))
        time.sleep(0.005)
        return status[0].startswith("200")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture(autouse=True)
def surroundings(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(s3, "_BUSY_S", 0.001)
    monkeypatch.setattr(connection, "ATTEMPTS", 3)
    server.careless, server.lose_answers, server.cut_bodies, server.answers, server.requests = False, 0, 0, [], []
    server.spoil, server.etag, server.sealed, server.break_off = 0, "", False, False


@pytest.fixture(scope="module")
def bucket(server: Server) -> str:
    client = boto3.client(
        "s3", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    client.create_bucket(Bucket=BUCKET)
    return BUCKET


@pytest.fixture
def store(bucket: str) -> S3Store:
    opened = open_store(f"s3://{bucket}/{secrets.token_hex(4)}/site-1/")
    assert isinstance(opened, S3Store)
    return opened


def test_what_was_put_is_got_listed_and_deleted(store):
    store.put("raw/pumps/a é.json", b"one")
    store.put("raw/pumps/a é.json", b"longer")
    assert store.get("raw/pumps/a é.json") == b"longer"
    (entry,) = store.list("raw/")
    assert (entry.key, entry.size) == ("raw/pumps/a é.json", 6)
    assert '"' not in entry.etag
    assert entry.modified_us > 1_700_000_000_000_000
    store.delete("raw/pumps/a é.json")
    store.delete("raw/pumps/a é.json")
    assert list(store.list("")) == []
    with pytest.raises(MissingObjectError):
        store.get("raw/pumps/a é.json")


def test_a_process_without_keys_of_its_own_opens_a_store_with_those_it_is_given(bucket, server, monkeypatch):
    given = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    for name in given:
        monkeypatch.delenv(name)
    store = open_store(f"s3://{bucket}/lent", credentials={**given, "AWS_DEFAULT_REGION": "us-east-1"})
    store.put("a", b"1")
    assert [entry.key for entry in store.list("")] == ["a"]
    assert store.get("a") == b"1"
    with pytest.raises(StoreDeniedError):
        open_store(f"s3://{bucket}/lent").get("a")


def test_two_prefixes_of_one_bucket_do_not_see_each_other(bucket):
    left, right = open_store(f"s3://{bucket}/left"), open_store(f"s3://{bucket}/left-right")
    left.put("a", b"1")
    right.put("b", b"2")
    assert [entry.key for entry in left.list("")] == ["a"]
    assert {entry.key for entry in open_store(f"s3://{bucket}").list("left")} == {"left/a", "left-right/b"}
    assert open_store(left.uri).get("a") == b"1"


def test_a_listing_of_many_pages_is_sorted_and_starts_where_told(store, server, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 10)
    monkeypatch.setattr(store, "_bulk", None)
    expected = [f"raw/{number:04d}" for number in range(25)]
    for key in [*reversed(expected), "other"]:
        store.put(key, b"")
    server.requests.clear()
    assert [entry.key for entry in store.list("raw/")] == expected
    assert len(server.requests) == 3
    assert [entry.key for entry in store.list("raw/", "raw/0018")] == expected[19:]
    assert [entry.key for entry in store.list("raw/002")] == expected[20:]


def test_folder_marks_of_consoles_are_no_objects(store, bucket):
    store.put("raw/a", b"")
    client = boto3.client("s3", region_name="us-east-1")
    client.put_object(Bucket=bucket, Key=f"{store.uri.removeprefix(f's3://{bucket}/')}/raw/", Body=b"")
    assert [entry.key for entry in store.list("")] == ["raw/a"]


def test_only_the_first_conditional_writer_wins(store):
    assert store.put_if_absent("ledger/1", b"mine")
    assert not store.put_if_absent("ledger/1", b"yours")
    assert store.get("ledger/1") == b"mine"


def test_a_bucket_with_atomic_conditional_writes_passes_the_probe(store):
    assert unsafe_because(store, rounds=3) == ""
    assert list(store.list("")) == []


def test_a_service_that_looks_before_it_writes_is_found_out(store, server):
    server.careless = True
    assert "were told that they won" in unsafe_because(store)


def test_a_writer_whose_first_answer_was_lost_knows_its_own_object(store, server):
    server.lose_answers = 1
    assert store.put_if_absent("ledger/lost", b"mine")
    writes = [path for method, path in server.requests if method == "PUT"]
    assert len(writes) == 2, "the write was not repeated, so this tests nothing"
    assert store.get("ledger/lost") == b"mine"


def test_a_repeated_write_does_not_take_a_rivals_object_for_its_own(store, server):
    store.put_if_absent("ledger/rival", b"rival")
    server.lose_answers = 1
    assert not store.put_if_absent("ledger/rival", b"mine")


def test_bytes_that_arrive_changed_are_told(store, server):
    server.answers = [("400 Bad Request", "BadDigest")]
    with pytest.raises(DamagedObjectError):
        store.put_if_absent("key", b"data")
    assert store.put_if_absent("key", b"data")


def test_a_conflict_is_tried_again_until_it_is_decided(store, server):
    conflict = ("409 Conflict", "ConditionalRequestConflict")
    server.answers = [conflict, conflict]
    assert store.put_if_absent("ledger/conflict", b"mine")
    server.answers = [conflict] * connection.ATTEMPTS
    with pytest.raises(StoreUnreachableError, match="keep this key busy"):
        store.put_if_absent("ledger/conflict-2", b"mine")


def test_a_passing_fault_is_not_noticed(store, server):
    store.put("key", b"data")
    server.answers = [("503 Slow Down", "SlowDown"), ("500 Internal Server Error", "InternalError")]
    assert store.get("key") == b"data"


def test_a_body_that_breaks_off_is_read_again_and_never_handed_out(store, server):
    store.put("key", b"data")
    server.cut_bodies = connection.ATTEMPTS  # one of them is met by the bulk client
    assert store.get("key") == b"data"
    server.cut_bodies = connection.ATTEMPTS + 1
    with pytest.raises(StoreUnreachableError):
        store.get("key")


@pytest.mark.parametrize("bulk", [True, False])
def test_a_part_of_an_object_is_read_and_never_a_shorter_one(store, server, monkeypatch, bulk):
    store.put("key", bytes(range(100)))
    if not bulk:
        monkeypatch.setattr(store, "_bulk", None)
    server.cut_bodies = connection.ATTEMPTS - 1 + bulk
    assert store.part("key", 20, 7) == bytes(range(20, 27))
    with pytest.raises(DamagedObjectError, match="5 instead of 7 bytes from 95 on"):
        store.part("key", 95, 7)
    with pytest.raises(MissingObjectError):
        store.part("none", 0, 7)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (("403 Forbidden", "AccessDenied"), StoreDeniedError),
        (("403 Forbidden", "SignatureDoesNotMatch"), StoreDeniedError),
        (("400 Bad Request", "ExpiredToken"), StoreDeniedError),
        (("400 Bad Request", "IllegalLocationConstraintException"), StoreDeniedError),
        (("404 Not Found", "NoSuchBucket"), MissingStoreError),
        (("503 Slow Down", "SlowDown"), StoreUnreachableError),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else "",
)
def test_refusals_are_told_apart(store, server, answer, error):
    server.answers = [answer] * (connection.ATTEMPTS + 1)
    with pytest.raises(error) as caught:
        store.get("key")
    assert store.uri in str(caught.value)
    assert isinstance(caught.value.__cause__, ClientError)


def test_a_missing_bucket_is_said_to_be_missing_by_every_call(bucket):
    store = open_store("s3://never-created/prefix")
    for call in (
        lambda: store.get("a"),
        lambda: store.put("a", b""),
        lambda: store.put_if_absent("a", b""),
        lambda: list(store.list("")),
        lambda: store.delete("a"),
    ):
        with pytest.raises(MissingStoreError, match="never-created"):
            call()


def test_a_service_that_is_not_there_is_unreachable(monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setattr(connection, "ATTEMPTS", 1)
    store = open_store("s3://plant/x")
    for call in (lambda: store.get("a"), lambda: list(store.list(""))):
        with pytest.raises(StoreUnreachableError) as caught:
            call()
        assert caught.value.exit_code == 3


def test_a_service_that_stays_silent_is_unreachable(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setattr(connection, "ATTEMPTS", 1)
        monkeypatch.setattr(connection, "READ_S", 0.2)
        with pytest.raises(StoreUnreachableError, match="Read timeout"):
            open_store("s3://plant/x").get("a")


def test_without_credentials_the_store_denies(monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(StoreDeniedError, match="AWS_PROFILE"):
        open_store("s3://plant/x").get("a")


def test_an_unknown_profile_denies(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreDeniedError, match="nobody"):
        open_store("s3://plant/x")


@pytest.mark.parametrize("uri", ["s3://", "s3:///x", "s3://UPPER CASE/x"])
def test_a_bucket_that_cannot_be_is_refused(uri):
    with pytest.raises(InvalidStoreUriError):
        open_store(uri).get("a")


ODD = [
    "raw/a é.json",
    "raw/a%3Db",
    "raw/a~b'()*!",
    "raw/dots../x",
    "raw/dt=2025-11-24/x+y.json",
    "raw/q?x#y&z",
    "raw/tab\there",
    "raw/{b}[c]^`|<>",
    "raw/\U0001d11e",
]


def test_odd_keys_that_others_wrote_are_listed_and_read_as_they_are(store, bucket):
    client, folder = boto3.client("s3", region_name="us-east-1"), store.uri.removeprefix(f"s3://{bucket}/")
    for key in ODD:
        client.put_object(Bucket=bucket, Key=f"{folder}/{key}", Body=key.encode())
    assert [entry.key for entry in store.list("raw/")] == ODD
    assert [entry.key for entry in store.list("raw/", ODD[3])] == ODD[4:]
    assert [store.get(key) for key in ODD] == [key.encode() for key in ODD]
    client.put_object(Bucket=bucket, Key=f"{folder}/raw/empty//segment", Body=b"x")
    assert [entry.key for entry in store.list("raw/")] == sorted([*ODD, "raw/empty//segment"])


@pytest.mark.parametrize("bulk", [True, False], ids=["bulk", "boto3"])
def test_what_is_fetched_carries_its_version_and_what_its_writer_attached(store, bucket, monkeypatch, bulk):
    if not bulk:
        monkeypatch.setattr(store, "_bulk", None)
    client, folder = boto3.client("s3", region_name="us-east-1"), store.uri.removeprefix(f"s3://{bucket}/")
    client.put_object(
        Bucket=bucket, Key=f"{folder}/raw/a", Body=b"data", Metadata={"device": "press-7"}, ContentType="text/plain"
    )
    found = store.fetch("raw/a")
    assert (found.data, found.metadata) == (b"data", {"device": "press-7"})
    assert [found.entry] == list(store.list("raw/"))


@pytest.mark.parametrize("bulk", [True, False], ids=["bulk", "boto3"])
def test_one_level_is_told_apart_from_what_lies_below(store, bucket, server, monkeypatch, bulk):
    if not bulk:
        monkeypatch.setattr(store, "_bulk", None)
    for key in ("raw/2025/01/a", "raw/2025/02/a", "raw/2026/01/a", "raw/b", "raw/a"):
        store.put(key, b"x")
    server.requests.clear()
    level = store.level("raw/")
    assert [entry.key for entry in level.entries] == ["raw/a", "raw/b"]
    assert level.folders == ("raw/2025/", "raw/2026/")
    assert len(server.requests) == 1
    assert store.level("").folders == ("raw/",)
    assert store.level("none/") == Level((), ())
    client = boto3.client("s3", region_name="us-east-1")
    client.put_object(Bucket=bucket, Key=f"{store.uri.removeprefix(f's3://{bucket}/')}/raw/", Body=b"")
    assert store.level("raw/") == level


def test_a_large_object_goes_in_parts_and_comes_back_whole(store, server):
    data = secrets.token_bytes(PART_BYTES + 1)
    server.requests.clear()
    store.put("large", data)
    assert [method for method, _ in server.requests] == ["POST", "PUT", "PUT", "POST"]
    assert store.get("large") == data
    assert next(iter(store.list("large"))).etag.endswith("-2")


@pytest.mark.parametrize("bulk", [True, False], ids=["bulk", "boto3"])
def test_a_damaged_body_is_read_again_and_never_handed_out(store, server, monkeypatch, bulk):
    if not bulk:
        monkeypatch.setattr(store, "_bulk", None)
    store.put("key", b"data")
    assert store.get("key") == b"data"
    server.spoil = 2
    assert store.get("key") == b"data"
    assert server.spoil == 0
    server.spoil = 10
    with pytest.raises(DamagedObjectError, match="its MD5 is not its ETag"):
        store.get("key")


def test_a_checksum_of_s3_itself_is_looked_at_where_there_is_one(store, bucket, server, monkeypatch):
    monkeypatch.setattr(store, "_bulk", None)
    monkeypatch.setattr(store._etags, "_are_digests", False)
    client, folder = boto3.client("s3", region_name="us-east-1"), store.uri.removeprefix(f"s3://{bucket}/")
    client.put_object(Bucket=bucket, Key=f"{folder}/a", Body=b"data", ChecksumAlgorithm="CRC32")
    assert store.get("a") == b"data"
    server.spoil = connection.ATTEMPTS - 1
    assert store.get("a") == b"data"
    server.spoil = 10
    with pytest.raises(DamagedObjectError, match="Expected checksum"):
        store.get("a")


def test_a_service_whose_etags_only_look_like_digests_is_recognised(store, server):
    store.put("a", b"data")
    server.etag = '"0123456789abcdef0123456789abcdef"'
    assert store.get("a") == b"data"
    server.requests.clear()
    assert store.get("a") == b"data"
    assert len(server.requests) == 1


def test_an_object_under_a_key_of_kms_is_not_held_against_its_etag(store, server):
    store.put("a", b"data")
    assert store.get("a") == b"data"
    server.etag = '"0123456789abcdef0123456789abcdef"'
    with pytest.raises(DamagedObjectError):
        store.get("a")
    server.sealed = True
    assert store.get("a") == b"data"


def test_a_bulk_client_that_never_gets_through_is_not_asked_for_ever(store, server, monkeypatch):
    monkeypatch.setattr(bulk_client, "_FAILURES", 2)
    store.put("a", b"data")
    for _ in range(2):
        server.answers = [("403 Forbidden", "AccessDenied")]
        assert store.get("a") == b"data"
    server.requests.clear()
    assert store.get("a") == b"data"
    assert len(server.requests) == 1


def test_a_listing_that_breaks_off_is_continued(store, server, monkeypatch):
    monkeypatch.setattr(s3, "PAGE", 4)
    for number in range(10):
        store.put(f"raw/{number}", b"x")
    server.answers = [("503 Slow Down", "SlowDown")] * 2
    assert [entry.key for entry in store.list("raw/")] == [f"raw/{number}" for number in range(10)]


def test_a_refusal_that_breaks_off_is_an_outage_and_no_riddle(store, server):
    """Botocore hands on what its transport raises while it reads a refusal; nobody above knows that kind of error."""
    server.break_off = True
    with pytest.raises(StoreUnreachableError, match="cannot be reached"):
        store.get("raw/nothing")


def test_keys_are_checked_before_anything_is_sent(store, server):
    for key in ("../a", "a//b", "/a"):
        for write in (store.put, store.put_if_absent):
            with pytest.raises(InvalidKeyError):
                write(key, b"")
        with pytest.raises(InvalidKeyError):
            store.get(key)
    assert server.requests == []
