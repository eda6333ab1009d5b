"""``make bench-ingest``: raw objects to the table of telemetry, beside parsers and scans, and over long histories.

``BENCH=quick`` takes fewer rounds and objects, for those who change something; ``BENCH_ONLY=<words>`` takes the
sections whose name holds the words. Jobs are interleaved and ratios taken within a round.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tests.bench import raw, table
from tests.bench.runs import PEERS_PYTHON, ROOT, Job, Measured, interleaved, median, peer, ratios, run
from tests.bench.table import Row, of_runs

OUTPUT = ROOT / "build" / "bench"
DATA = OUTPUT / "data"
WORK = OUTPUT / "work"
PARSERS = ("polars", "duckdb", "pyarrow")
SCANS = ("scan_polars", "scan_pyarrow", "scan_duckdb")
COPIES = ("copy_polars", "copy_pyarrow", "copy_duckdb")


@dataclass(frozen=True, slots=True)
class Scope:
    """How much is measured."""

    rounds: int
    objects: int
    small: int
    large: int
    known: int
    commits: int


FULL = Scope(5, 24, 10_000, 6, 100_000, 1_000)
QUICK = Scope(2, 12, 2_000, 2, 10_000, 100)


def main() -> None:
    """Measure, print, store."""
    scope = QUICK if os.environ.get("BENCH") == "quick" else FULL
    if not PEERS_PYTHON.exists():
        sys.exit("build/bench-env is missing: run make bench-ingest")
    machine = table.machine() | {"mode": "quick" if scope is QUICK else "full"}
    console = Console()
    sections = {
        "json": lambda: parsed(scope),
        "small objects": lambda: small(scope),
        "parquet": lambda: parquet(scope),
        "backlog": lambda: backlog(scope),
        "nothing new": lambda: nothing_new(scope),
        "history": lambda: history(scope),
    }
    chosen = os.environ.get("BENCH_ONLY", "")
    rows: list[Row] = []
    for name, measure in sections.items():
        if chosen in name:
            console.print(f"[bold]{name}[/]")
            rows += measure()
    table.write(rows, machine, OUTPUT / "ingest.json")
    table.show(rows, console, "Ingest: measured")


def parsed(scope: Scope) -> list[Row]:
    """Gzipped JSON lines to Delta, against parsing alone."""
    each = 25_000
    store = raw.store_of(DATA, scope.objects, each)
    jobs = {"ours": _ingest(store, scope.objects * each)}
    jobs |= {name: peer(name, 1, "-", *_objects(store), module="parsers") for name in PARSERS}
    found = interleaved(jobs, scope.rounds)
    rates = {name: scope.objects * each / median(found[name], "cpu") for name in PARSERS}
    best = max(PARSERS, key=rates.__getitem__)
    note = (
        f"CPU seconds of {best} (gunzip, parse, write Parquet) over ours (and check, deduplicate, commit to Delta);"
        f" {scope.objects} objects of {each:,} messages of 8 signals"
    )
    return [
        of_runs("json_vs_best_parser", ratios(found[best], found["ours"], "cpu"), "1", ">= 1", note=note),
        of_runs("json_messages_per_cpu_second", _rates(found["ours"]), "1/s", peers=rates),
    ]


def small(scope: Scope) -> list[Row]:
    """Very many small objects."""
    store = raw.store_of(DATA, scope.small, 100)
    found = interleaved({"ours": _ingest(store, scope.small * 100)}, min(scope.rounds, 3))
    note = f"messages per CPU second, {scope.small:,} objects of 100 messages"
    return [of_runs("small_objects", _rates(found["ours"]), "1/s", ">= 2e5", note=note)]


def parquet(scope: Scope) -> list[Row]:
    """Parquet objects, against scanning them, and against copying them."""
    each = 250_000
    objects = max(scope.objects // 6, 2)
    store = raw.store_of(DATA, objects, each, "parquet")
    jobs = {"ours": _ingest(store, objects * each, "parquet")}
    jobs |= {name: peer(name, 1, "-", *_objects(store), module="scans") for name in (*SCANS, *COPIES)}
    found = interleaved(jobs, scope.rounds)

    def share(name: str, peers: tuple[str, ...], goal: str | None, does: str) -> Row:
        fastest = min(peers, key=lambda peer: median(found[peer], "cpu"))
        note = f"CPU seconds of {fastest}{does} over those of ingest into Delta; {objects} objects of {each:,} messages"
        return of_runs(name, ratios(found[fastest], found["ours"], "cpu"), "1", goal, note=note)

    return [
        share("parquet_share_of_scan", SCANS, ">= 0.5", ""),
        share("parquet_share_of_scan_and_write", COPIES, None, " (read, and write compressed alike)"),
    ]


def backlog(scope: Scope) -> list[Row]:
    """Memory over backlogs of several lengths and shapes."""
    sizes = [(scope.objects, 25_000), (4 * scope.objects, 25_000), (scope.small, 100), (scope.large, 500_000)]
    shapes = {f"{objects} x {each}": raw.store_of(DATA, objects, each) for objects, each in sizes}
    counts = {f"{objects} x {each}": objects * each for objects, each in sizes}
    peaks = {name: run(_ingest(store, counts[name]))["peak_mib"] / 1024 for name, store in shapes.items()}
    large = f"{scope.large} x 500000"
    for kind in ("refused", "mistyped"):  # every record of them is rejected
        peaks[f"{large} {kind}"] = run(_ingest(shapes[large], counts[large], kind))["peak_mib"] / 1024
    note = "largest resident size: " + ", ".join(f"{name} messages {peak:.2f} GiB" for name, peak in peaks.items())
    return [Row("peak_gib", max(peaks.values()), "GiB", "<= 0.6", list(peaks.values()), note=note)]


def nothing_new(scope: Scope) -> list[Row]:
    """A run over objects that were all taken in before."""
    store = raw.store_of(DATA, scope.known, 1)
    measured = run(_ours("rerun", store, WORK))
    note = f"wall seconds over {measured['objects']:,.0f} objects in a folder, none of them new"
    return [Row("rerun_seconds", measured["wall"], "s", "<= 10", note=note)]


def history(scope: Scope) -> list[Row]:
    """The same small batch into a table with few and with many earlier commits."""
    few, many = (run(_ours("history", WORK, commits)) for commits in (20, scope.commits + 10))
    note = (
        f"CPU seconds of a run with one object of 100 messages: {many['cpu']:.3f} after {scope.commits} commits,"
        f" {few['cpu']:.3f} after 10"
    )
    return [Row("flat_with_history", many["cpu"] / few["cpu"], "1", "<= 1.5", note=note)]


def _objects(store: Path) -> list[str]:
    return sorted(str(path) for path in (store / "raw").rglob("*") if path.is_file())


def _ours(name: str, *arguments: object) -> Job:
    return Job((sys.executable, "-m", "tests.bench.ingested", name, *map(str, arguments)))


def _ingest(store: Path, expected: int, kind: str = "json") -> Job:
    return _ours("ingest", store, WORK, kind, expected)


def _rates(measured: list[Measured]) -> list[float]:
    return [each["messages"] / each["cpu"] for each in measured]


if __name__ == "__main__":
    main()
