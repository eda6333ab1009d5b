"""Counts and spans of time in words, alike on pages, in tags and in reasons."""

_MINUTE_US = 60_000_000
_HOUR_US = 60 * _MINUTE_US
_DAY_US = 24 * _HOUR_US


def gateways(count: int) -> str:
    """So many gateways, in words.

    Example:
        >>> gateways(0), gateways(1), gateways(10_000)
        ('0 gateways', '1 gateway', '10,000 gateways')
    """
    return f"{count:,} gateway{'s' * (count != 1)}"


def age(us: int) -> str:
    """Return a span of time in words that fit into a cell.

    Example:
        >>> age(42_000_000), age(3 * 3_600_000_000), age(50 * 3_600_000_000)
        ('42 s', '3 h', '2 d')
    """
    if us < _MINUTE_US:
        return f"{max(0, us) // 1_000_000} s"
    if us < _HOUR_US:
        return f"{us // _MINUTE_US} min"
    return f"{us // _HOUR_US} h" if us < 2 * _DAY_US else f"{us // _DAY_US} d"
