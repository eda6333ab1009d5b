"""Slices of public telemetry, in the shape the paths take, each with features that suit it. See the data's README."""

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from features import catalog
from features.burst import Burst, BurstReading
from features.catalog.azure_pdm import MEASURED
from features.event import Events
from features.feature import AnyFeature, Difference, EventCount, Feature, Lag, Since, TimeSince, grid
from features.featureset import FeatureSet
from features.regime import RegimeRule
from features.schema import Fleet, Signal
from pipelines import regimes
from pipelines.lake import Lake
from pipelines.unique import date_names
from tests.fakes.histories import append
from tests.parity.telemetry import START, Telemetry

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
HOUR_US, DAY_US = 3_600_000_000, 86_400_000_000
NO_CHANGES = ("count", "missing_share", "mean", "std", "min", "max", "first", "last", "delta", "slope", "rms", "crest")


@dataclass(frozen=True, slots=True)
class Slice:
    """Readings of a public data set and what is computed of them."""

    features: FeatureSet
    readings: Telemetry


def folder(name: str) -> Path:
    return Path(os.environ["TIDEMILL_DATA"], name)


def azure_pdm() -> Slice:
    """Three machines for twenty days, an hour a reading."""
    fleet = replace(catalog.load("azure_pdm").fleet, event_kinds=())
    features = grid(MEASURED, NO_CHANGES, [3 * HOUR, DAY])
    return Slice(FeatureSet(fleet, HOUR, 6 * HOUR, features), _machines(fleet, Events.none()))


def azure_pdm_upkeep() -> Slice:
    """The same machines with their errors and the replacement of components."""
    fleet = replace(catalog.load("azure_pdm").fleet, event_kinds=("error", "maintenance"))
    level = Feature("vibration", "mean", DAY)
    features: tuple[AnyFeature, ...] = (
        *(EventCount("error", window) for window in (DAY, 7 * DAY)),
        *(TimeSince(kind) for kind in ("start", *fleet.event_kinds)),
        *(Feature("volt", name, Since(kind)) for name in ("mean", "std", "slope") for kind in ("start", "maintenance")),
        *(level, Lag(level, 4), Difference(level, 4)),
    )
    found: set[tuple[int, int, int]] = set()  # two errors of one hour are one event: a stream cannot tell them apart
    for kind, name in enumerate(("PdM_errors", "PdM_maint")):
        table = _csv("azure_pdm", f"{name}.csv.gz")
        for machine, moment in zip(*(table[c].to_pylist() for c in ("machineID", "datetime")), strict=True):
            if machine <= 3:
                found.add((machine - 1, kind, _moment(moment)))
    device, kinds, time = np.array(sorted(found), np.int64).T
    events = Events(device.astype(np.int32), kinds.astype(np.int32), time, time + 2 * HOUR_US)
    return Slice(FeatureSet(fleet, HOUR, 6 * HOUR, features), _machines(fleet, events))


