import numpy as np

from pipelines.calibration import BINS, calibration


def test_probabilities_that_come_true_have_no_error():
    random = np.random.default_rng(0)
    score = random.random(200_000)
    found = calibration(score, random.random(200_000) < score)
    assert found.error < 0.01
    assert len(found.bins) == BINS
    assert all(abs(each.foreseen - each.happened) < 0.02 for each in found.bins)


def test_overconfidence_shows():
    score = np.full(1000, 0.9)
    found = calibration(score, np.arange(1000) < 500)
    assert abs(found.error - 0.4) < 1e-12
    assert [each.windows for each in found.bins] == [0] * 9 + [1000]
    assert np.isnan(found.bins[0].happened)


def test_certainty_belongs_to_the_last_bin_and_nothing_to_none():
    assert calibration(np.array([1.0]), np.array([True])).bins[-1].windows == 1
    assert calibration(np.empty(0), np.empty(0, dtype=bool)).error == 0
