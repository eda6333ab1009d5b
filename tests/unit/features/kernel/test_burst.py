"""Bursts in C (double and float), in numpy and, as the judge of both, by scipy and by the definitions themselves."""

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import welch
from scipy.stats import kurtosis

import features.kernel
from features.burst import twiddles
from features.kernel import burst_reference
from tests.unit.features.kernel.test_source import REALS, SOURCE, STRICT

RATE = 25_600.0
BACKENDS = pytest.mark.parametrize("kernel", [features.kernel, burst_reference], ids=["built", "numpy"])


def _bursts() -> dict[str, np.ndarray]:
    random, at = np.random.default_rng(2026), np.arange(2560) / RATE
    shocks = random.normal(0, 0.1, 2560)
    shocks[::300] += 5
    return {
        "noise": random.normal(0, 1, 2560),
        "a tone over an offset": 9.81 + 0.5 * np.sin(2 * np.pi * 3210 * at) + random.normal(0, 0.01, 2560),
        "shocks": shocks,
        "one segment": random.normal(0, 1, 1024),
        "a sample less than two segments": random.normal(0, 1, 1535),
        "an odd number of segments": random.normal(0, 1, 2047),
        "many segments": np.cumsum(random.normal(0, 1, 65_536)),
    }


BURSTS = _bursts()


