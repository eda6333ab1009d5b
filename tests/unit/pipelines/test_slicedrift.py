import json

import numpy as np
import pytest

from pipelines.drift import MAJOR
from pipelines.lake import Lake
from pipelines.monitor import monitor
from pipelines.predictionlog import read_log
from pipelines.retraining import RetrainingRules
from pipelines.slicedrift import slice_drifts
from pipelines.watched import events_of, watched_versions
from serving.bundle import unpack
from serving.predictor import Predictor
from serving.store import open_store
from tests.fakes.predictions import DAY, HOUR, NOW, PUMPS, START, USECASE, prediction, send
from tests.fakes.watched import NAMES, TRAINED, keep_rows, publish, remembering

KIND = 3  # a feature that stands still in each pump
OLD, NEW = PUMPS[:3], PUMPS[3:]


def values_of(random, pump, shift=0.0):
    values = random.uniform(0, 10, len(NAMES)) + shift
    values[KIND] = 1.0 if pump in OLD else 2.0
    return values


@pytest.fixture
def store(tmp_path):
    return open_store(str(tmp_path / "store"), create=True)


@pytest.fixture
def lake(store):
    return Lake(store.uri)


@pytest.fixture
def fed(tmp_path, store, lake):
    """Training of both kinds of pump, and a week in which those of the second kind have moved."""
    random, digest = np.random.default_rng(3), publish(store, remembering())
    hours = [(pump, TRAINED[0] + hour * HOUR) for pump in PUMPS for hour in range(0, 20 * 24, 2)]
    rows = np.array([values_of(random, pump) for pump, _ in hours])
    keep_rows(lake, [pump for pump, _ in hours], [end for _, end in hours], rows)
    week = [(pump, START + hour * HOUR) for pump in PUMPS for hour in range(0, 7 * 24, 2)]
    values = np.array([values_of(random, pump, 3.0 * (pump in NEW)) for pump, _ in week])
    scores = Predictor(unpack(remembering())).predict(values).score.tolist()
    predictions = [
        prediction(*who, digest=digest, score=score, features=row)
        for who, score, row in zip(week, scores, values, strict=True)
    ]
    send(tmp_path, store, predictions)
    return digest


def parts(store, lake):
    return {each["group"] + " " + each["name"]: each for each in report(store, lake)["slices"]}


def report(store, lake):
    return json.loads(store.get(monitor(store, lake, USECASE, NOW).report))


def test_the_kind_that_moved_is_named_and_the_other_is_calm(store, lake, fed):
    summary = monitor(store, lake, USECASE, NOW)
    assert summary.worst_slice.startswith(f"{NAMES[KIND]} 2: 54 of 55 features moved far, most ")
    found = parts(store, lake)
    calm, moved = found[f"{NAMES[KIND]} 1"], found[f"{NAMES[KIND]} 2"]
    assert (calm["drifted"], calm["devices"], calm["windows"], calm["reference"]) == ([], 3, 252, 720)
    assert len(moved["drifted"]) == len(NAMES) - 1
    assert moved["most"]["values"] == 252
    assert {group.rpartition(" of the ")[0] for group in found if "age" in group} == {"age"}


def test_scores_of_a_part_are_compared_with_what_the_bundle_says_of_its_training(store, lake, fed):
    found = parts(store, lake)
    assert found[f"{NAMES[KIND]} 1"]["score"]["index"] < MAJOR < found[f"{NAMES[KIND]} 2"]["score"]["index"]


def test_parts_inform_and_the_whole_decides(store, lake, fed):
    calm_rules = RetrainingRules(max_drifted=1.0, max_stability_index=5.0)
    summary = monitor(store, lake, USECASE, NOW, rules=calm_rules)
    assert summary.reasons == []


def test_without_rows_of_training_it_says_why(tmp_path, store, lake):
    digest = publish(store, remembering())
    send(tmp_path, store, [prediction("pump-1", START, digest=digest)])
    summary = monitor(store, lake, USECASE, NOW)
    assert summary.worst_slice == ""
    assert any("feature rows of its training are not in this store" in note for note in summary.notes)


def test_small_parts_are_marked_and_never_the_worst(tmp_path, store, lake, fed):
    random = np.random.default_rng(4)
    few = [
        prediction("pump-9", START + hour * HOUR, digest=fed, features=values_of(random, "pump-0", 500.0))
        for hour in range(10)
    ]
    for one in few:
        object.__setattr__(one, "features", (*one.features[:KIND], 7.0, *one.features[KIND + 1 :]))
    send(tmp_path, store, few)
    log = read_log_of(store, lake)
    found, why = slice_drifts(lake, log[-1], None, RetrainingRules())
    assert why == ""
    small = [part for part in found if part.name == "7"]
    assert [(part.small, part.features, part.windows) for part in small] == [(True, 0, 10)]
    assert not found[0].small


def read_log_of(store, lake):
    monitor(store, lake, USECASE, NOW)
    log = read_log(lake, USECASE.name, NOW)
    return watched_versions(store, log, USECASE, events_of(lake, USECASE), START + 30 * DAY)
