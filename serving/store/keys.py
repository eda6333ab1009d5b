"""Which keys a store can hold."""

import os
from typing import Final

from serving.errors import InvalidKeyError

TEMPORARY: Final = ".tidemill-"
"""Beginning of the names of files that are not objects yet; no key may use it."""
_KEY_BYTES = 1024  # S3's limit
_SEGMENT_BYTES = 255  # the limit of a file name
_FIRST_PRINTABLE, _DELETE = 0x20, 0x7F


def check_key(key: str) -> str:
    """The key itself when every kind of store can hold it; ``InvalidKeyError`` otherwise.

    Example:
        >>> check_key("raw/pumps/2026/11/22/00/a.json.gz")
        'raw/pumps/2026/11/22/00/a.json.gz'
    """
    why = ""
    if any(ord(letter) < _FIRST_PRINTABLE or ord(letter) == _DELETE for letter in key):
        why = "it holds control characters"
    elif "\\" in key:
        why = "it holds a backslash"
    else:
        try:
            encoded = key.encode()
            if len(encoded) > _KEY_BYTES or max(map(len, encoded.split(b"/"))) > _SEGMENT_BYTES:
                why = f"it is longer than {_KEY_BYTES} bytes, or a segment than {_SEGMENT_BYTES}"
        except UnicodeEncodeError:
            why = "it is not valid Unicode"
    if why:
        raise InvalidKeyError("a key was refused", where=ascii(key)[:200], why=why, fix="use relative/keys/like.this")
    return check_readable(key)


def check_readable(key: str) -> str:
    """The key itself when it stays within the store; looser than ``check_key``, because others write odd names too."""
    why = ""
    if not key:
        why = "it is empty"
    elif key.startswith("/"):
        why = "it is absolute"
    elif "\0" in key:
        why = "it holds a NUL"
    elif any(segment in ("", ".", "..") for segment in key.split("/")):
        why = "it has an empty, '.' or '..' segment"
    elif any(segment.startswith(TEMPORARY) for segment in key.split("/")):
        why = f"names that start with {TEMPORARY!r} are reserved for unfinished writes"
    else:
        try:
            os.fsencode(key)
        except UnicodeEncodeError:
            why = "it is not valid Unicode"
    if why:
        raise InvalidKeyError("a key was refused", where=ascii(key)[:200], why=why, fix="use relative/keys/like.this")
    return key
