"""Messages that stand in the texts of envelopes."""

import base64

from features.schema import Reason
from pipelines.salvage import FaultError, parse_whole


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
