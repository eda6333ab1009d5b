import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.tasks.ranking import areas


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=2, max_size=60))
def test_the_areas_are_those_of_the_library_ties_and_all(rows):
    positive, score = np.array([row[0] for row in rows]), np.array([row[1] / 7 for row in rows])
    if positive.all() or not positive.any():
        assert np.isnan(areas(positive, score)).all()
        return
    expected = average_precision_score(positive, score), roc_auc_score(positive, score)
    assert areas(positive, score) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_no_numbers_are_in_no_order(wrong):
    with pytest.raises(ValueError, match="1 of 3 scores are not finite"):
        areas(np.array([True, False, True]), np.array([0.1, wrong, 0.3]))
