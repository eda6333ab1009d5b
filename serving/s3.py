"""Objects in S3, or in anything that speaks its API; the one module that imports boto3.

Endpoint, region and credentials come from boto3's own chain (``AWS_*``, profiles, instance roles), never from the URI.
Calls time out and are repeated by boto3. A repeated conditional write is told apart from a lost race by a mark in the
object's metadata: without it, a writer whose first answer got lost would take its own object for a rival's.

Checksums beyond the ones S3 demands are not sent, because many look-alikes refuse them.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, Self, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoAuthTokenError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
    ResponseStreamingError,
    SSOError,
)
from botocore.exceptions import ConnectionError as UnreachableError

from serving.errors import (
    InvalidStoreUriError,
    MissingObjectError,
    MissingStoreError,
    StoreDeniedError,
    StoreError,
    StoreUnreachableError,
)
from serving.store import Entry, check_key, check_readable

CONNECT_S = 5.0
READ_S = 30.0
ATTEMPTS = 4
PAGE = 1000  # keys of a listing that one request brings; S3 gives no more
_BUSY_S = 0.25
_MARK = "tidemill-writer"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_MISSING = {"NoSuchKey", "404", "NotFound"}
_DENIED = {
    "AccessDenied", "AccountProblem", "AllAccessDisabled", "AuthorizationHeaderMalformed", "ExpiredToken", "Forbidden",
    "InvalidAccessKeyId", "InvalidSecurity", "InvalidToken", "RequestTimeTooSkewed", "SignatureDoesNotMatch",
    "TokenRefreshRequired", "401", "403",
}  # fmt: skip
_ELSEWHERE = {"PermanentRedirect", "TemporaryRedirect", "IllegalLocationConstraintException", "301", "307"}
_UNWELL = 500
_TAKEN, _CONFLICT = 412, 409

_Answer = TypeVar("_Answer")


class S3Store:
    """A bucket, or a prefix in one. Safe to use from several threads.

    Args:
        client: A boto3 S3 client.
        bucket: Name of the bucket, which must exist.
        prefix: Part of every key, without slashes at its ends; may be empty.
    """

    def __init__(self, client: Any, bucket: str, prefix: str = "") -> None:
        self._client = client
        self._bucket = bucket
        self._folder = f"{prefix}/" if prefix else ""

    @classmethod
    def open(cls, uri: str) -> Self:
        """Open ``s3://bucket/prefix``; the bucket is looked at with the first call.

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
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            return cls(boto3.session.Session().client("s3", config=config), bucket, prefix)
        except (BotoCoreError, ValueError) as error:
            _raise_for(error, uri)

    @property
    def uri(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self._bucket}/{self._folder}".rstrip("/")

    def get(self, key: str) -> bytes:
        """The object; see ``serving.store.Store``."""
        name = self._folder + check_readable(key)

        def read() -> bytes:
            data: bytes = self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
            return data

        for _ in range(ATTEMPTS - 1):  # boto3 repeats requests, but not a body that breaks off
            try:
                return self._call(read, key)
            except StoreUnreachableError as error:
                if not isinstance(error.__cause__, (ResponseStreamingError, IncompleteReadError)):
                    raise
        return self._call(read, key)

    def put(self, key: str, data: bytes) -> None:
        """Write or replace the object; see ``serving.store.Store``."""
        name = self._folder + check_key(key)
        self._call(lambda: self._client.put_object(Bucket=self._bucket, Key=name, Body=data), key)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Write the object unless the key exists; see ``serving.store.Store``.

        Rests on S3's conditional write (``If-None-Match: *``). A service that ignores the condition lets both of two
        writers win; ``serving.probe`` finds that out.
        """
        name = self._folder + check_key(key)
        mark = secrets.token_hex(8)

        def write() -> bool | None:
            try:
                self._client.put_object(
                    Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*", Metadata={_MARK: mark}
                )
            except ClientError as error:
                answer = error.response.get("ResponseMetadata", {})
                if answer.get("HTTPStatusCode") == _TAKEN:
                    return bool(answer.get("RetryAttempts")) and self._marked(name, mark)
                if answer.get("HTTPStatusCode") == _CONFLICT:
                    return None
                raise
            return True

        for attempt in range(ATTEMPTS):
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
        arguments: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._folder + prefix}
        if after:
            arguments["StartAfter"] = self._folder + after
        pages = iter(
            self._client.get_paginator("list_objects_v2").paginate(**arguments, PaginationConfig={"PageSize": PAGE})
        )
        return self._entries(pages, prefix)

    def delete(self, key: str) -> None:
        """Remove the object if it is there; see ``serving.store.Store``."""
        name = self._folder + check_key(key)
        self._call(lambda: self._client.delete_object(Bucket=self._bucket, Key=name), key)

    def _entries(self, pages: Iterator[Any], prefix: str) -> Iterator[Entry]:
        while (page := self._call(lambda: next(pages, None), prefix)) is not None:
            for item in page.get("Contents", ()):
                if item["Key"].endswith("/"):
                    continue
                modified = (item["LastModified"] - _EPOCH) // timedelta(microseconds=1)
                key = item["Key"].removeprefix(self._folder)
                yield Entry(key, int(item["Size"]), item["ETag"].strip('"'), modified)

    def _marked(self, name: str, mark: str) -> bool:
        found = self._client.head_object(Bucket=self._bucket, Key=name)
        return bool(found["Metadata"].get(_MARK) == mark)

    def _call(self, call: Callable[[], _Answer], key: str) -> _Answer:
        try:
            return call()
        except (BotoCoreError, ClientError) as error:
            _raise_for(error, self._where(key))

    def _where(self, key: str) -> str:
        return f"{key} in {self.uri} at {self._client.meta.endpoint_url}"


def _raise_for(error: Exception, where: str) -> NoReturn:
    why = str(error)[:500]
    if isinstance(error, ClientError):
        raise _answered(error, where, why) from error
    if isinstance(error, (UnreachableError, HTTPClientError, IncompleteReadError)):
        raise StoreUnreachableError(
            "S3 cannot be reached", where=where, why=why, fix="check AWS_ENDPOINT_URL_S3 and the network"
        ) from error
    if isinstance(error, _NO_CREDENTIALS):
        raise StoreDeniedError(
            "there are no usable S3 credentials", where=where, why=why, fix="set AWS_PROFILE or the AWS_* keys"
        ) from error
    if isinstance(error, (ParamValidationError, ValueError)):
        raise InvalidStoreUriError("S3 cannot have such a bucket, key or endpoint", where=where, why=why) from error
    raise StoreError("S3 failed", where=where, why=why) from error


_NO_CREDENTIALS = (
    NoCredentialsError,
    PartialCredentialsError,
    CredentialRetrievalError,
    NoAuthTokenError,
    SSOError,
    ProfileNotFound,
)


def _answered(error: ClientError, where: str, why: str) -> StoreError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "NoSuchBucket":
        return MissingStoreError(
            "the bucket does not exist", where=where, fix="create it, or correct the URI or AWS_ENDPOINT_URL_S3"
        )
    if code in _MISSING:
        return MissingObjectError("no such object", where=where)
    if code in _DENIED:
        return StoreDeniedError("S3 refuses this", where=where, why=why, fix="check the credentials and their rights")
    if code in _ELSEWHERE:
        return StoreDeniedError("the bucket is in another region", where=where, why=why, fix="set AWS_DEFAULT_REGION")
    if status >= _UNWELL or code in ("SlowDown", "RequestTimeout", "Throttling"):
        return StoreUnreachableError("S3 is not well", where=where, why=why, fix="repeat it later")
    return StoreError("S3 failed", where=where, why=why)
