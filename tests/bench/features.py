"""``make bench-features``: the feature kernel beside the scan limit, beside other libraries, and over days of history.

``BENCH=quick`` takes one day, two rounds and a shorter year, for those who change something; ``BENCH_ONLY=<words>``
takes the sections whose name holds the words. The machine need not be quiet: jobs are interleaved and ratios taken
within a round.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from tests.bench import agreement, bursts, figures, fleet, table, telemetry
from tests.bench.runs import PEERS_PYTHON, ROOT, Job, Measured, interleaved, median, ours, peer, ratios, run
from tests.bench.table import Row, of_runs

OUTPUT = ROOT / "build" / "bench"
DATA = OUTPUT / "data"
DEVICES = 1000
MESSAGES_A_DAY = DEVICES * 8_640
SCANS = ("scan_polars", "scan_pyarrow", "scan_duckdb")
PEERS = ("polars", "duckdb", "pandas", "pyarrow")
Runs = dict[str, list[Measured]]


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured."""

    rounds: int
    days: int
    history: tuple[int, ...]
    year_days: int
    year_devices: int
    stream_messages: int


FULL = Scope(5, 6, (1, 2, 4, 6), 365, 32, 2_000_000)
QUICK = Scope(2, 1, (1,), 90, 10, 400_000)


def main() -> None:
    """Measure, print, store, draw."""
    scope = QUICK if os.environ.get("BENCH") == "quick" else FULL
    if not PEERS_PYTHON.exists():
        sys.exit("build/bench-env is missing: run make bench-features")
    machine = table.machine() | {"mode": "quick" if scope is QUICK else "full"}
    console = Console()
    sections = {
        "one day": lambda: one_day(scope),
        "other orders and values": lambda: variants(scope),
        "days of history": lambda: history(scope),
        "windows": lambda: windows(scope),
        "a late hour": lambda: late_hour(scope),
        "sketches": lambda: sketches(scope),
        "streams": lambda: streams(scope),
        "bursts": lambda: bursts.rows(scope.rounds),
    }
    chosen = os.environ.get("BENCH_ONLY", "")
    rows: list[Row] = []
    for name, measure in sections.items():
        if chosen in name:
            console.print(f"[bold]{name}[/]")
            rows += measure()
    table.write(rows, machine, OUTPUT / "features.json")
    table.show(rows, console, "Features: measured")
    figures.draw(rows, OUTPUT)


def one_day(scope: Scope) -> list[Row]:
    """The pane stage over one day as the lake stores it, beside plain scans and beside peers."""
    (files,) = telemetry.days_of(DATA, 1, DEVICES)
    jobs: dict[str, Job] = {name: peer(name, 1, "-", *files) for name in SCANS}
    jobs |= {f"ours_{threads}": ours("panes", "base", threads, "-", *files) for threads in (1, 2)}
    jobs |= {f"{name}_{threads}": peer(name, threads, "-", *files) for name in PEERS for threads in (1, 2)}
    found = interleaved(jobs, scope.rounds)
    peers = {name: _rate(found[f"{name}_1"], 1) for name in PEERS}
    rows = [_share_of_scan("share_of_scan", found, ">= 0.7", "one day, rows by device and time as the lake has them")]
    rows.append(
        of_runs(
            "messages_per_cpu_second",
            [MESSAGES_A_DAY / each["cpu"] for each in found["ours_1"]],
            "1/s",
            peers=peers | {name: _rate(found[name], 1) for name in SCANS},
            note="one thread, one day, 8 signals a message; Parquet decoding included",
        )
    )
    for name, goal in zip(PEERS, (">= 2.2", ">= 2.2", ">= 4", None), strict=True):
        shares = ratios(found[f"{name}_1"], found["ours_1"], "cpu")
        rows.append(of_runs(f"vs_{name}", shares, "1", goal, note=f"CPU seconds of {name} over ours, one thread each"))
    best = min(PEERS, key=lambda name: median(found[f"{name}_2"], "wall"))
    rows.append(
        of_runs(
            "wall_vs_best",
            ratios(found[f"{best}_2"], found["ours_2"], "wall"),
            "1",
            ">= 1.8",
            peers={name: median(found[f"{name}_2"], "wall") / median(found["ours_2"], "wall") for name in PEERS},
            note=f"wall time with two threads; the best peer is {best}",
        )
    )
    rows.append(
        of_runs("two_threads", ratios(found["ours_1"], found["ours_2"], "wall"), "1", ">= 1.7", note="wall, 1 over 2")
    )
    return [*rows, _agreement(files)]