def _machines(fleet: Fleet, events: Events) -> Telemetry:
    table = _csv("azure_pdm", "PdM_telemetry_20machines_90days.csv.gz")
    rows = table.filter(pc.less_equal(table["machineID"], 3)).sort_by(
        [("machineID", "ascending"), ("datetime", "ascending")]
    )
    hour = np.tile(np.arange(len(rows) // 3), 3)
    rows = rows.filter(pa.array(hour < 20 * 24))
    values = np.full((len(rows), len(fleet.signals)), np.nan)
    for name in MEASURED:
        values[:, fleet.signal_names.index(name)] = rows[name].to_numpy()
    times = np.array([_moment(each) for each in rows["datetime"].to_pylist()], np.int64)
    return _by_time(rows["machineID"].to_numpy() - 1, times, values, events)


def cmapss() -> Slice:
    """Four engines until they failed, an hour a cycle: the data have no clock. Z-scores learned from other engines."""
    lines = _csv("cmapss", "train_FD001.txt.gz", header=False)
    table = np.column_stack([lines[name].to_numpy() for name in lines.column_names[:26]])
    names = ["setting1", "setting2", "setting3", *(f"sensor{number}" for number in range(1, 22))]
    fleet = _fleet("cmapss", names, table[:, 2:26], HOUR)
    chosen = tuple(f"sensor{number}" for number in (1, 2, 4, 7, 9, 11, 14))  # the first of them never changes
    rule = RegimeRule(("setting1", "setting2"), 1, chosen)
    declared = FeatureSet(fleet, HOUR, 2 * HOUR, grid(chosen, NO_CHANGES, [6 * HOUR, 24 * HOUR]), rule)
    times = START + table[:, 1].astype(np.int64) * HOUR_US
    with tempfile.TemporaryDirectory() as place:
        lake = Lake(place)
        device = [f"engine-{unit:.0f}" for unit in table[:, 0]]
        rows = {"date": date_names(times), "device": device, "time": times, "received": times}
        signals = dict(zip(names, table[:, 2:26].T, strict=True))
        append(lake.telemetry(fleet), {**rows, "batch": np.ones(len(times), np.int64), **signals})
        others = {name for name in device if int(name.removeprefix("engine-")) > 4}
        features = regimes.learn(lake, declared, others, since=0, until=2**62)
    few = table[:, 0] <= 4
    return Slice(features, _by_time(table[few, 0] - 1, times[few], table[few, 2:26]))


def backblaze() -> Slice:
    """Thirty drives, ten of them until they failed, a reading a day with days left out; most attributes are empty."""
    attributes = [f"smart_{number}_raw" for number in (1, 5, 9, 194, 197, 187, 2)]
    wanted = ["date", "serial_number", "failure", *attributes]
    files = sorted(folder("backblaze").glob("*.csv.gz"))
    types = dict.fromkeys(attributes, pa.float64())
    days = pa.concat_tables([_csv("backblaze", file.name, wanted, types) for file in files])
    failed = days.filter(pc.equal(days["failure"], 1))["serial_number"].unique().to_pylist()
    others = days["serial_number"].unique().to_pylist()[:20]
    drives = sorted({*failed[:10], *others})
    rows = days.filter(pc.is_in(days["serial_number"], pa.array(drives)))
    values = np.column_stack([rows[name].fill_null(np.nan).to_numpy() for name in attributes])
    fleet = _fleet("backblaze", attributes, values, DAY)
    device = np.array([drives.index(serial) for serial in rows["serial_number"].to_pylist()])
    times = np.array([(date - date.replace(1970, 1, 1)).days for date in rows["date"].to_pylist()], np.int64) * DAY_US
    features = grid(fleet.signal_names, NO_CHANGES, [DAY, 3 * DAY, 7 * DAY])
    return Slice(FeatureSet(fleet, DAY, DAY, features), _by_time(device, times, values))


BANDS = ((0, 1_000), (1_000, 2_000), (2_000, 4_000), (4_000, 12_801))


def vibration() -> Fleet:
    """Bearings whose acceleration is sampled at 25.6 kHz for a tenth of a second."""
    signals, bursts = [], []
    for axis in ("h", "v"):
        readings = [BurstReading(f"{axis}_{name}", name) for name in ("rms", "crest", "kurtosis", "peak_frequency")]
        readings += [BurstReading(f"{axis}_band_{low}", "band_energy", (low, high)) for low, high in BANDS]
        signals += [Signal(reading.signal, "1", 0, 20_000) for reading in readings]
        bursts.append(Burst(f"acc_{axis}", 25_600, tuple(readings)))
    return Fleet("femto", "", tuple(signals), 100 * SECOND, HOUR, HOUR, 36_000 * DAY, bursts=tuple(bursts))


def snapshots(bearing: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """When snapshots were taken, shape ``(n,)``, and their samples, shape ``(n, axes, samples)``, in g."""
    table = pq.read_table(folder("femto") / f"{bearing}.parquet")
    number, first = np.unique(table["snapshot"].to_numpy(), return_index=True)
    axes = [table[name].to_numpy().astype(np.float64).reshape(len(first), -1) for name in ("acc_h_g", "acc_v_g")]
    return START + number.astype(np.int64) * 10_000_000, np.stack(axes, axis=1)


def femto() -> Slice:
    """Two bearings until they failed: what is read off a snapshot every 100 s, as features of half an hour and two."""
    fleet, parts = vibration(), []
    for code, bearing in enumerate(("Bearing1_1", "Bearing2_1")):
        times, samples = snapshots(bearing)
        read = [np.concatenate([b.read(axis) for b, axis in zip(fleet.bursts, one, strict=True)]) for one in samples]
        parts.append((np.full(len(times), code), times, np.array(read)))
    features = grid(fleet.signal_names, NO_CHANGES, [1800 * SECOND, 2 * HOUR])
    device, times, values = (np.concatenate([part[column] for part in parts]) for column in range(3))
    return Slice(FeatureSet(fleet, 600 * SECOND, 600 * SECOND, features), _by_time(device, times, values))


def skab() -> Slice:
    """A test bed for two and a half hours without a fault and for twenty minutes with one, about a second a reading."""
    parts = []
    for code, name in enumerate(("anomaly-free/anomaly-free.csv.gz", "valve1/0.csv.gz")):
        table = _csv("skab", name, delimiter=";")
        times = np.array([_moment(each) for each in table["datetime"].to_pylist()], np.int64)
        values = np.column_stack([table[column].to_numpy() for column in table.column_names[1:9]])
        first = np.unique(times, return_index=True)[1]  # the logger wrote some seconds twice
        parts.append((np.full(len(first), code), times[first], values[first]))
    device, times, values = (np.concatenate([part[column] for part in parts]) for column in range(3))
    names = ["acceleration1", "acceleration2", "current", "pressure", "temperature", "thermocouple", "voltage", "flow"]
    fleet = _fleet("skab", names, values, SECOND)
    features = grid(names[:5], NO_CHANGES, [60 * SECOND, 300 * SECOND])
    return Slice(FeatureSet(fleet, 20 * SECOND, 120 * SECOND, features), _by_time(device, times, values))


SLICES: dict[str, Callable[[], Slice]] = {
    made.__name__: made for made in (azure_pdm, azure_pdm_upkeep, cmapss, backblaze, femto, skab)
}
WITH_EVENTS = ("azure_pdm_upkeep",)


def _fleet(name: str, signals: Sequence[str], values: NDArray[np.float64], sampling: timedelta) -> Fleet:
    """A fleet whose signals range as far as their readings do."""
    made = []
    for signal, column in zip(signals, values.T, strict=True):
        some = column[~np.isnan(column)]
        made.append(Signal(signal, "1", *((some.min() - 1, some.max() + 1) if len(some) else (0, 1))))
    return Fleet(name, "", tuple(made), sampling, HOUR, HOUR, 100 * DAY)


def _csv(
    data: str, name: str, columns: Sequence[str] = (), types: Any = None, *, delimiter: str = "", header: bool = True
) -> pa.Table:
    if not header:
        delimiter = " "
    return pyarrow.csv.read_csv(
        folder(data) / name,
        read_options=pyarrow.csv.ReadOptions(autogenerate_column_names=not header),
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter or ","),
        convert_options=pyarrow.csv.ConvertOptions(include_columns=list(columns), column_types=types),
    )


def _moment(moment: Any) -> int:
    return int(np.datetime64(moment, "us").astype(np.int64))


def _by_time(device: Any, times: NDArray[np.int64], values: Any, events: Events | None = None) -> Telemetry:
    codes = np.asarray(device).astype(np.int32)
    whole = Telemetry(codes, times, np.asarray(values, np.float64), events or Events.none())
    return whole[np.lexsort((codes, times))]
