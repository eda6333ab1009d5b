"""A bucket, or a prefix in one, as a store.

Calls time out and are repeated by boto3. A repeated conditional write is told apart from a lost race by a mark in the
object's metadata: without it, a writer whose first answer got lost would take its own object for a rival's.

A body is taken for whole only when it has the promised length and, where there is one, the promised checksum: that of
S3 itself (CRC-32, SHA), else the ETag where it is an MD5 (`serving.s3.etags`). Of a part-wise object without checksum
only the length is known. Checksums beyond the ones S3 demands are not sent, because many look-alikes refuse them.
"""

import base64
import contextlib
import hashlib
import io
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, TypeVar

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.httpchecksum import StreamingChecksumBody

from serving.errors import DamagedObjectError, InvalidStoreUriError, StoreUnreachableError
from serving.s3 import connection
from serving.s3.bulk import Bulk, BulkError
from serving.s3.connection import damaged, raise_for
from serving.s3.etags import Etags
from serving.store import PART_BYTES, Entry, Fetched, Level, check_key, check_readable

PAGE = 1000  # keys of a listing that one request brings; S3 gives no more
_BUSY_S = 0.25
_MARK = "tidemill-writer"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TAKEN, _CONFLICT = 412, 409
_TORN = (ResponseStreamingError, IncompleteReadError, ReadTimeoutError, FlexibleChecksumError)

_Answer = TypeVar("_Answer")