def _share_of_scan(name: str, found: Runs, goal: str | None, note: str) -> Row:
    """CPU seconds of the fastest scan over ours, round by round."""
    scans = [scan for scan in SCANS if scan in found]
    fastest = min(scans, key=lambda scan: median(found[scan], "cpu"))
    shares = ratios(found[fastest], found["ours_1"], "cpu")
    return of_runs(name, shares, "1", goal, note=f"{note}; the fastest scan is {fastest.removeprefix('scan_')}")


def _rate(measured: Sequence[Measured], days: int) -> float:
    return days * MESSAGES_A_DAY / median(measured, "cpu")


def _agreement(files: Sequence[str]) -> Row:
    """Let everybody write down what was computed, and compare."""
    folder = OUTPUT / "agreement"
    folder.mkdir(parents=True, exist_ok=True)
    run(ours("panes", "base", 1, folder / "ours.parquet", *files))
    differences = {}
    for name in PEERS:
        run(peer(name, 2, folder / f"{name}.parquet", *files))
        differences[name] = agreement.largest_difference(folder / "ours.parquet", folder / f"{name}.parquet")
    note = "largest difference of any statistic of any pane, over its largest size; one day"
    return Row("agreement", max(differences.values()), "1", "<= 1e-6", peers=differences, note=note)


def variants(scope: Scope) -> list[Row]:
    """The same day in the order of arrival, and with values that are rounded as sensors round."""
    rows = []
    for variant, note in (
        ("arrival", "one day, rows by time with devices interleaved"),
        ("coarse", "one day, values rounded to 0.01: files a third of the size, decoded twice as fast"),
    ):
        (files,) = telemetry.days_of(DATA, 1, DEVICES, variant)
        jobs = {name: peer(name, 1, "-", *files) for name in SCANS}
        jobs["ours_1"] = ours("panes", "base", 1, "-", *files)
        jobs |= {name: peer(name, 1, "-", *files) for name in ("polars", "duckdb")}
        found = interleaved(jobs, min(scope.rounds, 3))
        rows.append(_share_of_scan(f"share_of_scan_{variant}", found, None, note))
        rates = {name: _rate(found[name], 1) for name in (*SCANS, "polars", "duckdb")}
        runs = [MESSAGES_A_DAY / each["cpu"] for each in found["ours_1"]]
        rows.append(of_runs(f"messages_per_cpu_second_{variant}", runs, "1/s", peers=rates))
    return rows


def history(scope: Scope) -> list[Row]:
    """Longer histories: the share must not fall and the memory must not grow."""
    days = telemetry.days_of(DATA, scope.days, DEVICES)
    rows: list[Row] = []
    peaks: dict[int, float] = {}
    threads: dict[str, float] = {}
    for length in scope.history:
        files = [file for day in days[:length] for file in day]
        jobs = {
            "scan_polars": peer("scan_polars", 1, "-", *files),
            "scan_pyarrow": peer("scan_pyarrow", 1, "-", *files),
        }
        jobs |= {f"ours_{threads}": ours("panes", "base", threads, "-", *files) for threads in (1, 2)}
        jobs |= {f"{name}_1": peer(name, 1, "-", *files) for name in ("polars", "duckdb")}
        found = interleaved(jobs, scope.rounds if length == scope.days else 2)
        threads = {name: median(found[name], "peak_mib") / 1024 for name in ("ours_1", "ours_2")}
        peaks[length] = max(threads.values())
        seconds = {name: median(found[name], "cpu") for name in found}
        rows.append(Row(f"cpu_seconds_{length}d", seconds.pop("ours_1"), "s", peers=seconds))
        if length == scope.days > 1:
            rows.append(_share_of_scan(f"share_of_scan_{length}d", found, ">= 0.7", f"{length} days"))
            rows.append(
                of_runs(f"two_threads_{length}d", ratios(found["ours_1"], found["ours_2"], "wall"), "1", ">= 1.7")
            )
    note = "largest resident size, the larger of one and two threads: " + ", ".join(
        f"{length} d {peak:.2f} GiB" for length, peak in peaks.items()
    )
    # The last length is the longest: what one thread and two threads take there is told apart.
    by_threads = {f"{name.removeprefix('ours_')} thread(s)": peak for name, peak in threads.items()}
    worst = max(peaks.values())
    return [*rows, Row("peak_gib", worst, "GiB", "<= 0.4", list(peaks.values()), peers=by_threads, note=note)]


