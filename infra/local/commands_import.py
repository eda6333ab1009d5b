"""Commands that bring data sets and tables of one's own into the raw part of a store: ``tidemill import``."""

import dataclasses
import glob
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from infra.local.command import Outcome, Run, command
from infra.local.console import table
from infra.local.parameters import FLEET, MOMENT, iso

if TYPE_CHECKING:
    from pipelines.importers.arrivals import Reading, Report, Target

_SHARE = click.FloatRange(0, 0.5)
_FOLDER = click.argument("folder", type=click.Path(path_type=Path))
_AGAIN = (
    "Objects that are stored already are left as they are: the command can be repeated, and continued with a later "
    "--until and the same shares and seed."
)
_HOUR_US = 3_600_000_000


@click.group(
    "import",
    help="Write a public data set as a hub would have.\n\n"
    "What is written lies below raw/ in the store, as gzipped JSON lines, an object an hour; `tidemill ingest FLEET` "
    "takes it in. The shares --late-share, --duplicate-share, --disorder-share and --corrupt-share add what networks "
    "do to messages, from a seed.",
    short_help="Write a public data set as a hub would have.",
    epilog="\b\nExample:\n"
    "  tidemill import sets\n"
    "  tidemill import skab ~/data/skab --duplicate-share 0.05 --corrupt-share 0.01 --seed 3\n"
    "  tidemill ingest skab",
)
def import_() -> None:
    """Group of the importers."""


