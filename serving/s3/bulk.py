"""Reading and listing much, through a client in Rust; whatever it does not manage is left to boto3.

Why so:

- **A second client, for bulk alone.** Status: accepted. CPU seconds of the client's process against one server
  (``make bench-store``, two cores under load): 1,000 objects of 4 kB take boto3 1.06 and this client 0.10, with all
  that `S3Store` does beside it 0.17; a listing of 100,000 keys 6.6, 0.34 and 0.66. Of objects of 8 MB a gigabyte takes
  0.57, 0.73 and 2.0, of which 1.3 compare the MD5. Cost: 16 MB on disk; keys with control characters or empty segments
  and refusals are beyond it, so every failure here is decided by boto3, whose answer counts.
- **No repetition here.** boto3 repeats with the patience of ``serving.s3.connection``. Cost: the first fault of a
  request throws the request back to boto3.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import obstore
from boto3.session import Session
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError, InvalidPathError
from obstore.store import S3Store as Client

from serving.s3 import connection
from serving.store import Entry, Fetched, Level

_PAGE = 1000
_CREDENTIALS_FOR = timedelta(minutes=5)  # boto3 renews those that end within ten minutes
_BUCKET = re.compile("[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # the client panics on what is no part of an address
_FAILURES = 100
"""In a row, after which this client is not asked any more: its way to the service must be another than boto3's."""
_HARMLESS = (FileNotFoundError, InvalidPathError, ValueError)  # the service was reached, or was not needed to know
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BulkError(Exception):
    """Not managed; ask boto3. Never leaves the package."""


class Bulk:
    """Reads one bucket.

    Args:
        session: Where boto3 gets its credentials.
        client: boto3's client, which knows endpoint and region.
        bucket: Name of the bucket.
    """

    def __init__(self, session: Session, client: Any, bucket: str) -> None:
        endpoint, region = client.meta.endpoint_url, client.meta.region_name
        self._failures = 0
        self._client: Client | None = None
        if session.get_credentials() is None or not _BUCKET.fullmatch(bucket):
            return
        self._client = Client(
            bucket,
            endpoint=endpoint,
            region=region if region not in (None, "aws-global") else "us-east-1",
            virtual_hosted_style_request=False,
            credential_provider=Boto3CredentialProvider(session, ttl=_CREDENTIALS_FOR),
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=connection.CONNECT_S),
                "read_timeout": timedelta(seconds=connection.READ_S),
                "timeout": timedelta(hours=1),
            },
            retry_config={"max_retries": 0},
        )

    def fetch(self, name: str) -> Fetched:
        """Read an object; its entry carries the whole name.

        Raises:
            BulkError: For whatever reason, also because there is no such object.
        """
        try:
            answer = obstore.get(self._usable(), name)
            meta, attributes = answer.meta, answer.attributes
            data = answer.bytes().to_bytes()
        except (BaseError, OSError, ValueError) as error:
            raise self._failed(error) from error
        self._failures = 0
        if len(data) != meta["size"]:
            raise BulkError(f"{len(data)} of {meta['size']} bytes")
        # What HTTP itself defines is written with capitals, what the writer attached in small letters.
        attached = {str(key): str(value) for key, value in attributes.items() if str(key) == str(key).lower()}
        return Fetched(_entry(meta), data, attached)

    def part(self, name: str, start: int, length: int) -> bytes:
        """Read a part of an object; see `fetch`."""
        try:
            data = bytes(obstore.get_range(self._usable(), name, start=start, length=length))
        except (BaseError, OSError, ValueError) as error:
            raise self._failed(error) from error
        self._failures = 0
        if len(data) != length:
            raise BulkError(f"{len(data)} of {length} bytes")
        return data

    def pages(self, prefix: str, after: str) -> Iterator[list[Entry]]:
        """List names below a prefix, page by page.

        Args:
            prefix: Empty, or ends in a slash: this client knows folders only.
            after: Only greater names; empty for all.

        Raises:
            BulkError: The page that comes next could not be had, or holds an empty object: that may be the mark of a
                folder, whose slash this client hides.
        """
        try:
            stream = obstore.list(self._usable(), prefix or None, offset=after or None, chunk_size=_PAGE)
            for page in stream:
                entries = [_entry(meta) for meta in page]
                if not all(entry.size for entry in entries):
                    raise BulkError("an empty object")
                yield [entry for entry in entries if entry.key > after]
        except (BaseError, OSError, ValueError) as error:
            raise self._failed(error) from error
        self._failures = 0

    def level(self, prefix: str) -> Level:
        """List one level of names; see `pages`."""
        try:
            found = obstore.list_with_delimiter(self._usable(), prefix or None)
            entries = tuple(_entry(meta) for meta in found["objects"])
            folders = tuple(f"{name}/" for name in found["common_prefixes"])
        except (BaseError, OSError, ValueError) as error:
            raise self._failed(error) from error
        if not all(entry.size for entry in entries):
            raise BulkError("an empty object")
        self._failures = 0
        return Level(entries, folders)

    def _usable(self) -> Client:
        if self._client is None or self._failures >= _FAILURES:
            raise BulkError("not in use")
        return self._client

    def _failed(self, error: Exception) -> BulkError:
        if not isinstance(error, _HARMLESS):
            self._failures += 1
        return BulkError(str(error))


def _entry(meta: Any) -> Entry:
    modified_us = (meta["last_modified"] - _EPOCH) // timedelta(microseconds=1)
    return Entry(meta["path"], meta["size"], (meta["e_tag"] or "").strip('"'), modified_us)
