"""Numbers that stand in quotes, as gateways and ingest read them alike."""

import re

NULL_TEXTS = frozenset({"", "null", "NULL", "NA", "N/A", "NaN", "nan", "None"})
"""Texts that stand for a missing number where numbers may be quoted."""
_WHOLE = re.compile(r"-?[0-9]{1,19}")


def unquoted(value: object, *, whole: bool) -> object:
    """A number out of its quotes; what is none stays as it is, for the reader to refuse.

    Args:
        value: What stands in the record.
        whole: Whether a whole number is expected.

    Example:
        >>> [unquoted(text, whole=True) for text in ("12", " NA ", "1.5")], unquoted("1.5", whole=False)
        ([12, None, '1.5'], 1.5)
    """
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
