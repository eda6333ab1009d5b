"""Online and batch features are compared window by window."""

import numpy as np
import pytest

from infra.local.demo.skew import compare
from serving.record import Prediction

NAMES = ("flow_mean_1h", "flow_std_1h")


def _logged(device, end, *features):
    return Prediction("id", "u", "gateway", "g", device, end, 0, "1", "sha256:0", "sha256:1", 0.5, False, features)


def test_equal_features_have_no_skew_even_where_both_are_missing():
    result = compare(NAMES, [_logged("a", 1, 10.0, np.nan)], {("a", 1): np.array([10.0, np.nan])})
    assert (result.rows, result.max_rel, result.unmatched) == (1, 0.0, 0)


def test_the_difference_is_a_share_of_the_largest_value_of_its_feature():
    batch = {("a", 1): np.array([100.0, 1.0]), ("a", 2): np.array([50.0, 2.0])}
    result = compare(NAMES, [_logged("a", 1, 101.0, 1.0), _logged("a", 2, 50.0, 2.1)], batch)
    assert result.max_rel == pytest.approx(0.05)
    assert result.feature == "flow_std_1h"


def test_a_value_on_one_side_only_is_an_infinite_difference():
    result = compare(NAMES, [_logged("a", 1, 10.0, np.nan)], {("a", 1): np.array([10.0, 0.0])})
    assert result.max_rel == np.inf
    assert result.feature == "flow_std_1h"


def test_windows_that_the_batch_job_does_not_have_are_counted():
    result = compare(NAMES, [_logged("a", 1, 1.0, 1.0), _logged("a", 9, 1.0, 1.0)], {("a", 1): np.array([1.0, 1.0])})
    assert (result.rows, result.unmatched) == (1, 1)


def test_nothing_to_compare_is_no_agreement():
    assert compare(NAMES, [], {}).max_rel == np.inf
