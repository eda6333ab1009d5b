"""Records of files of columns (CSV, Parquet, Avro) as JSON, for the quarantine and for their replay from there."""

import base64
import json
from typing import Any

from features.mapping import Mapping
from pipelines.formats.rows import Instant
from pipelines.formats.times import iso_text

_DIVISORS = {"ms": (1, 1000), "us": (1, 1), "ns": (1000, 1)}


def as_json(record: object, mapping: Mapping) -> bytes:
    """A record as JSON that the fleet's mapping reads alike.

    Example:
        >>> as_json({"at": Instant(1764000000123000), "Body": b"{}"}, Mapping(time_unit="ms"))
        b'{"at": 1764000000123, "Body": "e30="}'
    """
    text = json.dumps(_written(record, mapping), default=str, ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")


def _written(value: Any, mapping: Mapping) -> Any:
    if isinstance(value, dict):
        return {str(name): _written(each, mapping) for name, each in value.items()}
    if isinstance(value, list):
        return [_written(each, mapping) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _moment(value, mapping.time_unit) if isinstance(value, Instant) else value


def _moment(time_us: int, unit: str) -> object:
    if unit == "iso":
        return iso_text(time_us)
    if unit == "s":
        return time_us / 1e6
    factor, divisor = _DIVISORS[unit]
    return int(time_us) * factor // divisor
