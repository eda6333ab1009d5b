"""Commands about models: plan, train, monitor, lineage, keys."""

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.errors import CommandError
from infra.local.parameters import ESTIMATOR, MOMENT, SHARE, USECASE

if TYPE_CHECKING:
    from pipelines.request import Parameters, Progress
    from pipelines.shadowing import ShadowSummary
    from serving.store import Store

_VERSION = re.compile(r"(?:models:/)?([a-z][a-z0-9_]*)/v?(\d+)")


SINCE = click.option("--since", type=MOMENT, metavar="TIME", help="Learn from this time on.  [default: all there is]")
UNTIL = click.option("--until", type=MOMENT, metavar="TIME", help="Act as if it were this time.  [default: now]")


@command(
    "Say what a training would read and take; write nothing.",
    example="tidemill plan pump_failure --until 2026-02-04",
    also="Exit code 1 when there is too little to train on.",
)
@click.argument("usecase", type=USECASE)
@SINCE
@UNTIL
def plan(run: Run, usecase: str, since: int | None, until: int | None) -> Outcome:
    """Look at what is there."""
    from infra.local.planning import look_ahead  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines import usecases  # noqa: PLC0415 - see above

    found = look_ahead(run.open_store(), usecases.load(usecase), since, until, run.now_us)
    return Outcome(found.to_json(), found.lines(), ok=not found.problem)


@command(
    "Train, export, judge and register a candidate.",
    example="tidemill train pump_failure --until 2026-02-04 --note 'first model'",
    also="The exported bundle itself is judged by the gate; a version that fails is registered too, without the alias "
    "challenger. To ship a version, give it the alias champion in MLflow. Exit code 1 when the gate says no.",
)
@click.argument("usecase", type=USECASE)
@SINCE
@UNTIL
@click.option(
    "--estimator",
    type=ESTIMATOR,
    metavar="NAME",
    help="What to fit; automatic lets a search decide.  [default: as the use case says]",
)
@click.option(
    "--budget",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Time to search, of all shares together, a day at most; automatic without a budget takes 60.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    metavar="NUMBER",
    help="Same seed and data, same model; 0 to 2,147,483,647.",
)
@click.option("--note", default="", show_default=False, metavar="TEXT", help="Why this training; shown on its run.")
@click.option("--study", default="", show_default=False, metavar="NAME", help="Shared by those who search together.")
@click.option(
    "--share", type=SHARE, metavar="N/M", help="Only search, as the N-th of M, 16 at most; train the best afterwards."
)
def train(run: Run, usecase: str, *, budget: float, share: tuple[int, int] | None, **options: Any) -> Outcome:
    """Train a use case, or take part in its search."""
    from infra.local.settings import environment  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines import asking, training, usecases  # noqa: PLC0415 - see above
    from pipelines.lake import Lake  # noqa: PLC0415 - see above
    from pipelines.registry import Registry  # noqa: PLC0415 - see above

    trigger, origin = training.origin(environment())
    parameters = training.Parameters(budget_s=budget, trigger=trigger, origin=origin, **options)
    asking.refuse(usecases.load(usecase), parameters, run.now_us, workers=share[1] if share else 1)
    store = run.open_store()
    if share is not None:
        return _share(run, store, usecase, parameters, share)
    summary = training.train(
        store,
        Lake(store.uri),
        Registry(run.settings.tracking),
        usecases.load(usecase),
        parameters,
        now_us=run.now_us,
        progress=_stages(run),
        tell=run.console.note,
    )
    again = ", registered before" if summary.reused else ""
    figures = [(name, _figure(value)) for name, value in summary.metrics.items() if value is not None]
    lines = [
        f"{usecase} version {summary.version}, {summary.estimator}: gate {summary.gate}{again}",
        *[f"  {reason}" for reason in summary.reasons],
        f"trained on {summary.rows['train']:,} windows, judged on {summary.rows['test']:,}",
        *table(("figure", "value"), figures),
        f"parity: {summary.parity['label_flips']} label flips in {summary.parity['rows']:,} rows",
        *([summary.search] if summary.search else []),
        ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in summary.seconds.items()),
        summary.url,
    ]
    return Outcome(dataclasses.asdict(summary), lines, ok=summary.gate == "passed")


def _share(run: Run, store: "Store", usecase: str, parameters: "Parameters", share: tuple[int, int]) -> Outcome:
    """Search for one share of the budget."""
    from pipelines import searching, usecases  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake import Lake  # noqa: PLC0415 - see above

    found = searching.take_part(
        store,
        Lake(store.uri),
        usecases.load(usecase),
        parameters,
        share,
        now_us=run.now_us,
        progress=_stages(run),
        tell=run.console.note,
    )
    best = (
        f"best so far {found.estimator}, {found.measure} {found.score:.4g}" if found.score is not None else "no score"
    )
    return Outcome(
        dataclasses.asdict(found),
        [f"{usecase}, share {found.share}: {found.own} of {found.trials} trials in {found.seconds:.0f} s, {best}"],
    )


def _stages(run: Run) -> "Progress":
    """Stages one after the other; the search alone counts, in seconds of its budget."""

    def progress(stage: str, done: int, total: int) -> None:
        from pipelines.training import STAGES  # noqa: PLC0415 - loaded by then

        if stage in STAGES:
            counted = stage == "search" and total != len(STAGES)
            run.console.progress(stage, done if counted else 0, total if counted else 0)

    return progress