def _bands(segment: int) -> np.ndarray:
    last = segment // 2 + 1
    return np.array([[0, last], [0, 1], [last - 1, last], [1, last // 3], [last // 3, last // 2], [2, 2]], np.int64)


def _expected(samples: np.ndarray, segment: int) -> np.ndarray:
    """By other hands: scipy's periodogram and kurtosis, the rest by definition."""
    rms = np.sqrt(np.mean(samples**2))
    frequency, density = welch(samples, RATE, nperseg=segment)
    peak = frequency[1:][density[1:].argmax()]
    energies = [density[first:end].sum() * RATE / segment for first, end in _bands(segment)]
    return np.array([rms, np.abs(samples).max() / rms, kurtosis(samples, fisher=False), peak, *energies])


def _scales(expected: np.ndarray) -> np.ndarray:
    """Shape and peak by themselves, energies as a share of the whole."""
    return np.concatenate([expected[:4], np.full(len(expected) - 4, expected[4])])


def _computed(kernel: Any, samples: np.ndarray, segment: int) -> np.ndarray:
    bands = _bands(segment)
    result = np.full(4 + len(bands), -1.0)
    kernel.burst(samples, RATE, twiddles(segment), bands, result)
    return result


@BACKENDS
@pytest.mark.parametrize("segment", [4, 64, 1024])
@pytest.mark.parametrize("name", BURSTS)
def test_a_burst_is_what_scipy_says(kernel: Any, name: str, segment: int) -> None:
    expected = _expected(BURSTS[name], segment)
    found = _computed(kernel, BURSTS[name], segment)
    assert (np.abs(found - expected) <= 1e-9 * _scales(expected)).all(), found - expected


@given(
    st.integers(0, 2**32), st.sampled_from([4, 16, 256]), st.integers(0, 900), st.sampled_from([0.0, 1e6]),
    st.sampled_from([1e-6, 1.0, 1e9]),
)  # fmt: skip
def test_c_and_numpy_agree(seed: int, segment: int, more: int, offset: float, size: float) -> None:
    samples = size * (offset + np.random.default_rng(seed).normal(0, 1, segment + more))
    found, expected = (_computed(kernel, samples, segment) for kernel in (features.kernel, burst_reference))
    # Behind an offset of a million spreads, the samples themselves hold six digits less.
    tolerance = 1e-9 * max(1.0, offset)
    np.testing.assert_allclose(found[[0, 1]], expected[[0, 1]], rtol=1e-9)
    np.testing.assert_allclose(found[2], expected[2], rtol=tolerance)
    assert (np.abs(found[4:] - expected[4:]) <= tolerance * expected[4]).all()


@BACKENDS
def test_equal_samples_have_no_kurtosis_no_peak_and_no_energy(kernel: Any) -> None:
    found = _computed(kernel, np.full(1500, 0.1), 1024)
    np.testing.assert_array_equal(found, [found[0], found[1], np.nan, np.nan, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(found[:2], [0.1, 1.0], rtol=1e-12)
    silent = _computed(kernel, np.zeros(1024), 1024)
    np.testing.assert_array_equal(silent, [0, np.nan, np.nan, np.nan, 0, 0, 0, 0, 0, 0])


@BACKENDS
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_sample_that_is_no_number_makes_the_statistics_none(kernel: Any, bad: float) -> None:
    samples = np.random.default_rng(1).normal(0, 1, 1024)
    samples[17] = bad
    found = _computed(kernel, samples, 1024)
    assert np.isnan(found[[2, 3, 4, 5]]).all()


@BACKENDS
@pytest.mark.parametrize(
    ("name", "change"),
    {
        "a burst shorter than a segment": {"samples": np.ones(1023)},
        "samples of 32 bits": {"samples": np.ones(2560, np.float32)},
        "samples in two dimensions": {"samples": np.ones((2, 2560))},
        "samples with gaps in memory": {"samples": np.ones(5120)[::2]},
        "a segment that is no power of two": {"twiddles": np.ones(1000)},
        "a segment of two": {"twiddles": np.ones(2)},
        "no segment": {"twiddles": np.ones(0)},
        "a band behind the spectrum": {"bands": np.array([[0, 514]])},
        "a band before it": {"bands": np.array([[-1, 5]])},
        "a band from behind": {"bands": np.array([[5, 4]])},
        "an enormous band": {"bands": np.array([[0, 2**62]])},
        "bands of three numbers": {"bands": np.array([[0, 1, 2]])},
        "bands that are floats": {"bands": np.array([[0.0, 1.0]])},
        "too short a result": {"result": np.ones(4)},
        "a result that is read-only": {"result": np.broadcast_to(np.ones(1), 5)},
    }.items(),
)
def test_a_misfit_buffer_is_refused(kernel: Any, name: str, change: dict[str, Any]) -> None:
    sound = {
        "samples": np.ones(2560), "rate": RATE, "twiddles": twiddles(1024), "bands": np.array([[0, 5]], np.int64),
        "result": np.full(5, -1.0),
    }  # fmt: skip
    kernel.burst(*sound.values())
    given = sound | {"result": np.full(5, -1.0)} | change
    with pytest.raises(ValueError, match=r"."):
        kernel.burst(*given.values())
    assert name
    assert (np.asarray(given["result"]) != 0).all(), "something was written"


@pytest.fixture(scope="module", params=REALS)
def library(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ctypes.CDLL, str]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler on this machine")
    path = tmp_path_factory.mktemp("burst") / f"{request.param}.so"
    flags = [*STRICT, f"-DTM_REAL={request.param}", "-O2", "-shared", "-fPIC", "-o", path, SOURCE / "pane.c", "-lm"]
    done = subprocess.run([compiler, *map(str, flags)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = ctypes.CDLL(str(path))
    found.tm_burst.restype = ctypes.c_size_t
    return found, request.param


@pytest.mark.parametrize("name", BURSTS)
def test_the_source_alone_is_right_within_the_precision_of_its_real_type(
    library: tuple[ctypes.CDLL, str], name: str
) -> None:
    shared, kind = library
    real, dtype, tolerance = REALS[kind]
    samples = BURSTS[name].astype(dtype)
    bands = _bands(1024)
    scratch, result = np.empty(3 * 1024, dtype), np.empty(4 + len(bands), dtype)
    size, arrays = ctypes.c_size_t, (samples, twiddles(1024).astype(dtype), bands, scratch, result)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in arrays]
    done = shared.tm_burst(
        pointers[0], size(len(samples)), real(RATE), pointers[1], size(1024), pointers[2], size(len(bands)),
        pointers[3], pointers[4],
    )  # fmt: skip
    assert done == len(samples)
    expected = _expected(samples.astype(np.float64), 1024)
    assert (np.abs(result - expected) <= tolerance * _scales(expected)).all(), (result - expected) / _scales(expected)


def test_the_names_of_the_results_are_in_one_order_in_c_and_python() -> None:
    listed = (Path(SOURCE) / "pane.h").read_text().split("enum { TM_BURST_RMS")[1].split("}")[0]
    names = ["RMS", *(name.strip().removeprefix("TM_BURST_") for name in listed.split(",")[1:])]
    assert [getattr(burst_reference, name) for name in names] == list(range(5))
