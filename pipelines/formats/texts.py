"""Values that stand inside texts: numbers in quotes, and messages in envelopes."""

import base64
import re

from features.mapping import NULL_TEXTS
from features.schema import Reason
from pipelines.salvage import FaultError, parse_whole

_WHOLE = re.compile(r"-?[0-9]{1,19}")


def unquoted(value: object, *, whole: bool) -> object:
    """A number out of its quotes; what is none stays as it is, for the reader to refuse."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text in NULL_TEXTS:
        return None
    if whole:
        return int(text) if _WHOLE.fullmatch(text) else value
    try:
        return value if "_" in text else float(text)
    except ValueError:
        return value


def decode_body(found: object) -> object:
    """The message in an envelope: an object already, JSON as text or bytes, or either in base64.

    Raises:
        FaultError: It is none of these.

    Example:
        >>> decode_body("eyJhIjogMX0="), decode_body(b'{"a": 1}'), decode_body(None)
        ({'a': 1}, {'a': 1}, None)
    """
    if found is None or isinstance(found, dict | list):
        return found
    if not isinstance(found, str | bytes):
        raise FaultError(Reason.UNREADABLE, "The body is neither an object nor a text.")
    try:
        return parse_whole(message_in(found))
    except (ValueError, RecursionError):
        raise FaultError(Reason.UNREADABLE, "The body is no JSON.") from None


def message_in(found: str | bytes) -> bytes:
    """The text of the message in an envelope, out of base64 where it is in that.

    Raises:
        ValueError: It is neither the text of an object or a list, nor base64.
    """
    data = found.encode("utf-8", "surrogateescape") if isinstance(found, str) else found
    if data.lstrip()[:1] not in (b"{", b"["):
        data = base64.b64decode(data, validate=True)
    return data.removeprefix(b"\xef\xbb\xbf")
