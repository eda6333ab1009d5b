"""Objects behind a static web server, to be read by key."""

import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import NoReturn, Self

from serving.errors import (
    InvalidStoreUriError,
    MissingObjectError,
    ReadOnlyStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from serving.store import Entry, Fetched, Level, check_key

OBJECT_BYTES = 256 * 1024 * 1024
_ATTACHED = "x-amz-meta-"


class HttpStore:
    """A store behind a static web server: ``get`` only.

    Meant for gateways that fetch signed updates. There is no retry here: callers poll anyway. Proxies are taken from
    the environment as everywhere in Python.

    Args:
        base: ``http(s)://host/path``; keys are appended to it.
        timeout: Seconds that the server may stay silent.
        limit: Largest object in bytes that is accepted.
    """

    def __init__(self, base: str, timeout: float = 20.0, limit: int = OBJECT_BYTES) -> None:
        self._base = base.rstrip("/")
        self._timeout = timeout
        self._limit = limit

    @classmethod
    def open(cls, uri: str) -> Self:
        """Open ``http(s)://host/path``; the server is asked with the first call.

        Raises:
            InvalidStoreUriError: No host in it, or a query.
        """
        parts = urllib.parse.urlsplit(uri)
        if not parts.hostname or parts.query or parts.fragment:
            raise InvalidStoreUriError("a web store is http(s)://host/path", where=uri)
        return cls(uri)

    @property
    def uri(self) -> str:
        """The base address."""
        return self._base

    def get(self, key: str) -> bytes:
        """The object; see ``Store``."""
        return self.fetch(key).data

    def fetch(self, key: str) -> Fetched:
        """The object; see ``Store``. Cut-off answers are errors, never short objects.

        ETag, time and metadata (``x-amz-meta-…``) are what the server says; an empty ETag and 0 where it says nothing.
        """
        address = f"{self._base}/{urllib.parse.quote(check_key(key))}"
        try:
            with urllib.request.urlopen(address, timeout=self._timeout) as answer:  # noqa: S310 - http(s) by open_store
                data: bytes = answer.read(self._limit + 1)
                promised, headers = answer.headers.get("Content-Length"), answer.headers
        except urllib.error.HTTPError as error:
            error.close()
            raise _http_error(error.code, address) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise StoreUnreachableError(
                "the web store cannot be reached",
                where=address,
                why=str(error),
                fix="check the address and the network",
            ) from error
        if len(data) > self._limit:
            raise StoreError("the object is larger than accepted", where=address, why=f"limit {self._limit} bytes")
        if promised is not None and promised.isdigit() and int(promised) != len(data):
            raise StoreUnreachableError("the answer was cut off", where=address, why=f"{len(data)} of {promised} bytes")
        return Fetched(_entry(key, len(data), headers), data, _metadata(headers))

    def put(self, key: str, data: bytes) -> None:
        """Refused with ``ReadOnlyStoreError``."""
        self._refuse(f"cannot write {key} ({len(data)} bytes)")

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Refused with ``ReadOnlyStoreError``."""
        self._refuse(f"cannot write {key} ({len(data)} bytes)")

    def list(self, prefix: str, after: str = "") -> Iterator[Entry]:
        """Refused with ``ReadOnlyStoreError``."""
        self._refuse(f"cannot list {prefix!r} after {after!r}")

    def level(self, prefix: str) -> Level:
        """Refused with ``ReadOnlyStoreError``."""
        self._refuse(f"cannot list {prefix!r}")

    def delete(self, key: str) -> None:
        """Refused with ``ReadOnlyStoreError``."""
        self._refuse(f"cannot delete {key}")

    def _refuse(self, what: str) -> NoReturn:
        raise ReadOnlyStoreError(
            what, where=self._base, why="a web store is read by key only", fix="use a folder or s3:// here"
        )


def _entry(key: str, size: int, headers: Message) -> Entry:
    try:
        modified = parsedate_to_datetime(headers.get("Last-Modified", ""))
        modified_us = int(modified.timestamp()) * 1_000_000
    except (ValueError, TypeError, OverflowError):
        modified_us = 0
    return Entry(key, size, headers.get("ETag", "").strip('"'), modified_us)


def _metadata(headers: Message) -> dict[str, str]:
    named = {name.lower(): str(value) for name, value in headers.items()}
    return {name.removeprefix(_ATTACHED): value for name, value in named.items() if name.startswith(_ATTACHED)}


def _http_error(status: int, address: str) -> StoreError:
    match status:
        case 404 | 410:
            return MissingObjectError("no such object", where=address)
        case 401 | 403:
            return StoreDeniedError("the web store refuses this", where=address, why=f"HTTP {status}")
        case _:
            return StoreUnreachableError("the web store failed", where=address, why=f"HTTP {status}")
