"""The page for programs: overview and gateways as JSON, gateways as CSV.

Times are ISO 8601, ages are seconds; what is not known is null.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from typing import Any

from serving.fleet import Overview
from serving.journal import iso
from serving.muster import Seen

FORMAT = 1
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")


def overview(found: Overview) -> dict[str, Any]:
    """Return everything about a use case but the single gateways."""
    plain = {field.name: getattr(found, field.name) for field in fields(found) if field.name not in ("seen", "told")}
    told = {"at": iso(found.told.at_us), **{name: found.told.fields[name] for name in sorted(found.told.fields)}}
    return {"format": FORMAT, **_plain(plain), "told": told, "spreading": found.spreading}


def gateway(seen: Seen) -> dict[str, Any]:
    """Return a gateway as one flat object."""
    report = _plain(asdict(seen.report))
    pace = seen.pace
    return {
        "gateway": report.pop("gateway"),
        "standing": seen.state,
        "reported_version": report.pop("version"),
        **report,
        "predictions_per_minute": round(pace.predictions, 3) if pace else None,
        "alerts_per_minute": round(pace.alerts, 3) if pace else None,
    }


def rows(seen: Iterable[Seen]) -> str:
    """Return gateways as CSV, with a header.

    Cells that a spreadsheet would take for a formula begin with an apostrophe: names and reasons come from gateways.
    """
    written = io.StringIO()
    writer: Any = None
    for each in map(gateway, seen):
        if writer is None:
            writer = csv.DictWriter(written, each)
            writer.writeheader()
        writer.writerow({name: _cell(value) for name, value in each.items()})
    return written.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_DANGEROUS) else value


def _plain(value: Any, name: str = "") -> Any:
    """As JSON has it; a time ``at_us`` becomes ``at``, in words that calendars know."""
    if hasattr(value, "__dataclass_fields__"):
        return _plain({field: getattr(value, field) for field in value.__dataclass_fields__})
    if isinstance(value, Mapping):
        return {_renamed(str(key)): _plain(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    if name.endswith("_us") and not name.endswith("age_us"):
        return iso(value)
    return round(value / 1_000_000) if name.endswith("age_us") else value


def _renamed(name: str) -> str:
    if name.endswith("age_us"):
        return f"{name.removesuffix('_us')}_s"
    return name.removesuffix("_us")
