import io
import json
from typing import Any

import numpy as np
import pytest

from serving.bundle import digest_of
from serving.cloud.meter import Meter
from serving.cloud.models import ModelTable
from serving.cloud.recorder import Recorder
from serving.cloud.server import Server
from serving.journal import Journal
from serving.prediction import decode, prediction_id
from serving.predictor import Predictor
from serving.record import Spool
from serving.release import Release, bundle_path
from tests.fakes import bundles, models
from tests.fakes.stores import MemoryStore

NOW = 1_764_000_000_000_000
TOKEN = "a-token-of-sixteen-letters"
DATA = bundles.packed()
ROWS = bundles.bundle().golden.rows
INFER = "/v2/models/fan_failure/infer"


class Cloud:
    """A server with one model and what it stands on, without threads."""

    def __init__(self, folder: Any, token: str = "", capacity: int = 100) -> None:
        self.store = MemoryStore()
        self.spool = Spool(folder, self.store)
        self.lines = io.StringIO()
        self.table, self.meter, self.reason = ModelTable(), Meter(), ""
        journal = Journal(self.lines)
        self.recorder = Recorder(self.spool, self.meter, journal, capacity=capacity)
        self.server = Server(
            self.table,
            self.recorder,
            self.meter,
            journal,
            unready=lambda: self.reason,
            instance="cloud-1",
            version="0.1",
            clock=lambda: NOW,
            token=token,
            max_rows=50,
        )
        self.install(DATA, "3")

    def install(self, data: bytes, version: str) -> None:
        digest = digest_of(data)
        self.table.install(Release("fan_failure", 1, version, digest, bundle_path(digest), 0, ("cloud",)), data)

    def ask(
        self, path: str, body: object = None, headers: dict[str, str] | None = None, method: str = ""
    ) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        response = self.server.handle(method or ("GET" if body is None else "POST"), path, headers or {}, data)
        return response.status, json.loads(response.body) if response.body.startswith(b"{") else response.body


def request_of(rows: Any, **parameters: object) -> dict[str, object]:
    data = [[None if np.isnan(value) else value for value in row] for row in rows.tolist()]
    tensor = {"name": "features", "shape": list(rows.shape), "datatype": "FP64", "data": data}
    return {"inputs": [tensor], "parameters": parameters}


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path)
    yield cloud
    cloud.spool.close()


def test_an_answer_carries_the_predictors_scores_and_the_version_that_gave_them(cloud):
    status, answer = cloud.ask(INFER, {**request_of(ROWS), "id": "mine"})
    expected = Predictor(bundles.bundle()).predict(ROWS)
    assert (status, answer["model_name"], answer["model_version"], answer["id"]) == (200, "fan_failure", "3", "mine")
    score, alert = answer["outputs"]
    np.testing.assert_array_equal(score["data"], expected.score)
    assert alert["data"] == expected.alert.tolist()
    assert set(alert["data"]) == {True, False}


def test_an_answer_has_an_id_where_the_client_gave_none(cloud):
    first, second = (cloud.ask(INFER, request_of(ROWS[:1]))[1]["id"] for _ in range(2))
    assert first
    assert first != second


def test_a_version_can_be_asked_for_and_only_the_one_that_is_there_answers(cloud):
    assert cloud.ask("/v2/models/fan_failure/versions/3/infer", request_of(ROWS[:1]))[0] == 200
    status, answer = cloud.ask("/v2/models/fan_failure/versions/2/infer", request_of(ROWS[:1]))
    assert status == 404
    assert "version 3" in answer["error"]


def test_metadata_names_the_features_in_order(cloud):
    status, answer = cloud.ask("/v2/models/fan_failure")
    assert status == 200
    assert (answer["name"], answer["versions"]) == ("fan_failure", ["3"])
    assert answer["inputs"] == [{"name": "features", "datatype": "FP64", "shape": [-1, 6]}]
    assert answer["parameters"]["features"] == list(bundles.FEATURES.names)
    assert answer["parameters"]["feature_digest"] == bundles.FEATURES.digest


def test_the_fixed_paths_answer(cloud):
    assert cloud.ask("/v2") == (200, {"name": "tidemill", "version": "0.1", "extensions": ["binary_tensor_data"]})
    assert cloud.ask("/v2/models") == (200, {"models": [{"name": "fan_failure", "version": "3"}]})
    assert cloud.ask("/v2/health/live") == (200, {"live": True})
    assert cloud.ask("/v2/models/fan_failure/ready") == (200, {"name": "fan_failure", "ready": True})
    assert cloud.ask("/v2/models/fan_failure/versions/3/ready")[0] == 200


def test_readiness_says_what_is_missing(cloud):
    assert cloud.ask("/v2/health/ready")[0] == 200
    cloud.reason = "fan_wear: not loaded yet"
    assert cloud.ask("/v2/health/ready") == (400, {"error": "not ready: fan_wear: not loaded yet"})


