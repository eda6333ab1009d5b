"""Commands about features: which there are, and bringing them up to date."""

import dataclasses
import shutil
import textwrap
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.parameters import FLEET

if TYPE_CHECKING:
    from features.description import Description
    from features.featureset import FeatureSet

HOUR = timedelta(hours=1)
HEADER = ("feature", "unit", "window", "statistic", "definition", "source")
ANY_WIDTH = 10_000  # of what is no terminal


@click.group(help="Show the features that a fleet's models see.")
def features() -> None:
    """Group of what is known about features."""


@command(
    "Show each feature of a fleet: unit, window, statistic, definition and source.",
    example="tidemill features show pumps",
    also="Everything is read off the declaration in features/catalog. --markdown writes the table for documents.",
)
@click.argument("fleet", type=FLEET)
@click.option("--markdown", is_flag=True, help="Write the table as Markdown.")
def show(run: Run, fleet: str, markdown: bool) -> Outcome:  # noqa: ARG001, FBT001 - every command has a run; click
    """Show the features of a catalog entry."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from features.description import describe  # noqa: PLC0415 - see above

    found = catalog.load(fleet).features
    described = describe(found)
    payload = {
        "fleet": fleet,
        "digest": found.digest,
        "pane_s": found.pane.total_seconds(),
        "every_s": found.every.total_seconds(),
        "warm_up_s": found.warm_up.total_seconds(),
        "features": [dataclasses.asdict(each) for each in described],
        "feature_set": found.to_json(),
    }
    if markdown:
        return Outcome(payload, [*_head(found), "", *_markdown(described)])
    width = shutil.get_terminal_size((ANY_WIDTH, 24)).columns
    return Outcome(payload, [*_head(found), "", *_readable(described, width)])


@command("List the fleets that features are declared for.", example="tidemill features list", name="list")
def list_(run: Run) -> Outcome:  # noqa: ARG001 - every command has a run
    """List the catalog."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it

    sets = {name: catalog.load(name).features for name in catalog.names()}
    rows = [(name, len(found.names), len(found.fleet.signals), found.digest) for name, found in sets.items()]
    payload = [
        {"fleet": name, "features": count, "signals": signals, "digest": digest}
        for name, count, signals, digest in rows
    ]
    return Outcome({"fleets": payload}, table(("fleet", "features", "signals", "digest"), rows))


features.add_command(show)
features.add_command(list_)


def _head(found: "FeatureSet") -> list[str]:
    from features.feature import duration_name  # noqa: PLC0415 - `--help` must not pay for it

    rhythm = f"a row every {duration_name(found.every)}, panes of {duration_name(found.pane)}"
    return [
        f"{found.fleet.name}: {found.fleet.description}",
        f"{len(found.names)} features, {rhythm}, first row after {duration_name(found.warm_up)}",
        found.digest,
    ]


def _cells(described: "Description") -> tuple[str, ...]:
    return tuple(getattr(described, name) for name in ("name", *HEADER[1:]))


def _readable(described: "tuple[Description, ...]", width: int) -> list[str]:
    """A table where it fits, else a few lines for each feature: nothing is cut off."""
    wide = table(HEADER, [_cells(each) for each in described])
    if max(map(len, wide)) <= width:
        return wide
    lines: list[str] = []
    for each in described:
        lines += _wrapped(f"{each.name} [{each.unit}]", width)
        over = f"{each.statistic}, {each.window}, of {each.source}"
        lines += [line for text in (over, each.definition) for line in _wrapped(text, width, "  ")]
    return lines


def _wrapped(text: str, width: int, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, max(width, 20), initial_indent=indent, subsequent_indent=indent + "  ", break_on_hyphens=False
    )


def _markdown(described: "tuple[Description, ...]") -> list[str]:
    rows = [[cell.replace("|", "\\|") for cell in _cells(each)] for each in described]
    return [f"| {' | '.join(row)} |" for row in (HEADER, ["---"] * len(HEADER), *rows)]
