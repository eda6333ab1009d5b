"""The port of object storage, and what a listing and a reading give."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

PART_BYTES: Final = 8 * 1024 * 1024
"""Larger objects may be written in parts of this size, each of which is repeated on its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of a listing.

    Attributes:
        key: Key within the store.
        size: Bytes.
        etag: Changes whenever the object is written again; says nothing about equal content. Folder: size,
            modification time and inode (cheap: the file is not read). S3: the service's ETag without quotes.
        modified_us: When it was written, UTC microseconds.
    """

    key: str
    size: int
    etag: str
    modified_us: int


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object as it was read.

    Attributes:
        entry: The version that was read, as a listing of that moment shows it.
        data: Its bytes, all of them.
        metadata: What its writer attached, names in small letters (S3: ``x-amz-meta-…`` without that prefix). A folder
            has none.
    """

    entry: Entry
    data: bytes
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Level:
    """One level of the tree of keys.

    Attributes:
        entries: The objects on it, sorted by key.
        folders: The prefixes that go on below it, sorted, each with its slash at the end. One may turn out to be empty.
    """

    entries: tuple[Entry, ...]
    folders: tuple[str, ...]


@runtime_checkable
class Remote(Protocol):
    """A store behind a service that answers at an address."""

    @property
    def endpoint(self) -> str:
        """The address; the same store behind another address may keep other promises."""


@runtime_checkable
class Ranged(Protocol):
    """A store that also gives parts of objects, whose checksum nobody knows."""

    def part(self, key: str, start: int, length: int) -> bytes:
        """So many bytes of the object from a place on; ``MissingObjectError`` when there is none."""


class Store(Protocol):
    """The port. Every error is a ``StoreError``."""

    @property
    def uri(self) -> str:
        """What ``open_store`` opens again; free of credentials."""

    def get(self, key: str) -> bytes:
        """The object; ``MissingObjectError`` when there is none."""

    def fetch(self, key: str) -> Fetched:
        """The object with the version that was read; ``MissingObjectError`` when there is none."""

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object, atomically and durably."""

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists; whether this call wrote it."""

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Objects whose key starts with ``prefix`` and is greater than ``after``, sorted by key, lazily."""

    def level(self, prefix: str) -> Level:
        """What lies directly below ``prefix``, which is empty or ends in a slash."""

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""
