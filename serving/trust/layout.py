"""How the repository of updates is laid out, for those who write it and those who read it."""

from datetime import UTC, datetime, timedelta

PREFIX = "updates"
RELEASES_ROLE = "releases"
DEVELOPMENT_MARK = "development"
"""Field of a root whose private keys lie unencrypted beside the stack."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(time_us: int) -> datetime:
    """UTC microseconds as the kind of time that TUF compares.

    Example:
        >>> moment(1_000_000).isoformat()
        '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=time_us)


def hashed_path(path: str, sha256: str) -> str:
    """Where consistent snapshots keep a published file: versions of one path live side by side.

    Example:
        >>> hashed_path("releases/pump_failure.json", "ab12")
        'releases/ab12.pump_failure.json'
    """
    folder, slash, name = path.rpartition("/")
    return f"{folder}{slash}{sha256}.{name}"
