"""``tidemill probe``: the first look at one's own telemetry."""

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.errors import CommandError
from infra.local.parameters import iso

if TYPE_CHECKING:
    from pipelines.probing.draft import Trial
    from pipelines.probing.survey import Seen, Survey
    from pipelines.records import RawObject

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_SHOWN = 40
_CELL = 44
_LARGE = 1e8  # from there on a number is a time or a count, and every digit says something


@command(
    "Look at an object of telemetry and draft a fleet for it.",
    example="tidemill probe ~/export/2026-01-05.json.gz --fleet presses --write features/catalog/presses.py",
    also="OBJECT is a file, or a key in the store. The draft is a guess: nothing is read by it before you have "
    "confirmed it and filled in the units. Without --write the draft is printed.",
)
@click.argument("name", metavar="OBJECT")
@click.option("--fleet", default="", metavar="NAME", help="Name of the fleet.  [default: from the object's name]")
@click.option("--write", type=click.Path(path_type=Path, dir_okay=False), metavar="PATH", help="Write the draft there.")
def probe(run: Run, name: str, fleet: str, write: Path | None) -> Outcome:
    """Probe an object."""
    from pipelines.formats import UnreadableError  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.probing.draft import catalog_text, draft  # noqa: PLC0415 - see above
    from pipelines.probing.guess import guess  # noqa: PLC0415 - see above
    from pipelines.probing.survey import survey  # noqa: PLC0415 - see above

    if write is not None and write.exists():
        raise CommandError(f"{write} exists already", where="--write", fix="choose another path, or remove the file")
    raw = _fetched(run, name)
    try:
        seen = survey(raw.data)
    except UnreadableError as error:
        raise CommandError("the object cannot be read", where=name, why=str(error), fix="probe another one") from error
    proposed = guess(seen, raw.key)
    payload: dict[str, Any] = {"object": name, **_facts(seen), "remarks": list(proposed.remarks)}
    lines = _told(name, seen)
    if proposed.mapping is None:
        lines += ["", *[f"! {remark}" for remark in proposed.remarks], "no draft: write the mapping by hand"]
        return Outcome({**payload, "draft": None}, lines, ok=False)
    made, trial = draft(fleet or _fleet_name(raw.key), proposed, raw, run.now_us)
    text = catalog_text(made, proposed)
    ast.parse(text)
    payload |= {"mapping": made.lies.to_json(), "signals": list(made.signal_names), "draft": text}
    payload |= {"rows": trial.rows, "rejected": trial.rejected}
    lines += ["", *_tried(trial), *[f"! {remark}" for remark in proposed.remarks], ""]
    if write is None:
        return Outcome(payload, [*lines, text.rstrip()])
    write.write_text(text, encoding="utf-8")
    return Outcome(payload, [*lines, f"draft written to {write}: fill in the units, then tidemill ingest {made.name}"])


def _fetched(run: Run, name: str) -> "RawObject":
    from pipelines.records import RawObject  # noqa: PLC0415 - see above

    path = Path(name).expanduser()
    if path.is_file():
        return RawObject(str(path.resolve()), path.read_bytes())
    return RawObject(name, run.open_store().get(name))


def _fleet_name(key: str) -> str:
    found = re.search(r"(?:^|/)raw/([^/]+)/", key)
    word = re.sub(r"\W+", "_", found[1] if found else key.rpartition("/")[2].partition(".")[0]).strip("_").lower()
    return word if _WORD.fullmatch(word) else "fleet"


def _facts(seen: "Survey") -> dict[str, Any]:
    fields = [
        {
            "path": each.path,
            "types": each.types,
            "low": each.low if each.low <= each.high else None,
            "high": each.high if each.low <= each.high else None,
            "examples": [str(example)[:200] for example in each.examples],
        }
        for each in seen.fields.values()
    ]
    facts = {"packing": list(seen.packing), "container": seen.container, "bytes": seen.size, "envelope": seen.envelope}
    return {**facts, "records": seen.records, "more": seen.more, "unreadable": seen.unreadable, "fields": fields}


def _told(name: str, seen: "Survey") -> list[str]:
    packed = "".join(f"{each}, " for each in seen.packing)
    many = f"the first {seen.records:,} records" if seen.more else f"{seen.records:,} record{'s' * (seen.records != 1)}"
    lines = [f"{name}: {packed}{seen.container}; {seen.size:,} bytes; {many}"]
    if seen.unreadable:
        lines.append(f"{seen.unreadable:,} of them could not be read")
    if seen.envelope:
        lines.append(f"an envelope: the device's message is in {seen.envelope}, shown here as body.…")
    shown = list(seen.fields.values())[:_SHOWN]
    rows = [[each.path, _types(each), _range(each), _examples(each)] for each in shown]
    lines += ["", *table(["field", "type", "range", "for example"], rows)]
    if len(seen.fields) > _SHOWN:
        lines.append(f"… and {len(seen.fields) - _SHOWN} more fields")
    return lines


def _types(seen: "Seen") -> str:
    return ", ".join(sorted((name for name in seen.types), key=lambda name: -seen.types[name]))


def _range(seen: "Seen") -> str:
    if seen.low <= seen.high:
        digits = ".7g" if seen.high < _LARGE else ".19g"
        return f"{seen.low:{digits}} to {seen.high:{digits}}"
    return f"{len(seen.texts):,} different" if len(seen.texts) > 1 else ""


def _examples(seen: "Seen") -> str:
    text = ", ".join(str(example) for example in seen.examples)
    return text if len(text) <= _CELL else text[: _CELL - 1] + "…"


def _tried(trial: "Trial") -> list[str]:
    names, count = trial.devices
    some = ", ".join([*names, *(["…"] if count > len(names) else [])])
    noun = "device" if count == 1 else "devices"
    lines = [f"read by the draft: {trial.rows:,} readings of {count:,} {noun} ({some})"]
    if trial.rows:
        lines.append(f"from {iso(trial.first_us)} to {iso(trial.last_us)}")
    if trial.rejected:
        lines.append("rejected: " + ", ".join(f"{number:,} {reason}" for reason, number in trial.rejected.items()))
    return lines