class S3Store:
    """A bucket, or a prefix in one. Safe to use from several threads.

    Args:
        client: A boto3 S3 client.
        bucket: Name of the bucket, which must exist.
        prefix: Part of every key, without slashes at its ends; may be empty.
        bulk: Reads and lists the same bucket at less cost, where it can.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "", bulk: Bulk | None = None) -> None:
        self._client = client
        self._bulk = bulk
        self._bucket = bucket
        self._folder = f"{prefix}/" if prefix else ""
        self._etags = Etags()

    @classmethod
    def open(
        cls,
        uri: str,
        endpoint: str | None = None,
        region: str | None = None,
        credentials: Mapping[str, str] | None = None,
    ) -> Self:
        """Open ``s3://bucket/prefix``; the bucket is looked at with the first call.

        Args:
            uri: The bucket, and a prefix in it.
            endpoint: The address of the service; what boto3 finds when left out.
            region: Its region; likewise.
            credentials: Variables that stand in for those of the environment; see ``serving.store.open_store``.

        Raises:
            InvalidStoreUriError: No bucket in it, or a prefix that is no key.
            StoreDeniedError: The profile that the environment names does not exist.
        """
        bucket, _, prefix = uri.partition("://")[2].partition("/")
        prefix = prefix.strip("/")
        if not bucket:
            raise InvalidStoreUriError("the S3 URI names no bucket", where=uri, fix="s3://bucket/prefix")
        if prefix:
            check_key(prefix)
        session = connection.session(uri, credentials)
        patience = connection.READ_S
        client = connection.connect(session, "s3", uri, patience=patience, endpoint_url=endpoint, region_name=region)
        return cls(client, bucket, prefix, Bulk(session, client, bucket))

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._folder}".rstrip("/")

    @property
    def endpoint(self) -> str:
        """The address of the service."""
        return str(self._client.meta.endpoint_url)

    def get(self, key: str) -> bytes:
        """The object; see ``serving.store.Store``."""
        return self.fetch(key).data

    def fetch(self, key: str) -> Fetched:
        """The object with its entry and metadata; see ``serving.store.Store``.

        Raises:
            DamagedObjectError: However often it was read, its bytes were not those that the service promises.
        """
        name = self._folder + check_readable(key)
        if self._bulk and (found := self._in_bulk(self._bulk, name, key)):
            return found
        seen: set[tuple[str, str]] = set()
        return self._repeated(name, key, lambda answer: self._reading(answer, key, seen), ChecksumMode="ENABLED")

    def part(self, key: str, start: int, length: int) -> bytes:
        """A part of the object; see ``serving.store.Ranged``.

        Raises:
            DamagedObjectError: However often it was read, it had another length.
        """
        name = self._folder + check_readable(key)
        if self._bulk:
            with contextlib.suppress(BulkError):
                return self._bulk.part(name, start, length)

        def reading(answer: dict[str, Any]) -> bytes:
            data: bytes = self._call(answer["Body"].read, key)
            if len(data) != length:
                raise damaged(self._where(key), f"{len(data)} instead of {length} bytes from {start} on")
            return data

        return self._repeated(name, key, reading, Range=f"bytes={start}-{start + length - 1}")

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object, a large one in parts; see ``serving.store.Store``."""
        name = self._folder + check_key(key)
        if len(data) <= PART_BYTES:
            self._call(lambda: self._client.put_object(Bucket=self._bucket, Key=name, Body=data), key)
            return
        parts = TransferConfig(multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, use_threads=False)
        self._call(lambda: self._client.upload_fileobj(io.BytesIO(data), self._bucket, name, Config=parts), key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists; see ``serving.store.Store``.

        Rests on S3's conditional write (``If-None-Match: *``). A service that ignores the condition lets both of two
        writers win; ``serving.probe`` finds that out. The MD5 goes with it, which every service compares.

        Raises:
            DamagedObjectError: Other bytes arrived than were sent; nothing was written.
        """
        name = self._folder + check_key(key)
        mark = secrets.token_hex(8)
        digest = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()

        def write() -> bool | None:
            try:
                self._client.put_object(
                    Bucket=self._bucket,
                    Key=name,
                    Body=data,
                    ContentMD5=digest,
                    IfNoneMatch="*",
                    Metadata={_MARK: mark},
                )
            except ClientError as error:
                answer = error.response.get("ResponseMetadata", {})
                if answer.get("HTTPStatusCode") == _TAKEN:
                    return bool(answer.get("RetryAttempts")) and self._marked(name, mark)
                if answer.get("HTTPStatusCode") == _CONFLICT:
                    return None
                raise
            return True

        for attempt in range(connection.ATTEMPTS):
            written = self._call(write, key)
            if written is not None:
                return written
            time.sleep(_BUSY_S * (attempt + 1))  # 409: another write of this key is on its way and may yet fail
        raise StoreUnreachableError(
            "other writers keep this key busy", where=self._where(key), why="HTTP 409", fix="repeat it"
        )

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Objects in key order, a page at a time; see ``serving.store.Store``.

        Folder marks (empty objects whose key ends in a slash) are left out.
        """
        whole = self._folder + prefix
        if self._bulk and (not whole or whole.endswith("/")):
            return self._list_in_bulk(self._bulk, prefix, after)
        return self._list(prefix, after)

    def level(self, prefix: str) -> Level:
        """What lies directly below a prefix; see ``serving.store.Store``."""
        if self._bulk:
            with contextlib.suppress(BulkError):
                found, cut = self._bulk.level(self._folder + prefix), len(self._folder)
                return Level(self._cut(found.entries), tuple(name[cut:] for name in found.folders))
        entries: list[Entry] = []
        folders: list[str] = []
        for page in self._pages(prefix, Delimiter="/"):
            entries += self._entries(page)
            folders += [item["Prefix"].removeprefix(self._folder) for item in page.get("CommonPrefixes", ())]
        return Level(tuple(entries), tuple(folders))

    def delete(self, key: str) -> None:
        """Remove the object if it is there; see ``serving.store.Store``."""
        name = self._folder + check_key(key)
        self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=name), key)

    def _in_bulk(self, bulk: Bulk, name: str, key: str) -> Fetched | None:
        """The object, if the bulk client gets it and nothing speaks against it."""
        try:
            found = bulk.fetch(name)
        except BulkError:
            return None
        if not self._etags.fit(found.entry.etag, found.data):
            return None
        return replace(found, entry=replace(found.entry, key=key))

    def _list_in_bulk(self, bulk: Bulk, prefix: str, after: str) -> Iterator[Entry]:
        """By the bulk client as long as it gets on, the rest by boto3."""
        stuck = False
        while not stuck:
            stuck = True
            try:
                for page in bulk.pages(self._folder + prefix, self._folder + after if after else ""):
                    entries = self._cut(page)
                    yield from entries
                    after, stuck = (entries[-1].key, False) if entries else (after, stuck)
            except BulkError:
                continue
            return
        yield from self._list(prefix, after)

    def _cut(self, entries: Iterable[Entry]) -> tuple[Entry, ...]:
        """Entries with keys instead of whole names."""
        start = len(self._folder)
        return tuple(Entry(each.key[start:], each.size, each.etag, each.modified_us) for each in entries)

    def _list(self, prefix: str, after: str) -> Iterator[Entry]:
        arguments = {"StartAfter": self._folder + after} if after else {}
        return (entry for page in self._pages(prefix, **arguments) for entry in self._entries(page))

    def _repeated(self, name: str, key: str, read: Callable[[dict[str, Any]], _Answer], **more: str) -> _Answer:
        """Get an object and read it: boto3 repeats requests, but not a body that breaks off."""
        for left in reversed(range(connection.ATTEMPTS)):
            answer = self._call(lambda: self._client.get_object(Bucket=self._bucket, Key=name, **more), key)
            try:
                return read(answer)
            except (StoreUnreachableError, DamagedObjectError) as error:
                if not left or not (isinstance(error, DamagedObjectError) or isinstance(error.__cause__, _TORN)):
                    raise
        raise AssertionError  # the last attempt returns or raises

    def _reading(self, answer: dict[str, Any], key: str, seen: set[tuple[str, str]]) -> Fetched:
        data: bytes = self._call(answer["Body"].read, key)
        etag = answer["ETag"].strip('"')
        if not isinstance(answer["Body"], StreamingChecksumBody) and not self._etags.fit_answer(
            answer, etag, data, seen
        ):
            raise damaged(self._where(key), f"its MD5 is not its ETag {etag}")
        return Fetched(Entry(key, len(data), etag, _microseconds(answer["LastModified"])), data, answer["Metadata"])

    def _pages(self, prefix: str, **arguments: str) -> Iterator[dict[str, Any]]:
        arguments |= {"Bucket": self._bucket, "Prefix": self._folder + prefix}
        paginator = self._client.get_paginator("list_objects_v2")
        pages = iter(paginator.paginate(**arguments, PaginationConfig={"PageSize": PAGE}))
        while (page := self._call(lambda: next(pages, None), prefix)) is not None:
            yield page

    def _entries(self, page: dict[str, Any]) -> Iterator[Entry]:
        for item in page.get("Contents", ()):
            if not item["Key"].endswith("/"):
                key, modified = item["Key"].removeprefix(self._folder), _microseconds(item["LastModified"])
                yield Entry(key, int(item["Size"]), item["ETag"].strip('"'), modified)

    def _marked(self, name: str, mark: str) -> bool:
        found = self._client.head_object(Bucket=self._bucket, Key=name)
        return bool(found["Metadata"].get(_MARK) == mark)

    def _call(self, call: Callable[[], _Answer], key: str) -> _Answer:
        try:
            return call()
        except connection.FAILURES as error:
            raise_for(error, self._where(key))

    def _where(self, key: str) -> str:
        return f"{key} in {self.uri} at {self._client.meta.endpoint_url}"


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)
