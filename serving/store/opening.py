"""From a URI to a store."""

import importlib
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.errors import InvalidStoreUriError, MissingExtraError
from serving.store.folder import FolderStore, make_folder
from serving.store.port import Store


def open_store(
    uri: str,
    *,
    create: bool = False,
    endpoint: str | None = None,
    region: str | None = None,
    credentials: Mapping[str, str] | None = None,
) -> Store:
    """Open the store that a setting names.

    Args:
        uri: A path, ``file:///path``, ``s3://bucket/prefix`` or ``http(s)://host/path`` (read-only).
        create: Make a missing folder. Not by default, because a misspelt path or an unmounted disk must not look like
            an empty store. Buckets are never created.
        endpoint: The address of an S3 service; what boto3 finds when left out.
        region: Its region; likewise.
        credentials: The variables that boto3 would read (``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE`` …), for processes that
            may not have them in their environment; what boto3 finds when left out.

    Raises:
        MissingStoreError: The folder does not exist. A bucket is looked at with the first call, not here.
        InvalidStoreUriError: The URI is of no known kind.
        MissingExtraError: ``s3://`` without boto3.

    Example:
        >>> import tempfile
        >>> store = open_store(tempfile.mkdtemp())
        >>> store.put("raw/pumps/1.json", b"{}")
        >>> [entry.key for entry in store.list("raw/")]
        ['raw/pumps/1.json']
    """
    scheme, separator, _ = uri.partition("://")
    if not separator:
        scheme = "file"
    parts = urllib.parse.urlsplit(uri) if separator else None
    if parts and "@" in parts.netloc:
        raise InvalidStoreUriError(
            "the store URI carries credentials",
            where=f"{scheme}://…@{parts.hostname}",
            why="URIs end up in logs and reports",
            fix="leave them out; S3 credentials come from boto3's own chain",
        )
    match scheme.lower():
        case "file":
            store = FolderStore(_folder_of(uri))
            if create:
                make_folder(store.root)
            store.require_root()
            return store
        case "http" | "https":
            return _open_adapter("serving.web", "HttpStore", uri)
        case "s3":
            return _open_adapter(
                "serving.s3", "S3Store", uri, endpoint=endpoint, region=region, credentials=credentials
            )
    raise InvalidStoreUriError(
        f"no store is opened by {scheme}://", where=uri, fix="use a path, file:///…, s3://bucket/prefix or http(s)://…"
    )


def _folder_of(uri: str) -> Path:
    if "://" not in uri:
        if not uri.strip():
            raise InvalidStoreUriError(
                "the store URI is empty", fix="set TIDEMILL_STORE to a path or s3://bucket/prefix"
            )
        return Path(uri).expanduser()
    parts = urllib.parse.urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise InvalidStoreUriError("a file URI needs three slashes and an absolute path", where=uri, fix="file:///data")
    return Path(urllib.parse.unquote(parts.path))


def _open_adapter(name: str, kind: str, uri: str, **service: Any) -> Store:
    """Load the adapter only now: boto3 is not everywhere, and a web client costs time and memory of its own."""
    try:
        adapter = getattr(importlib.import_module(name), kind)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in ("boto3", "botocore", "obstore"):
            raise
        raise MissingExtraError(
            f"s3:// needs {missing}",
            where=uri,
            why="the base installation leaves it out",
            fix="pip install 'tidemill[s3]'",
        ) from error
    opened: Store = adapter.open(uri, **service)
    return opened
