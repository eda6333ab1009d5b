"""Commands about features: which there are, and bringing them up to date."""

import dataclasses
import shutil
import textwrap
from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.parameters import DAY, FLEET
from infra.local.partitions import DATES, ENGINES, STAGES, Dates, Way, in_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from features.description import Description
    from features.featureset import FeatureSet
    from pipelines.lake import Lake
    from pipelines.materialize import MaterializeSummary
    from pipelines.touched import Touched

HEADER = ("feature", "unit", "window", "statistic", "definition", "source")
ANY_WIDTH = 10_000  # of what is no terminal
MOST_NAMED = 8


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


@command(
    "Bring panes and feature rows up to date.",
    example="tidemill materialize pumps --explain",
    also="Only what new readings and events touched is computed. --explain follows it to the versions that learned "
    "from it and the predictions that were made from it; with --dry-run nothing is written. Where one machine is "
    "outgrown: --engine spark (make spark), or --stage plan, then --stage panes for each run of dates in as many "
    "processes as you like, then --stage rows. With --since the days asked for are made again, and no others.",
)
@click.argument("fleet", type=FLEET)
@click.option("--explain", is_flag=True, help="Say which rows, training sets and predictions were touched.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option("--engine", default="local", type=click.Choice(ENGINES), help="Who does the work.")
@click.option("--master", default="local[*]", metavar="URL", help="Where Spark works: local[n] or a cluster.")
@click.option("--stage", type=click.Choice(STAGES), help="Only this stage.  [default: all of them]")
@click.option("--since", type=DAY, metavar="DATE", help="Make the rows of these days again, whether behind or not ...")
@click.option(
    "--until", type=DAY, metavar="DATE", help="... up to this day, which is not among them.  [default: one day]"
)
@click.option("--dates", type=DATES, metavar="FIRST..LAST", help="Only panes of these dates.  [default: all]")
def materialize(
    run: Run,
    fleet: str,
    *,
    explain: bool,
    dry_run: bool,
    engine: str,
    master: str,
    stage: str | None,
    dates: Dates | None,
    since: date | None,
    until: date | None,
) -> Outcome:
    """Materialize the features of a fleet."""
    if since or until:
        if engine != "local" or stage or explain or dry_run or dates:
            raise click.UsageError("--since goes with the local engine and all stages, and with --until alone")
        return _again(run, fleet, since, until)
    if engine != "local" or stage:
        if explain or dry_run:
            raise click.UsageError("--explain and --dry-run go with the local engine and all stages")
        return in_parts(run, fleet, Way(engine, master, stage, dates))
    if dates:
        raise click.UsageError("--dates goes with --stage panes")
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake import Lake  # noqa: PLC0415 - see above
    from pipelines.materialize import foresee  # noqa: PLC0415 - see above
    from pipelines.materialize import materialize as bring_up  # noqa: PLC0415 - see above

    store, declared = run.open_store(), catalog.load(fleet).features.computable
    lake = Lake(store.uri)
    summary = (foresee if dry_run else bring_up)(lake, declared, run.console.progress)
    done = {name: getattr(summary, name) for name in ("readings", "panes", "rows", "dates", "batch", "version")}
    payload = {"fleet": fleet, "store": store.uri, **done, "dry_run": dry_run}
    of = " with new readings" if dry_run else f" of {_counted(summary.readings, 'reading')}"
    rows = _counted(summary.rows, "feature row") + (" to compute" if dry_run else " computed")
    lines = [f"{_counted(summary.panes, 'pane')}{of}, {rows}"]
    lines += [_dates(summary.dates) if summary.dates else "nothing has changed"]
    if not explain:
        return Outcome(payload, lines)
    touched, unknown = _touched(run, lake, declared, summary)
    return Outcome({**payload, "touched": dataclasses.asdict(touched)}, [*lines, *_explained(touched, unknown)])


def _again(run: Run, fleet: str, since: date | None, until: date | None) -> Outcome:
    """Make the panes and rows of some days again."""
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake import Lake  # noqa: PLC0415 - see above
    from pipelines.remaking import remake  # noqa: PLC0415 - see above

    if since is None:
        raise click.UsageError("--until goes with --since")
    last = until - timedelta(days=1) if until else since
    if last < since:
        raise click.UsageError(f"there is no day from {since} to before {until}")
    store, declared = run.open_store(), catalog.load(fleet).features.computable
    found = remake(Lake(store.uri), declared, since.isoformat(), last.isoformat(), run.console.progress)
    done = {name: getattr(found, name) for name in ("readings", "panes", "rows", "dates", "batch", "version")}
    lines = [f"{_counted(found.panes, 'pane')} and {_counted(found.rows, 'feature row')} made again"]
    lines += [_dates(found.dates) if found.dates else f"nothing is stored from {since} to {last}"]
    return Outcome({"fleet": fleet, "store": store.uri, **done, "since": str(since), "last": str(last)}, lines)


def _touched(run: Run, lake: "Lake", declared: "FeatureSet", summary: "MaterializeSummary") -> "tuple[Touched, str]":
    """What was touched, and why the registry did not say; no registry is asked where nothing was."""
    from pipelines.errors import RegistryError, RegistryUnreachableError  # noqa: PLC0415 - see above
    from pipelines.touched import predictions_on, trace, usecases_of  # noqa: PLC0415 - see above

    fleet, learned, unknown = declared.fleet.name, None, ""
    if not summary.dates:
        return trace(summary, declared.digest, (), {}), ""
    from pipelines.registry import Registry  # noqa: PLC0415 - MLflow takes seconds to load

    registry = Registry(run.settings.tracking)
    try:
        learned = [found for usecase in usecases_of(fleet) for found in registry.training_sets(usecase)]
    except RegistryUnreachableError:
        unknown = "the registry does not answer"
    except RegistryError as error:
        unknown = error.what
    return trace(summary, declared.digest, learned, predictions_on(lake, fleet, summary.dates)), unknown


def _explained(touched: "Touched", unknown: str) -> list[str]:
    learned = touched.training_sets
    predicted = [f"{count:,} of {version}" for version, count in touched.predictions.items()]
    sets = f"unknown: {unknown}" if learned is None else f"{len(learned)} touched"
    return [
        f"devices        {_counted(len(touched.devices), 'device')}{_named(touched.devices)}",
        f"training sets  {sets}{_named(learned or ())}",
        f"predictions    {sum(touched.predictions.values()):,} touched{_named(predicted)}",
    ]


def _named(names: "Sequence[str]") -> str:
    if not names:
        return ""
    more = f" and {len(names) - MOST_NAMED} more (--json names all)" if len(names) > MOST_NAMED else ""
    return f": {', '.join(names[:MOST_NAMED])}{more}"


def _dates(dates: "Sequence[str]") -> str:
    return f"{_counted(len(dates), 'date')}, {dates[0]} to {dates[-1]}"


def _counted(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
