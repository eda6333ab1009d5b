"""The C source on its own, as a microcontroller compiles it: float and double, strict warnings, sanitizers."""

import ctypes
import shutil
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import features.kernel
from features import kernel
from features.pane import PANE_FIELDS, empty
from features.statistic import STATISTICS
from tests.parity.oracle import ORACLES, Points, Window, scale

SOURCE = Path(features.kernel.__file__).parent
DRIVER = Path(__file__).parent / "driver.c"
FUZZ = Path(__file__).parent / "fuzz.c"
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-ffp-contract=off"]
LIMIT = 84.0
DAY_US, DAY = 86.4e9, Window(nulls=0, hours=24.0, limit=LIMIT)
REALS = {"float": (ctypes.c_float, np.float32, 1e-5), "double": (ctypes.c_double, np.float64, 1e-9)}


@pytest.fixture(scope="module")
def cc() -> str:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler on this machine")
    return compiler


def _compile(cc: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([cc, *STRICT, f"-I{SOURCE}", *arguments, "-lm"], capture_output=True, text=True, check=False)


class Library:
    """The kernel as a shared library, with panes of one signal."""

    def __init__(self, cc: str, real: str, folder: Path) -> None:
        path = folder / f"pane-{real}.so"
        done = _compile(cc, f"-DTM_REAL={real}", "-O2", "-shared", "-fPIC", "-o", path, SOURCE / "pane.c")
        assert done.returncode == 0, done.stderr
        self.library = ctypes.CDLL(str(path))
        self.library.tm_panes_add.restype = ctypes.c_size_t
        self.real, self.dtype, self.tolerance = REALS[real]

    def summaries(self, group: NDArray[Any], at: NDArray[Any], values: NDArray[Any], groups: int) -> NDArray[Any]:
        panes = empty(groups).astype(self.dtype)
        limits = np.array([LIMIT], self.dtype)
        arrays = (group.astype(np.int64), at.astype(self.dtype), values.astype(self.dtype), limits)
        size = ctypes.c_size_t
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (panes, *arrays)]
        done = self.library.tm_panes_add(pointers[0], size(groups), size(1), *pointers[1:], size(len(at)))
        assert done == len(at)
        return panes

    def merge(self, left: NDArray[Any], right: NDArray[Any], shift: float) -> None:
        self.library.tm_pane_merge(
            left.ctypes.data_as(ctypes.c_void_p), right.ctypes.data_as(ctypes.c_void_p), self.real(shift)
        )

    def statistic(self, name: str, pane: NDArray[Any]) -> float:
        function = self.library.tm_pane_statistic
        function.restype = self.real
        code = kernel.STATISTICS.index(name)
        return float(function(pane.ctypes.data_as(ctypes.c_void_p), ctypes.c_int(code), self.real(DAY_US)))


@pytest.fixture(scope="module", params=REALS)
def library(request: pytest.FixtureRequest, cc: str, tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(cc, request.param, tmp_path_factory.mktemp("kernel"))


def _day(library: Library, seed: int) -> tuple[NDArray[Any], Points]:
    """A day of minutes at a pressure of 80 bar with drift, noise and gaps: its pane, and its points in real numbers."""
    random = np.random.default_rng(seed)
    minute = np.flatnonzero(random.random(1440) < 0.8)
    values = (80 + minute / 200 + random.normal(0, 1, len(minute))).astype(library.dtype)
    values[random.random(len(minute)) < 0.1] = np.nan
    panes = library.summaries(minute // 10, minute % 10 * 6e7, values, 144)
    whole = panes[0].copy()
    for number in range(1, 144):
        library.merge(whole, panes[number], number * 6e8)
    present = ~np.isnan(values)
    points = list(zip((minute[present] / 60).tolist(), values[present].astype(float).tolist(), strict=True))
    return whole, points


@pytest.mark.parametrize("name", [name for name in STATISTICS if name != "missing_share"])
def test_a_day_of_panes_is_right_within_the_precision_of_the_real_type(library: Library, name: str) -> None:
    for seed in range(3):
        pane, points = _day(library, seed)
        found = float(STATISTICS[name].function(pane.astype(np.float64), DAY_US))
        assert abs(found - ORACLES[name](points, DAY)) <= library.tolerance * scale(name, points), f"seed {seed}"


@pytest.mark.parametrize("name", [name for name in kernel.STATISTICS if name not in {"count", "missing_share"}])
def test_the_statistics_in_c_are_the_ones_in_python(library: Library, name: str) -> None:
    for seed in range(3):
        pane, points = _day(library, seed)
        found = library.statistic(name, pane)
        assert abs(found - ORACLES[name](points, DAY)) <= library.tolerance * scale(name, points), f"seed {seed}"
    nothing = empty(1).astype(library.dtype)[0]
    assert np.isnan(library.statistic(name, nothing))


def test_the_header_names_the_fields_in_the_order_of_python() -> None:
    struct = (SOURCE / "pane.h").read_text().split("typedef struct {")[1].split("}")[0]
    names = [line.split(";")[0].split()[-1] for line in struct.splitlines() if ";" in line]
    assert tuple(names) == PANE_FIELDS


@pytest.mark.parametrize("real", REALS)
@pytest.mark.parametrize("driver", [[DRIVER], [FUZZ, "300", "2026"]], ids=["driver", "fuzz"])
def test_the_kernel_is_clean_under_the_sanitizers(cc: str, real: str, driver: list[Any], tmp_path: Path) -> None:
    program = tmp_path / "driver"
    flags = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-DTM_REAL={real}"]
    build = partial(_compile, cc, *flags, "-o", program)
    (tmp_path / "empty.c").write_text("int main(void) { return 0; }\n")
    if build(tmp_path / "empty.c").returncode != 0:
        pytest.skip("the compiler has no address and undefined-behaviour sanitizers")
    done = build(driver[0], SOURCE / "pane.c")
    assert done.returncode == 0, done.stderr
    # Leaks are not looked for: that needs ptrace, which containers deny.
    environment = {"ASAN_OPTIONS": "detect_leaks=0"}
    run = subprocess.run([program, *driver[1:]], capture_output=True, text=True, check=False, env=environment)
    assert run.returncode == 0, run.stderr
