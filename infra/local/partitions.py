"""`tidemill materialize` in stages and with Spark: the options, and what is said of the results."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run

if TYPE_CHECKING:
    from features.featureset import FeatureSet
    from pipelines.lake import Lake
    from pipelines.partitions import Crew

ENGINES = ("local", "spark")
STAGES = ("plan", "panes", "rows")

Dates = tuple[str, str]


class _DatesType(click.ParamType[Dates]):
    """A run of dates, ``2026-01-05..2026-01-11``, or a single date.

    Example:
        >>> _DatesType().convert("2026-01-05..2026-01-11", None, None), _DatesType().convert("2026-01-05", None, None)
        (('2026-01-05', '2026-01-11'), ('2026-01-05', '2026-01-05'))
    """

    name = "dates"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Dates:
        """Return the first and the last date."""
        if isinstance(value, tuple):
            return value
        first, _, last = str(value).partition("..")
        try:
            low, high = date.fromisoformat(first), date.fromisoformat(last or first)
        except ValueError:
            self.fail(f"{value!r} is no run of dates, for example 2026-01-05..2026-01-11.", param, ctx)
        if high < low:
            self.fail(f"{value!r} ends before it begins.", param, ctx)
        return low.isoformat(), high.isoformat()


DATES = _DatesType()


@dataclass(frozen=True, slots=True)
class Way:
    """How to materialize.

    Attributes:
        engine: Who does the work, one of `ENGINES`.
        master: Where Spark works.
        stage: The one stage to do, one of `STAGES`; all when None.
        dates: The dates to make panes of; all when None.
    """

    engine: str
    master: str
    stage: str | None
    dates: Dates | None


def in_parts(run: Run, fleet: str, way: Way) -> Outcome:
    """Materialize a fleet, or do one stage of it.

    Raises:
        click.UsageError: The options do not go together.
    """
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake import Lake  # noqa: PLC0415 - see above

    if way.dates and way.stage != "panes":
        raise click.UsageError("--dates goes with --stage panes")
    store, features = run.open_store(), catalog.load(fleet).features.computable
    lake = Lake(store.uri)
    if way.stage == "plan":
        payload, lines = _plan(lake, features, way.engine)
    else:
        with _crew(way) as crew:
            payload, lines = _work(run, way, lake, features, crew)
    return Outcome({"fleet": fleet, "store": store.uri, "engine": way.engine, **payload}, lines)


def _plan(lake: "Lake", features: "FeatureSet", engine: str) -> tuple[dict[str, Any], list[str]]:
    from pipelines.partitions import MOST_RUNS, due  # noqa: PLC0415 - `--help` must not pay for it

    found = due(lake, features)
    runs = found.runs(1 if engine == "spark" else MOST_RUNS)  # Spark deals out the work of a run by itself
    lines = [f"{len(found.panes):,} dates need panes", *(f"--stage panes --dates {dates}" for dates in runs)]
    lines += ["--stage rows" if found.marks else "nothing has changed"]
    return {"batch": found.batch, "dates": len(found.panes), "runs": runs}, lines


def _work(run: Run, way: Way, lake: "Lake", features: "FeatureSet", crew: "Crew") -> tuple[dict[str, Any], list[str]]:
    from pipelines.partitions import make_panes, make_rows, materialize_by  # noqa: PLC0415 - see above

    if way.stage == "panes":
        panes = make_panes(lake, features, crew, *(way.dates or ()))
        of_dates = f"{len(panes.dates)} dates" if panes.dates else "they were up to date"
        told = [f"{panes.panes:,} panes of {panes.readings:,} readings computed, {of_dates}"]
        return dataclasses.asdict(panes), told
    if way.stage == "rows":
        rows = make_rows(lake, features, crew)
        told = [f"{rows.rows:,} feature rows computed"]
    else:
        rows = materialize_by(lake, features, crew, run.console.progress)
        told = [f"{rows.panes:,} panes of {rows.readings:,} readings, {rows.rows:,} feature rows computed"]
    told += [f"dates {rows.dates[0]} to {rows.dates[-1]}" if rows.dates else "nothing had changed"]
    return {name: getattr(rows, name) for name in ("readings", "panes", "rows", "dates", "batch", "version")}, told


@contextmanager
def _crew(way: Way) -> "Iterator[Crew]":
    if way.engine == "spark":
        from pipelines.spark import SparkCrew  # noqa: PLC0415 - only this engine pays for it

        with SparkCrew.started(way.master) as crew:
            yield crew
    else:
        from pipelines.partitions import Alone  # noqa: PLC0415 - `--help` must not pay for it

        yield Alone()
