"""A prediction is found, and taken apart by the model that made it."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from infra.local import cli, explain
from pipelines import usecases
from pipelines.lake import Lake
from pipelines.tables import predictions
from serving.bundle import Golden, pack, unpack
from serving.prediction import Prediction, encode, prediction_id
from serving.store import FolderStore
from tests.fakes.bundles import FEATURES, golden_of, logistic_model, manifest_of
from tests.fakes.releases import Releases

WEIGHTS = np.array([0.5, 0.0, -0.25, 0.0, 0.0, 0.1])
END_US = 1_767_571_200_000_000


@pytest.fixture
def data() -> bytes:
    golden = golden_of(WEIGHTS, 0.0)
    return pack(
        manifest_of(usecase="pump_failure"), logistic_model(WEIGHTS, 0.0), Golden(golden.rows, golden.scores, 1e-3)
    )


def prediction(data: bytes, features: tuple[float, ...], device: str = "fan-1", end_us: int = END_US) -> Prediction:
    digest = unpack(data).digest
    found = prediction_id("pump_failure", "gateway", "gw-1", device, end_us, digest)
    score = float(1 / (1 + np.exp(-np.nan_to_num(features) @ WEIGHTS)))
    return Prediction(
        found, "pump_failure", "gateway", "gw-1", device, end_us, end_us + 1, "3", digest, FEATURES.digest, score,
        score >= 0.5, features,
    )  # fmt: skip


def test_the_feature_that_moved_the_score_most_comes_first(data: bytes):
    asked = prediction(data, (9.0, 100.0, 6.0, 5.0, math.nan, 5.0))
    causes = explain.causes_of(asked, unpack(data))
    assert [cause.feature for cause in causes[:2]] == ["speed_mean_1h", "speed_max_1h"]
    without = 1 / (1 + np.exp(-(5.0 * 0.5 - 6.0 * 0.25 + 5.0 * 0.1)))
    assert causes[0].moved == pytest.approx(asked.score - without, abs=1e-5)
    assert causes[0].moved > 0 > causes[1].moved
    assert [cause.moved for cause in causes[2:]] == pytest.approx([0.0] * 4, abs=1e-6)
    assert causes[0].sentence.startswith("speed_mean_1h was 9, usually 1 to 9: raised the score by 0.")


def test_a_missing_feature_is_said_to_be_missing(data: bytes):
    asked = prediction(data, (math.nan, 1.0, 1.0, 1.0, 1.0, 1.0))
    assert "speed_mean_1h was missing" in explain.causes_of(asked, unpack(data))[0].sentence


@pytest.fixture
def store(tmp_path: Path, data: bytes) -> FolderStore:
    (tmp_path / "store").mkdir()
    store = FolderStore(tmp_path / "store")
    Releases(store, tmp_path / "keys").release("3", data, usecase="pump_failure")
    logged = [prediction(data, (9.0, 1.0, 1.0, 1.0, 1.0, 1.0), end_us=END_US + hour * 3_600_000_000) for hour in (0, 1)]
    store.put("predictions/pump_failure/gateway/gw-1/2026-01-05/a.jsonl.gz", encode(logged))
    return store


def to_table(store: FolderStore, found: Prediction) -> None:
    row = {
        "date": ["2026-01-05"], "id": [found.id], "placement": ["cloud"], "instance": ["s"], "device": [found.device],
        "window_end": [found.window_end_us], "predicted_at": [found.predicted_at_us], "version": ["3"],
        "bundle": [found.bundle], "feature_digest": [found.feature_digest], "score": [found.score],
        "alert": [found.alert], "features": [[None if math.isnan(v) else v for v in found.features]],
    }  # fmt: skip
    rows = pa.table(row, schema=predictions("pump_failure").schema)
    Lake(store.uri).predictions("pump_failure").create().append(rows, transaction=("test", 1))


def test_the_latest_prediction_of_a_device_is_explained(store: FolderStore, capsys):
    assert cli.run(["explain", "fan-1", "--store", store.uri]) == 0
    out = capsys.readouterr().out
    assert "24 h from 2026-01-05T01:00:00Z" in out
    assert "ALERT, it alerts above 0.50" in out
    assert "speed_mean_1h was 9" in out


def test_a_prediction_is_found_by_its_id_in_logs_and_table(store: FolderStore, data: bytes, capsys):
    in_table = prediction(data, (9.0, math.nan, 1.0, 1.0, 1.0, 1.0), device="fan-2")
    to_table(store, in_table)
    in_log = prediction(data, (9.0, 1.0, 1.0, 1.0, 1.0, 1.0))
    for wanted in (in_table, in_log):
        assert cli.run(["explain", wanted.id, "--store", store.uri, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["prediction"]["device"] == wanted.device
        assert found["prediction"]["features"][0] == 9.0
        assert found["causes"][0]["feature"] == "speed_mean_1h"
    assert found["schema"] == "tidemill.explain/1"


def test_the_table_alone_suffices(store: FolderStore, data: bytes):
    in_table = prediction(data, (9.0, math.nan, 1.0, 1.0, 1.0, 1.0), device="fan-2")
    to_table(store, in_table)
    found = explain.latest_of(store, Lake(store.uri), "pump_failure", "fan-2")
    assert found is not None
    assert found.id == in_table.id
    assert math.isnan(found.features[1])


@pytest.mark.parametrize("thing", ["0" * 32, "fan-9"])
def test_what_is_not_known_is_said_so(store: FolderStore, thing: str, capsys):
    assert cli.run(["explain", thing, "--store", store.uri]) == 2
    assert "TM-402" in capsys.readouterr().err


def test_the_use_case_of_these_tests_exists():
    assert "pump_failure" in usecases.names()