def windows(scope: Scope) -> list[Row]:
    """Feature rows of one day from panes, as a share of the pane stage over that day."""
    (files,) = telemetry.days_of(DATA, 1, DEVICES)
    jobs = {"stage": ours("panes", "base", 1, "-", *files), "windows": ours("windows", DEVICES)}
    found = interleaved(jobs, min(scope.rounds, 3))
    rows, features = (int(found["windows"][0][name]) for name in ("rows", "features"))
    note = f"CPU, one day of {DEVICES} devices: {rows} rows of {features} features (windows 1 h, 6 h, 24 h, hourly)"
    return [of_runs("windows_share", ratios(found["windows"], found["stage"], "cpu"), "1", "<= 0.25", note=note)]


def late_hour(scope: Scope) -> list[Row]:
    """What a late hour costs in a long history, through the tables of the lake."""
    late_days = [scope.year_days * number // 6 for number in (1, 2, 3, 4, 5)]
    root = telemetry.year_of(DATA, scope.year_days, scope.year_devices, late_days)
    job = ours("late_hour", root, OUTPUT / "work", scope.year_devices, *late_days)
    measured = run(job)
    shares = {
        who: [took / measured["cpu"] for name, took in measured.items() if name.startswith(f"{who}_cpu_")]
        for who in ("device", "fleet")
    }
    late = measured["fleet_cpu_0"] * 1000
    note = (
        f"CPU, a late hour of all {scope.year_devices} devices ({measured['fleet_panes']:.0f} panes, {late:.0f} ms)"
        f" over the full build of {measured['cpu']:.0f} s ({measured['panes']:.0f} panes, {measured['rows']:.0f} rows"
        f" of {len(fleet.YEAR_FEATURES.names)} features; {scope.year_days} days, 1 message per device and 10 s, 8"
        " signals rounded to 0.01); both through Delta tables, reading, writing and making durable included"
    )
    more = "the same for one late hour of a single device"
    return [
        of_runs("late_hour_share", shares["fleet"], "1", "<= 0.002", note=note),
        of_runs("late_hour_share_device", shares["device"], "1", note=more),
    ]


def sketches(scope: Scope) -> list[Row]:
    """What quantile sketches cost those who ask for them."""
    (files,) = telemetry.days_of(DATA, 1, DEVICES)
    found = interleaved({n: ours("panes", n, 1, "-", *files) for n in ("base", "quantiles")}, min(scope.rounds, 3))
    note = "CPU of the pane stage with sketches of all 8 signals over that without"
    return [of_runs("sketch_cost", ratios(found["quantiles"], found["base"], "cpu"), "1", note=note)]


def streams(scope: Scope) -> list[Row]:
    """Readings one by one and in micro-batches, what they hold in memory, and slices for the slow peers."""
    (files,) = telemetry.days_of(DATA, 1, DEVICES)
    many, few = scope.stream_messages, scope.stream_messages // 10
    jobs = {
        "online_batch": ours("online", 1000, many, DEVICES),
        "online_numpy": ours("online", 1000, many // 4, DEVICES, BENCH_KERNEL="numpy"),
        "online_single": ours("online", 1, few, DEVICES),
        "tsfresh": peer("tsfresh", 1, "-", files[0], module="slices"),
        "river": peer("river", 1, "-", files[0], module="slices"),
    }
    found = interleaved(jobs, min(scope.rounds, 3))
    rows = [
        of_runs(name, [each["messages"] / each["cpu"] for each in found[name]], "1/s", goal, note=note)
        for name, goal, note in (
            (
                "online_batch",
                ">= 8e6",
                f"batches of 1,000 from {DEVICES} devices with known codes, 8 signals a message; no window closes",
            ),
            ("online_numpy", ">= 1e6", "the same with the numpy kernel"),
            ("online_single", ">= 4e5", "one reading a call"),
        )
    ]
    held = run(ours("state_bytes", 10_000))
    note = (
        f"as the stream states it; the process grows by {held['grown']:.0f} B, everything included, at 10,000 devices"
    )
    rows.append(Row("state_bytes", held["held"], "B", "<= 3072", note=note))
    for name in ("tsfresh", "river"):
        rates = [8_640 / each["cpu"] for each in found[name]]
        rows.append(of_runs(name, rates, "1/s", note="messages per CPU second on one day of one device"))
    return rows


if __name__ == "__main__":
    main()
