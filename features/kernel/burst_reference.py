"""The burst kernel in numpy: what serves where no compiler was, and what the compiled kernel is measured against.

It does the same as the section on bursts of ``pane.c`` in another way: all segments at once, by numpy's own transform.
"""

import numpy as np
from numpy.typing import NDArray

from features.kernel.reference import check

RMS, CREST, KURTOSIS, PEAK, RESULTS = range(5)
_SMALLEST_SEGMENT = 4

Array = NDArray[np.float64]


def burst(samples: Array, rate: float, twiddles: Array, bands: NDArray[np.int64], result: Array) -> None:
    """Compute the statistics of a burst, into ``result``.

    Args:
        samples: In the order of time, shape ``(n,)``, at least a segment of them. A NaN makes what it touches NaN.
        rate: Samples per second.
        twiddles: ``cos, sin`` of ``2 pi k / segment`` for ``k < segment / 2``, shape ``(segment,)``; the segment is a
            power of two, 4 or more.
        bands: First bin of each band and the one behind its last, shape ``(bands, 2)``; bin ``k`` lies at
            ``k rate / segment`` Hz, the last is ``segment / 2``.
        result: Shape ``(4 + bands,)``: RMS, crest factor, kurtosis, peak frequency, then the energy of each band, as
            ``pane.h`` defines them.

    Raises:
        ValueError: An array has another shape, type or memory layout, or the segment, a band or the length is not
            possible. Nothing was changed.
    """
    check("samples", samples, np.float64, 1)
    check("twiddles", twiddles, np.float64, 1)
    check("bands", bands, np.int64, 2)
    check("result", result, np.float64, 1, writable=True)
    segment, bins = len(twiddles), len(twiddles) // 2 + 1
    if bands.shape[1] != 2 or len(result) != RESULTS + len(bands):  # noqa: PLR2004 - first bin and end
        raise ValueError("bands must be pairs, and result hold four numbers and one for each of them")
    possible = segment >= _SMALLEST_SEGMENT and segment & (segment - 1) == 0 and len(samples) >= segment
    if not possible or ((bands < 0) | (bands > bins) | (bands[:, :1] > bands[:, 1:])).any():
        raise ValueError("the segment, a band or the length of the burst is not possible")
    with np.errstate(all="ignore"):
        result[:PEAK] = _shape(samples)
        energy = _spectrum(samples, twiddles)
        peak = 1 + int(np.argmax(energy[1:]))
        result[PEAK] = peak * rate / segment if energy[peak] > 0 else np.nan
        result[RESULTS:] = [energy[first:end].sum() for first, end in bands.tolist()]


def _shape(samples: Array) -> tuple[float, float, float]:
    about_first = samples - samples[0]
    x = about_first - about_first.mean()
    spread = float(np.square(x).sum())
    rms = float(np.sqrt(np.square(samples).mean()))
    crest = float(np.abs(samples).max() / rms) if rms > 0 else np.nan
    return rms, crest, float((x**4).sum() * len(x) / spread**2) if spread > 0 else np.nan


def _spectrum(samples: Array, twiddles: Array) -> Array:
    """The mean square in each bin."""
    segment = len(twiddles)
    hann = 0.5 * (1 - np.concatenate([twiddles[::2], -twiddles[::2]]))
    pieces = np.lib.stride_tricks.sliding_window_view(samples, segment)[:: segment // 2]
    about_first = pieces - pieces[:, :1]
    spectra = np.fft.rfft((about_first - about_first.mean(axis=1, keepdims=True)) * hann)
    energy: Array = np.square(np.abs(spectra)).mean(axis=0) * 2 / (np.square(hann).sum() * segment)
    energy[[0, -1]] /= 2
    return energy
