"""The kernel under strain: sanitizers over a long fuzz, and mutants.

Each mutant is one edit of ``pane.c``, compiled and put in place of the extension; the laws' tests must fail on it.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "features" / "kernel"
TESTS = ROOT / "tests" / "unit" / "features"
ROUNDS, SEEDS = 20_000, 3

MUTANTS = (
    ("dx * (2 * pane->sum + pane->count * dx)", "dx * (pane->sum + pane->count * dx)"),
    ("dt * (2 * pane->time + pane->count * dt)", "dt * (2 * pane->time - pane->count * dt)"),
    ("return at < other_at || (at == other_at && value < other);", "return at < other_at;"),
    ("pane->above += value > limit;", "pane->above += value >= limit;"),
    ("pane->change += distance(value, pane->last);", "pane->change += value - pane->last;"),
    ("value < pane->low ? value : pane->low;", "value < pane->low ? pane->low : value;"),
    ("    left->nulls += other.nulls;\n", ""),
    ("other.last_at += shift;", ""),
    ("    if (other.low < left->low)\n", "    if (other.low > left->low)\n"),
    ("time_value[lane] += dt * dx;", "time_value[lane] += dt * value;"),
    ("square[lane] += dx * dx;", "square[lane] += dx;"),
    ("x[row + lane - 1]", "x[row]"),
    ("pane->high = high[0] > high[1] ? high[0] : high[1];", "pane->high = high[0];"),
    ("if (even < count)", "if (even + 1 < count)"),
    ("bits >>= shift;", ""),
    ("if (missing << (64 - rows) != 0)", "if (0)"),
    ("    *pane = empty; /* a NaN", "    /* a NaN"),
    ("pane->nulls += (tm_real)(count - taken);", ""),
    ("rest < 0 ? rest + pane_us : rest", "rest"),
    ("if (stays && device[row] == device[row - 1])", "if (stays)"),
    ("numbering->latest[pane] = times[begin[run + 1] - 1];", ""),
    ("place = end[pane];\n", "place += 1;\n"),
    ("return pane->first + ratio(pane->sum, pane->count);", "return ratio(pane->sum, pane->count);"),
    ("ratio(pane->change, pane->count - 1)", "ratio(pane->change, pane->count)"),
    ("panes[i] = panes[i - signals];", ""),
    ("below > 0 ? below - distance_from_zero : 0", "below + distance_from_zero"),
    ("(bits & 0xfffffffffffffu) * TM_SKETCH_STEPS >> 52", "(bits & 0xfffffffffffffu) >> 52"),
    ("came_in_order &= panes[signal].change == panes[signal].change;", ""),
    ("        tm_pane_clear(panes + signal);\n    for (size_t row", "        ;\n    for (size_t row"),
    ("while (closed < open && seen[closed] < end)", "while (closed < open && seen[closed] <= end)"),
    ("held[i + stream->signals - 1] = held[i - 1];", ""),
    ("counts[i] = 0;", ";"),
    ("counts += size", "counts++"),
    ("held[i - closed * stream->signals] = held[i];", ""),
)
LAWS = ("test_pane.py", "test_panetable.py", "test_statistic.py", "test_sketch.py", "kernel/test_stream.py")


def sanitized() -> bool:
    """Fuzz the kernel under sanitizers."""
    with tempfile.TemporaryDirectory() as folder:
        return _fuzz(_compiler(), Path(folder))


def mutants() -> bool:
    """Break the kernel, edit by edit; the laws' tests must fail each time."""
    with tempfile.TemporaryDirectory() as folder:
        return _mutants(_compiler(), Path(folder))


def _compiler() -> str:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("make sweep needs a C compiler")
    return compiler


def _fuzz(compiler: str, folder: Path) -> bool:
    sound = True
    for real in ("double", "float"):
        program = folder / f"fuzz-{real}"
        flags = [
            "-g",
            "-O1",
            "-std=c99",
            "-ffp-contract=off",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=all",
        ]
        sources = [TESTS / "kernel" / "fuzz.c", KERNEL / "pane.c"]
        subprocess.run(
            [compiler, *flags, f"-DTM_REAL={real}", f"-I{KERNEL}", "-o", program, *sources, "-lm"], check=True
        )
        for seed in range(1, SEEDS + 1):
            environment = {"ASAN_OPTIONS": "detect_leaks=0"}
            done = subprocess.run(
                [program, str(ROUNDS), str(seed)], env=environment, capture_output=True, text=True, check=False
            )
            print(f"sanitizers, {real}, seed {seed}: {done.stdout.strip() or done.stderr}", flush=True)
            sound &= done.returncode == 0
    return sound


def _mutants(compiler: str, folder: Path) -> bool:
    killed = 0
    if not _survives(compiler, folder, "", ""):
        print("mutants: the tests fail on the kernel as it is")
        return False
    for found, put in MUTANTS:
        if _survives(compiler, folder, found, put):
            print(f"mutant survived: {found.strip()!r} -> {put.strip()!r}", flush=True)
        else:
            killed += 1
    print(f"mutants: {killed} of {len(MUTANTS)} killed", flush=True)
    return killed == len(MUTANTS)


def _survives(compiler: str, folder: Path, found: str, put: str) -> bool:
    """Whether the laws hold with one edit; the edited kernel stands in a copy of the package that is imported first."""
    package = folder / "features"
    shutil.rmtree(package, ignore_errors=True)
    shutil.copytree(ROOT / "features", package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    source = package / "kernel" / "pane.c"
    text = source.read_text()
    if found not in text:
        sys.exit(f"a mutant is out of date: pane.c has no {found!r}")
    source.write_text(text.replace(found, put, 1) if found else text)
    built = [source, package / "kernel" / "binding.c"]
    output = package / "kernel" / "_pane.abi3.so"
    flags = ["-O1", "-w", "-std=c99", "-ffp-contract=off", "-shared", "-fPIC", "-DPy_LIMITED_API=0x030b0000"]
    include = f"-I{sysconfig.get_paths()['include']}"
    subprocess.run([compiler, *flags, include, "-o", output, *built, "-lm"], check=True)
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "TIDEMILL_LAWS": "mutants"}
    laws = [str(TESTS / name) for name in LAWS]
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *laws]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False).returncode == 0
