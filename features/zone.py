"""Zones of times that name none: UTC, or a fixed distance from it."""

import re

_ZONE = re.compile(r"UTC|Z|[+-]\d\d:\d\d")


def is_zone(text: str) -> bool:
    """Whether a text is ``UTC``, ``Z`` or an offset.

    Example:
        >>> is_zone("+01:00"), is_zone("Europe/Berlin")
        (True, False)
    """
    return _ZONE.fullmatch(text) is not None


def offset_us(zone: str | None) -> int | None:
    """How far a zone is ahead of UTC, microseconds.

    Example:
        >>> offset_us("+01:30"), offset_us("UTC"), offset_us(None)
        (5400000000, 0, None)
    """
    if zone is None:
        return None
    if not zone.startswith(("+", "-")):
        return 0
    minutes = int(zone[1:3]) * 60 + int(zone[4:6])
    return (-minutes if zone.startswith("-") else minutes) * 60_000_000