REFUSED = {
    "an unknown path": ("/v3", None, "GET", 404),
    "no path": ("/", None, "GET", 404),
    "an unknown model": ("/v2/models/pump/infer", {}, "POST", 404),
    "an unknown model's metadata": ("/v2/models/pump", None, "GET", 404),
    "a path below a model": ("/v2/models/fan_failure/explain", None, "GET", 404),
    "a version without a number": ("/v2/models/fan_failure/versions/", None, "GET", 404),
    "infer by GET": (INFER, None, "GET", 405),
    "a POST to metadata": ("/v2/models/fan_failure", {}, "POST", 405),
    "a POST to health": ("/v2/health/live", {}, "POST", 405),
    "no JSON": (INFER, b"{", "POST", 400),
    "too many rows": (INFER, request_of(np.zeros((51, 6))), "POST", 413),
    "a number that float32 cannot hold": (INFER, request_of(np.full((1, 6), 1e300)), "POST", 400),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_request_is_refused_in_the_protocols_form(cloud, case):
    path, body, method, expected = REFUSED[case]
    status, answer = cloud.ask(path, body, method=method)
    assert status == expected
    assert answer["error"]


def test_a_length_of_the_json_part_that_is_no_number_is_refused(cloud):
    assert cloud.ask(INFER, request_of(ROWS), {"inference-header-content-length": "-1"})[0] == 400


def test_binary_tensors_go_in_and_come_out(cloud):
    tail = ROWS.astype("<f8").tobytes()
    tensor: dict[str, object] = {"name": "features", "shape": list(ROWS.shape), "datatype": "FP64"}
    tensor["parameters"] = {"binary_data_size": len(tail)}
    text = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    response = cloud.server.handle("POST", INFER, {"inference-header-content-length": str(len(text))}, text + tail)
    headers = dict(response.headers)
    start = int(headers["inference-header-content-length"])
    assert headers["content-type"] == "application/octet-stream"
    scores = np.frombuffer(response.body[start : start + 8 * len(ROWS)], "<f8")
    np.testing.assert_array_equal(scores, Predictor(bundles.bundle()).predict(ROWS).score)


def test_named_rows_are_recorded_with_what_was_answered(cloud):
    ends = [3_600_000_000, 7_200_000_000]
    status, answer = cloud.ask(INFER, request_of(ROWS[:2], devices=["fan-1", "fan-2"], window_ends_us=ends))
    cloud.recorder._write()
    cloud.spool.forward()
    ((key, data),) = cloud.store.objects.items()
    rows = decode(data)
    assert status == 200
    assert key.startswith("predictions/fan_failure/cloud/cloud-1/2025-11-24/")
    assert [row.id for row in rows] == answer["parameters"]["prediction_ids"]
    assert rows[0].id == prediction_id("fan_failure", "cloud", "cloud-1", "fan-1", ends[0], digest_of(DATA))
    assert [(row.device, row.window_end_us, row.version) for row in rows] == [
        ("fan-1", ends[0], "3"),
        ("fan-2", ends[1], "3"),
    ]
    assert [row.score for row in rows] == answer["outputs"][0]["data"]
    np.testing.assert_array_equal([row.features for row in rows], ROWS[:2])


def test_rows_without_names_are_answered_and_not_recorded(cloud):
    assert "parameters" not in cloud.ask(INFER, request_of(ROWS))[1]
    assert cloud.recorder.waiting == 0


def test_when_predictions_cannot_be_recorded_the_client_is_told_to_come_back(tmp_path):
    cloud = Cloud(tmp_path, capacity=3)
    named = request_of(ROWS[:2], devices=["a", "b"], window_ends_us=[1, 2])
    assert cloud.ask(INFER, named)[0] == 200
    response = cloud.server.handle("POST", INFER, {}, json.dumps(named).encode())
    assert (response.status, dict(response.headers)["retry-after"]) == (503, "1")
    assert cloud.ask(INFER, request_of(ROWS))[0] == 200
    cloud.spool.close()


@pytest.mark.parametrize("given", ["", f"Bearer {TOKEN}x", TOKEN, f"bearer {TOKEN}"])
def test_without_the_token_only_health_is_told(tmp_path, given):
    cloud = Cloud(tmp_path, TOKEN)
    headers = {"authorization": given}
    assert cloud.ask("/v2/health/live", None, headers)[0] == 200
    assert cloud.ask("/v2/health/ready", None, headers)[0] == 200
    for path in ("/v2", "/v2/models/fan_failure", "/metrics", "/nothing"):
        assert cloud.ask(path, None, headers)[0] == 401
    assert cloud.ask(INFER, request_of(ROWS), headers)[0] == 401
    cloud.spool.close()


def test_with_the_token_everything_is_answered(tmp_path):
    cloud = Cloud(tmp_path, TOKEN)
    assert cloud.ask(INFER, request_of(ROWS), {"authorization": f"Bearer {TOKEN}"})[0] == 200
    cloud.spool.close()


def test_a_model_that_fails_is_a_fault_of_the_server_with_a_code(cloud):
    cloud.install(models.leaves_the_range(), "4")
    status, answer = cloud.ask(INFER, request_of(np.full((1, 6), 2900.0)))
    assert status == 500
    assert "TM-225" in answer["error"]
    assert "request_failed" in cloud.lines.getvalue()


def test_the_metrics_count_answers_predictions_and_name_the_model(cloud):
    cloud.ask(INFER, request_of(ROWS))
    cloud.ask(INFER, b"{")
    text = cloud.ask("/metrics")[1].decode()
    alerts = int(Predictor(bundles.bundle()).predict(ROWS).alert.sum())
    for line in (
        'tidemill_requests_total{kind="infer",status="200"} 1',
        'tidemill_requests_total{kind="infer",status="400"} 1',
        'tidemill_request_seconds_count{kind="infer"} 2',
        f'tidemill_predictions_total{{usecase="fan_failure",version="3"}} {len(ROWS)}',
        f'tidemill_alerts_total{{usecase="fan_failure",version="3"}} {alerts}',
        f'tidemill_model_info{{usecase="fan_failure",version="3",bundle="{digest_of(DATA)}"}} 1',
        "tidemill_ready 1",
    ):
        assert line in text.splitlines()