def _figure(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


@command(
    "Compare predictions with what came true.",
    example="tidemill monitor pump_failure",
    also="Loads prediction logs, joins the failures known by now, tells broken sensors and clocks apart from drift, "
    "measures drift against training and decides whether to train anew; the decision of a day is made once. A "
    "challenger is compared with the version in use on the same windows.",
)
@click.argument("usecase", type=USECASE)
def monitor(run: Run, usecase: str) -> Outcome:
    """Monitor a use case."""
    from pipelines import usecases  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.lake import Lake  # noqa: PLC0415 - see above
    from pipelines.monitor import monitor as look  # noqa: PLC0415 - see above
    from pipelines.registry import Registry  # noqa: PLC0415 - see above

    store, registry = run.open_store(), Registry(run.settings.tracking)
    found = look(store, Lake(store.uri), usecases.load(usecase), run.now_us, run.console.progress, registry=registry)
    lines = [f"{found.loaded:,} new predictions loaded, {found.joined:,} outcomes joined"]
    if found.version:
        far = f", the worst part {found.worst_slice}" if found.worst_slice else ""
        delay = f", {found.label_delay_hours:.0f} hours late at the median" if found.label_delay_hours else ""
        lines += [
            f"version {found.version}: {found.windows:,} windows of {found.devices} devices",
            f"{found.headline or 'nothing to judge by yet'}, {found.joined_share or 0:.0%} of outcomes known{delay}",
            f"{len(found.drifted)} of {found.features} features moved far{far}",
        ]
    lines += [f"not sound: {finding}" for finding in found.findings]
    lines += [f"note: {note}" for note in found.notes]
    if found.shadow.version:
        lines += [found.shadow.sentence, *_promotion(found.shadow)]
    return Outcome(dataclasses.asdict(found), [*lines, found.sentence, f"all numbers: {store.uri}/{found.report}"])


def _promotion(shadow: "ShadowSummary") -> list[str]:
    if shadow.promoted:
        return [f"version {shadow.version} is champion now: its use case allows it"]
    return [f"not promoted: {objection}" for objection in shadow.objections]


@command(
    "Follow a version from its data to its gateways.",
    example="tidemill lineage models:/pump_failure/3 --rebuild -",
    also="VERSION is a use case and the number of a version, with or without models:/ before it. With --rebuild the "
    "training set is read again from the versions of its tables and compared to the last byte; exit code 1 when it is "
    "not the same.",
)
@click.argument("version")
@click.option(
    "--rebuild", metavar="FOLDER", help="Rebuild the training set into this folder; - only compares and keeps nothing."
)
def lineage(run: Run, version: str, rebuild: str | None) -> Outcome:
    """Trace a version."""
    found = _VERSION.fullmatch(version)
    if found is None:
        raise CommandError(
            f"{version!r} is no version",
            why="a version is a use case and a number",
            fix="tidemill lineage pump_failure/3",
        )
    return lineage_of(run, found[1], found[2], rebuild)


def lineage_of(run: Run, usecase: str, version: str, rebuild: str | None = None) -> Outcome:
    """Trace a version and show it; ``explain`` does the same."""
    from infra.local.lineage import trace, write_rebuilt  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.registry import Registry  # noqa: PLC0415 - see above

    store, registry = run.open_store(), Registry(run.settings.tracking)
    found = trace(store, registry, usecase, version, run.now_us, again=rebuild is not None)
    written = write_rebuilt(found.rebuilt, Path(rebuild)) if found.rebuilt and rebuild not in (None, "-") else []
    lines = [*found.lines(), *(f"  {'written':<9} {path}" for path in written)]
    return Outcome(found.to_json(), lines, ok=found.rebuilt is None or found.rebuilt.equal)


@command(
    "Make signing keys and the signed repository of updates.",
    example="tidemill keys --root build/root.json",
    also="Once for each store. Gateways and servers start from the file with the root of trust. Keys that are there "
    "stay; without --production they are marked for development, which production gateways refuse.",
)
@click.option("--production", is_flag=True, help="Make keys without the development mark.")
@click.option("--root", type=click.Path(path_type=Path), metavar="FILE", help="Write the root of trust to this file.")
def keys(run: Run, root: Path | None, *, production: bool) -> Outcome:
    """Create keys and repository."""
    from serving.trust.keys import KeyRing, create_keys  # noqa: PLC0415 - `--help` must not pay for it
    from serving.trust.publisher import Publisher  # noqa: PLC0415 - see above

    folder, store = run.settings.keys, run.open_store(create=True)
    create_keys(folder, development=not production)
    development = KeyRing.load(folder).development
    publisher = Publisher(store, folder)
    publisher.initialise(run.now_us)
    lines = [f"{'development' if development else 'production'} keys at {folder}, updates at {store.uri}/updates"]
    if root is not None:
        root.parent.mkdir(parents=True, exist_ok=True)
        root.write_bytes(publisher.root_bytes())
        lines.append(f"root of trust for gateways and servers: {root}")
    if not development:
        lines.append("keep root-*.pem and targets.pem offline: releases do not need them")
    return Outcome({"keys": str(folder), "development": development, "root": str(root) if root else None}, lines)
