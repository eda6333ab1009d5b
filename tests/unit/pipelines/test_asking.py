"""A training that cannot be is refused before anything is read; the light tables say what the estimators say."""

import pytest

from pipelines import asking, usecases
from pipelines.errors import RequestError
from pipelines.estimators import ESTIMATORS
from pipelines.request import Parameters
from pipelines.tasks import task_of

NOW = 1_790_000_000_000_000


def test_the_tables_are_those_of_the_estimators():
    for learned, names in asking.LEARNS.items():
        assert set(names) == {name for name, kind in ESTIMATORS.items() if learned in kind.learns}
    needs = {name: found for name, kind in ESTIMATORS.items() if (found := getattr(kind, "needs", ""))}
    assert {name: libraries[0] for name, libraries in asking.NEEDS.items()} == needs


@pytest.mark.parametrize("name", usecases.names())
def test_what_is_learned_is_what_the_task_of_a_use_case_says(name):
    usecase = usecases.load(name)
    assert asking.LEARNED[usecase.label.question] == task_of(usecase.label).learns
    asking.refuse(usecase, Parameters(), NOW)
    asking.refuse(usecase, Parameters(estimator=usecase.estimator, since=0, until=NOW), NOW)


@pytest.mark.parametrize("given", ["automatic", "linear"])
def test_an_anomaly_is_learned_by_what_needs_no_answers(given):
    with pytest.raises(RequestError, match=r"Fix: use one of pca, isolation_forest") as caught:
        asking.refuse(usecases.load("process_anomaly"), Parameters(estimator=given), NOW)
    assert (caught.value.code, caught.value.exit_code) == ("TM-329", 2)


def test_a_library_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(RequestError, match="torch_cnn needs torch, which is not installed here"):
        asking.refuse(usecases.load("pump_failure"), Parameters(estimator="torch_cnn"), NOW)


def test_an_estimator_of_somebodys_own_is_left_to_the_training():
    asking.refuse(usecases.load("pump_failure"), Parameters(estimator="mine.trees:Trees"), NOW)
