"""A shadow run: find the challenger, compare it, keep the comparison, tell the engineer, promote it if that is allowed.

The engineer is told where the decision is made: in the description of the challenger's version in MLflow, in a section
between markers that each run replaces.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipelines import automatic, monitorreport, shadow
from pipelines.automatic import Promoted, PromotingRegistry
from pipelines.history import places_in, windows_of
from pipelines.lake import Lake
from pipelines.shadow import Shadow
from pipelines.tasks import Measure
from pipelines.usecases import UseCase
from pipelines.watched import Watched
from serving.bundle import Bundle, unpack
from serving.store import Store

FORMAT = 1
SECTION = "shadow"
_SHOWN = 6  # figures in a description, which MLflow keeps to 5,000 characters


class ShadowRegistry(PromotingRegistry, Protocol):
    """The registry, as far as a shadow run needs it: ``pipelines.registry.Registry``."""

    def challenger(self, usecase: str) -> str | None:
        """Return the version with the alias ``challenger``; None when nobody has it."""

    def download_bundle(self, usecase: str, version: str) -> bytes:
        """Return the bundle of a version."""

    def write_section(self, usecase: str, version: str, name: str, text: str) -> None:
        """Put a section into the description of a version, in place of the one of that name."""


@dataclass(frozen=True, slots=True)
class ShadowSummary:
    """What a shadow run found.

    Attributes:
        version: The challenger; empty where there is none.
        sentence: The comparison in a sentence.
        report: Key of the report.
        promoted: Whether this run made it champion.
        objections: Why not.
    """

    version: str = ""
    sentence: str = ""
    report: str = ""
    promoted: bool = False
    objections: tuple[str, ...] = ()


def run(
    store: Store, lake: Lake, registry: ShadowRegistry, usecase: UseCase, watched: Watched, *, now_us: int
) -> ShadowSummary:
    """Compare the challenger of a use case with the version that predicted last.

    Args:
        store: Takes the report.
        lake: Holds the challenger's features, where they are others.
        registry: Knows the challenger, and is told.
        usecase: What is foreseen.
        watched: The version that predicted last.
        now_us: The clock, UTC microseconds.

    Raises:
        RegistryUnreachableError: MLflow does not answer.
        TidemillError: The challenger has no bundle, or one that cannot be opened or asked.
    """
    version = registry.challenger(usecase.name)
    if version is None:
        return ShadowSummary()
    bundle = unpack(registry.download_bundle(usecase.name, version))
    if bundle.digest == watched.digest:
        return ShadowSummary(version, f"version {version} is challenger and predicts already")
    rows, values = _seen_by(lake, bundle, watched)
    found = shadow.compare(watched, (version, bundle), rows, values, measure_of(usecase, watched))
    promoted = automatic.promote(store, registry, usecase, found, now_us)
    key = f"reports/shadow/{usecase.name}/{version}.json"
    document = {"format": FORMAT, "made_at_us": now_us, **asdict(found), "sentence": found.sentence}
    monitorreport.write(store, key, {**document, "promotion": asdict(promoted)})
    shown = [each.name for each in watched.task.measures][:_SHOWN]
    registry.write_section(usecase.name, version, SECTION, section(found, promoted, shown, now_us))
    return ShadowSummary(version, found.sentence, key, promoted.done, promoted.objections)


def measure_of(usecase: UseCase, watched: Watched) -> Measure:
    """Return what two models of a use case are compared by: what its gate says, else the first measure of the task."""
    measures = watched.task.measures
    return next((each for each in measures if each.name == usecase.gate.compared_by), measures[0])


def section(found: Shadow, promoted: Promoted, measures: Sequence[str], now_us: int) -> str:
    """Write the section of the description, in Markdown, with the figures of some measures."""
    at = f"{datetime.fromtimestamp(now_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    since = f"{datetime.fromtimestamp(found.since_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
    lines = [f"### In the shadow of version {found.champion.version}, {at}", "", f"{found.sentence}."]
    if found.windows:
        low, high = found.agreement_interval
        lines += [
            "",
            f"Windows after {since}, of {found.devices} devices; agreement 95 % within {low:.1%} to {high:.1%}.",
        ]
        lines += ["", f"| | champion {found.champion.version} | this version |", "| --- | --- | --- |"]
        lines += [f"| alerting windows | {found.champion.alerts:,} | {found.challenger.alerts:,} |"]
        lines += [f"| alerting devices | {found.champion.devices:,} | {found.challenger.devices:,} |"]
        lines += [_row(name, found) for name in measures if name in found.challenger.figures]
    if found.examples:
        one = found.examples[0]
        end = f"{datetime.fromtimestamp(one.window_end_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"
        scores = f"{one.champion:.3f} and {one.challenger:.3f}"
        lines += ["", f"Furthest apart: {one.device}, window to {end}, scores {scores}."]
    lines += ["", "Promoted automatically." if promoted.done else f"Not promoted: {'; '.join(promoted.objections)}."]
    return "\n".join(lines)


def _row(name: str, found: Shadow) -> str:
    cells = []
    for side in (found.champion, found.challenger):
        value, interval = side.figures[name], side.intervals.get(name)
        told = "not known" if np.isnan(value) else f"{value:.3g}"
        within = f" ({interval[0]:.3g} to {interval[1]:.3g})" if interval and not np.isnan(interval[0]) else ""
        cells.append(told + within)
    return f"| {name.replace('_', ' ')} | {' | '.join(cells)} |"


def _seen_by(lake: Lake, bundle: Bundle, watched: Watched) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """What the challenger sees of the windows that it has not learned from, and which those are."""
    rows, features = shadow.comparable(watched, bundle), bundle.manifest.features
    if watched.manifest is not None and features.digest == watched.manifest.features.digest:
        return rows, watched.windows.values if rows.all() else watched.windows.values[rows]
    table, nothing = lake.features(features), np.empty((0, len(features.names)))
    if not rows.any() or not table.exists():
        return np.zeros_like(rows), nothing
    end = watched.windows.end[rows]
    theirs = windows_of(table.open(), features, after={"end": int(end.min()) - 1}, before={"end": int(end.max()) + 1})
    places = places_in(watched.windows.select(rows), theirs)
    there = rows.copy()
    there[rows] = places >= 0
    return there, theirs.values[places[places >= 0]]
