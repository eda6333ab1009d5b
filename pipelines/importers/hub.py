"""Raw objects as an IoT hub writes them: gzipped JSON lines under an hour's prefix.

Importers of public data sets and the simulated fleet write through this one writer, so that what they produce reaches
the lake by the same road as real telemetry. The same messages give the same bytes (no time stamp in the gzip header).
"""

import gzip
import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serving.store import Store

_ODD = re.compile(r"[^A-Za-z0-9._=-]+")


class RawWriter:
    """Writes the raw objects of one fleet.

    Example:
        >>> import tempfile
        >>> from serving.store import open_store
        >>> writer = RawWriter(open_store(tempfile.mkdtemp()), "pumps")
        >>> message = {"device": "pump-1", "ts": 1764000000123, "values": {"flow": 120.5}}
        >>> writer.write_telemetry("gateway-a-000001", 1_764_000_000_000_000, [message])
        'raw/pumps/telemetry/2025/11/24/16/gateway-a-000001.json.gz'
    """

    def __init__(self, store: Store, fleet: str, *, level: int = 6) -> None:
        """Write into ``store`` for ``fleet``; ``level`` is gzip's (1 fast .. 9 small)."""
        self._store = store
        self._fleet = fleet
        self._level = level

    def write_telemetry(self, name: str, arrived_us: int, messages: Iterable[Mapping[str, Any]] | bytes) -> str:
        """Write one object of telemetry.

        Args:
            name: Name of the object without suffix, unique within its hour.
            arrived_us: When the hub flushed the object, UTC microseconds; it decides the prefix.
            messages: Messages in the shape of the fleet's mapping, or ready-made JSON lines as bytes.

        Returns:
            The key of the object.
        """
        return self._write("telemetry", name, arrived_us, messages)

    def write_events(self, name: str, arrived_us: int, events: Iterable[Mapping[str, Any]] | bytes) -> str:
        """Write one object of events: ``{"device", "ts", "kind", "detail", "known_at"}``, times in milliseconds.

        ``known_at`` is when the event became known, which can be long after it happened.
        """
        return self._write("events", name, arrived_us, events)

    def _write(self, stream: str, name: str, arrived_us: int, messages: Iterable[Mapping[str, Any]] | bytes) -> str:
        key = self.key(stream, name, arrived_us)
        self.put(key, messages if isinstance(messages, bytes) else json_lines(messages))
        return key

    def key(self, stream: str, name: str, arrived_us: int) -> str:
        """The key of an object of ``telemetry`` or ``events``."""
        hour = datetime.fromtimestamp(arrived_us // 1_000_000, UTC)
        return f"raw/{self._fleet}/{stream}/{hour:%Y/%m/%d/%H}/{name}.json.gz"

    def put(self, key: str, lines: bytes) -> None:
        """Write JSON lines under a key."""
        self._store.put(key, gzip.compress(lines, self._level, mtime=0))


def object_name(path: Path) -> str:
    """A name for the object that a file's rows go into: letters, digits and ``._=-`` of the file's own.

    Example:
        >>> object_name(Path("/home/me/plant 1 (old).csv"))
        'plant-1-old-.csv'
    """
    return _ODD.sub("-", path.name)


def json_lines(messages: Iterable[Mapping[str, Any]]) -> bytes:
    r"""Encode messages as JSON lines.

    Example:
        >>> json_lines([{"device": "pump-1"}, {"device": "pump-2"}])
        b'{"device":"pump-1"}\n{"device":"pump-2"}\n'
    """
    return "".join(json.dumps(message, separators=(",", ":")) + "\n" for message in messages).encode()