def _delivery(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Add the options that all importers share."""
    options = (
        click.option("--until", type=MOMENT, metavar="TIME", help="Write what arrived before then.  [default: all]"),
        click.option("--late-share", default=0.0, metavar="SHARE", type=_SHARE, help="Messages up to a week late."),
        click.option("--duplicate-share", default=0.0, metavar="SHARE", type=_SHARE, help="Messages delivered twice."),
        click.option("--disorder-share", default=0.0, metavar="SHARE", type=_SHARE, help="Messages overtaken."),
        click.option("--corrupt-share", default=0.0, metavar="SHARE", type=_SHARE, help="Messages that come spoilt."),
        click.option("--seed", default=0, metavar="NUMBER", help="What happens to which message follows from it."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def _take(
    run: Run,
    target: "Target",
    items: "Iterable[Reading | Report]",
    *,
    until: int | None,
    origin: str = "",
    **shares: Any,
) -> Outcome:
    """Write what an importer yields, and say what it was and where it is from."""
    from pipelines.importers.arrivals import write  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.importers.faults import Faults  # noqa: PLC0415 - see above
    from pipelines.importers.sources import ORIGINS  # noqa: PLC0415 - see above

    store = run.open_store(create=True)
    done = write(store, target, items, faults=Faults(**shares), until_us=until, progress=run.console.progress)
    counted = [f"{count:,} {name}" for found in (done.events, done.tags, done.faults) for name, count in found.items()]
    source = ORIGINS.get(origin)
    lines = [
        f"{done.messages:,} messages of {done.devices:,} devices in {done.objects:,} new objects",
        f"{done.unchanged:,} objects were there already",
        f"telemetry from {iso(done.first_us)} to {iso(done.last_us)}",
        *([", ".join(counted)] if counted else []),
        f"stored in {store.uri}/raw/{target.fleet}",
        f"now: tidemill ingest {target.fleet}",
        *(["", *source.lines] if source else []),
    ]
    origin_json = dataclasses.asdict(source) if source else None
    return Outcome(
        {"fleet": target.fleet, "store": store.uri, **dataclasses.asdict(done), "origin": origin_json}, lines
    )


def _known(fleet: str) -> "Target":
    from features import catalog  # noqa: PLC0415 - `--help` must not pay for it
    from pipelines.importers.arrivals import Target  # noqa: PLC0415 - see above

    return Target.of(catalog.load(fleet).fleet)


@command(
    "Write Microsoft's Azure Predictive Maintenance files as their hub would have.",
    example="tidemill import azure-pdm ~/data/azure_pdm --until 2015-03-02",
    also="FOLDER holds PdM_telemetry, PdM_errors, PdM_failures and PdM_maint as .csv or .csv.gz. Times count as UTC; "
    f"error codes are readings of 1. {_AGAIN}",
)
@_FOLDER
@_delivery
def azure_pdm(run: Run, folder: Path, **shares: Any) -> Outcome:
    """Import the Azure files."""
    from pipelines.importers.azure_pdm import FLEET as fleet  # noqa: N811, PLC0415 - `--help` must not pay for it
    from pipelines.importers.azure_pdm import items  # noqa: PLC0415 - see above

    return _take(run, _known(fleet), items(folder), origin=fleet, **shares)


@command(
    "Write NASA's C-MAPSS turbofan engines as their hub would have.",
    example="tidemill import cmapss ~/data/cmapss --subset FD001",
    also="FOLDER holds train_, test_ and RUL_FD00x as .txt or .csv, plain or gzipped, with spaces or commas, with a "
    "header or without. Files with fewer than the 26 published columns need a header or --columns: unit, cycle, "
    "setting1-3, sensor1-21 or names such as T24, and - for one to pass over.\n\n"
    "The data have no clock. A cycle becomes an hour, engines start a day apart, test engines after the last training "
    f"engine has failed; RUL becomes failures of test engines that are known 30 days late. {_AGAIN}",
)
@_FOLDER
@click.option("--subset", "subsets", multiple=True, metavar="FD00x", help="One of the four sets.  [default: all there]")
@click.option(
    "--columns",
    default="",
    show_default="the header's, or as published",
    metavar="NAMES",
    help="Columns of the files, commas between.",
)
@click.option("--start", default="2020-01-01", metavar="TIME", type=MOMENT, help="First flight of the first engine.")
@click.option("--step-hours", default=1.0, metavar="HOURS", type=click.FloatRange(0.01), help="From flight to flight.")
@click.option("--stagger-hours", default=24.0, metavar="HOURS", type=click.FloatRange(0), help="From engine to engine.")
@click.option("--truth-days", default=30, metavar="DAYS", type=click.IntRange(0), help="Test failures are known after.")
@_delivery
def cmapss(
    run: Run,
    folder: Path,
    *,
    subsets: tuple[str, ...],
    columns: str,
    start: int,
    step_hours: float,
    stagger_hours: float,
    truth_days: int,
    **shares: Any,
) -> Outcome:
    """Import the engines."""
    from pipelines.importers.cmapss import Clock, items  # noqa: PLC0415 - `--help` must not pay for it

    clock = Clock(start, round(step_hours * _HOUR_US), round(stagger_hours * _HOUR_US), truth_days * 24 * _HOUR_US)
    told = tuple(name.strip() for name in columns.split(",")) if columns else ()
    found = items(folder, subsets=subsets, columns=told, clock=clock)
    return _take(run, _known("cmapss"), found, origin="cmapss", **shares)


@command(
    "Write the vibration of the PRONOSTIA bearings as their rig would have.",
    example="tidemill import femto ~/data/femto",
    also="FOLDER holds Bearing1_1.parquet and others. A message holds 0.1 s of two axes at 25.6 kHz; the last snapshot "
    f"of a bearing is followed by its failure. The files name no day: bearings run one a day from --start on. {_AGAIN}",
)
@_FOLDER
@click.option("--start", default="2010-12-01", metavar="DAY", type=MOMENT, help="Day of the first bearing.")
@_delivery
def femto(run: Run, folder: Path, *, start: int, **shares: Any) -> Outcome:
    """Import the bearings."""
    from pipelines.importers.femto import items  # noqa: PLC0415 - `--help` must not pay for it

    return _take(run, _known("femto"), items(folder, start_us=start), origin="femto", **shares)


def _plain(name: str, words: str, example: str, also: str) -> click.Command:
    """The command of a set of which nothing has to be chosen; its importer has the set's name."""

    @command(words, example=f"tidemill import {name} {example}", also=f"{also} {_AGAIN}", name=name)
    @_FOLDER
    @_delivery
    def plain(run: Run, folder: Path, **shares: Any) -> Outcome:
        importer = importlib.import_module(f"pipelines.importers.{name}")  # `--help` must not pay for it
        return _take(run, _known(name), importer.items(folder), origin=name, **shares)

    return plain


backblaze = _plain(
    "backblaze",
    "Write Backblaze's daily files of hard disks as a hub would have.",
    "~/data/backblaze --until 2013-04-12",
    "FOLDER holds files such as 2013-04-10.csv, plain or gzipped. Empty attributes are left out; failure = 1 becomes a "
    "failure in the middle of the next day, known when that is over.",
)
skab = _plain(
    "skab",
    "Write the runs of the Skoltech Anomaly Benchmark as the testbed would have.",
    "~/data/skab",
    "FOLDER holds anomaly-free and valve1 with their .csv files. All runs are of one testbed and become one device; "
    "anomalies and changepoints become events that are known a day later.",
)
nab = _plain(
    "nab",
    "Write series of the Numenta Anomaly Benchmark as a hub would have.",
    "~/data/nab",
    "FOLDER holds realKnownCause and labels/combined_windows.json. Each series becomes a device, each window of an "
    "anomaly a pair of events.",
)
occupancy = _plain(
    "occupancy",
    "Write the UCI Occupancy Detection files as a hub would have.",
    "~/data/occupancy",
    "FOLDER holds datatest, datatraining and datatest2 as .txt, plain or gzipped. Whether the room is in use, the "
    "label, becomes events that are known a day later; it is no signal.",
)


_MAPPING = """MAPPING is a TOML file that says what the columns are:

\b
  fleet = "boilers"            # raw objects go to raw/boilers
  device = "boiler"            # column; or device_name = "b-07"
  time = "measured at"         # column
  time_unit = "iso"            # iso, s, ms, us, ns or "%d.%m.%Y %H:%M"
  zone = "Europe/Berlin"       # of times that carry none; UTC
  [signals]                    # signal = "column"
  water = "T water [C]"

Further keys: delimiter, missing, sampling_s. With --as-is the files are copied byte for byte instead, below the hour of
now, for a fleet whose own mapping reads them. FILES may be one pattern in quotes."""


def _generic(kind: str) -> click.Command:
    @command(
        f"Write {kind} files of your own as a hub would have, by a mapping file.",
        example=f"tidemill import {kind.lower()} boilers.toml 'export/*.{kind.lower()}'",
        also=f"{_MAPPING}\n\n{_AGAIN}",
        name=kind.lower(),
    )
    @click.argument("mapping")
    @click.argument("files", nargs=-1, required=True)
    @click.option("--as-is", "as_is", is_flag=True, help="MAPPING is the name of a fleet; copy FILES to it unchanged.")
    @_delivery
    def generic(run: Run, mapping: str, files: tuple[str, ...], *, as_is: bool, **shares: Any) -> Outcome:
        paths = [Path(name) for pattern in files for name in (sorted(glob.glob(pattern)) or [pattern])]  # noqa: PTH207 - patterns may be absolute
        if as_is:
            return _copy(run, mapping, paths)
        from pipelines.importers.hub import object_name  # noqa: PLC0415 - `--help` must not pay for it
        from pipelines.importers.mapped import Columns, items  # noqa: PLC0415 - see above

        columns = Columns.read(Path(mapping))
        readings = (reading for path in paths for reading in items(path, columns, object_name(path).partition(".")[0]))
        return _take(run, columns.target, readings, **shares)

    return generic


def _copy(run: Run, fleet: str, paths: list[Path]) -> Outcome:
    from pipelines.importers.verbatim import copy  # noqa: PLC0415 - `--help` must not pay for it

    FLEET.convert(fleet, None, None)
    store = run.open_store(create=True)
    keys, unchanged = copy(store, fleet, paths, run.now_us, progress=run.console.progress)
    lines = [f"{len(keys):,} files copied, {unchanged:,} were there already", *keys, f"now: tidemill ingest {fleet}"]
    return Outcome({"fleet": fleet, "store": store.uri, "keys": keys, "unchanged": unchanged}, lines)


@command(
    "List the public data sets that can be imported, with their terms.",
    example="tidemill import sets",
    also="Nothing is downloaded: get the files from their publishers, read the terms, and name the folder.",
)
def sets(run: Run) -> Outcome:  # noqa: ARG001 - every command takes a run
    """List the sets."""
    from pipelines.importers.sources import ORIGINS  # noqa: PLC0415 - `--help` must not pay for it

    rows = [(name.replace("_", "-"), origin.kind, origin.title, origin.terms) for name, origin in ORIGINS.items()]
    found = {name: dataclasses.asdict(origin) for name, origin in ORIGINS.items()}
    return Outcome({"sets": found}, table(("import", "kind", "set", "terms"), rows))


for _each in (azure_pdm, backblaze, cmapss, femto, nab, occupancy, skab, _generic("CSV"), _generic("Parquet"), sets):
    import_.add_command(_each)
