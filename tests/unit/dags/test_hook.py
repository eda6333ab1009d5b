"""MLflow's webhook: what counts wakes the release once, and nothing else does."""

import httpx
import pytest
from starlette.testclient import TestClient

from dags.errors import ConnectionFieldError
from dags.fleet import hook
from dags.settings import command_environment, webhook_secret
from serving.journal import now_us

SECRET = "of the press shop"
BODY = b'{"entity": "model_version_alias", "action": "created", "data": {"version": "666"}}'


@pytest.fixture
def woken(monkeypatch, tmp_path):
    """The woken runs; Airflow's database is left out, which the end-to-end tests have."""
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("TIDEMILL_WEBHOOK_SECRET_FILE", str(file))
    found: list[bool] = []
    monkeypatch.setattr(hook, "wake", lambda: found.append(True))
    monkeypatch.setattr(hook, "_seen", type(hook._seen)())
    return found


def signed(delivery="d-1", secret=SECRET, age_s=0, body=BODY):
    """Headers as MLflow itself makes them."""
    from mlflow.webhooks.delivery import _generate_hmac_signature  # noqa: PLC0415 - takes seconds

    sent = str(now_us() // 1_000_000 - age_s)
    signature = _generate_hmac_signature(secret, delivery, sent, body.decode())
    return {"X-MLflow-Signature": signature, "X-MLflow-Delivery-Id": delivery, "X-MLflow-Timestamp": sent}


def post(headers, body=BODY) -> httpx.Response:
    answer: httpx.Response = TestClient(hook.application).post("/mlflow", content=body, headers=headers)
    return answer


def test_a_signed_message_wakes_the_release_once_however_often_it_comes(woken):
    assert [post(signed()).status_code for _ in range(3)] == [202, 200, 200]
    assert post(signed("d-2")).status_code == 202
    assert len(woken) == 2


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        ({}, BODY, "not signed"),
        ({"secret": "another"}, BODY, "signature is wrong"),
        ({}, BODY + b" ", "signature is wrong"),
        ({"age_s": 600}, BODY, "was sent"),
        ({"age_s": -600}, BODY, "was sent"),
    ],
)
def test_what_is_forged_changed_or_replayed_later_wakes_nothing(woken, headers, body, said):
    answer = post(signed(**headers) if headers or body != BODY else {}, body)
    assert answer.status_code == 401
    assert said in answer.text
    assert woken == []


def test_a_message_without_end_is_not_read_to_its_end(woken):
    assert post(signed(), b"x" * (hook.LARGEST_BODY + 1)).status_code == 413
    assert woken == []


def test_without_a_secret_there_is_no_webhook(woken, monkeypatch):
    monkeypatch.delenv("TIDEMILL_WEBHOOK_SECRET_FILE")
    assert post(signed()).status_code == 404


def test_a_secret_that_cannot_be_read_is_told(tmp_path, monkeypatch):
    (tmp_path / "empty").touch()
    for name, said in (("none", "cannot be read"), ("empty", "is empty")):
        monkeypatch.setenv("TIDEMILL_WEBHOOK_SECRET_FILE", str(tmp_path / name))
        with pytest.raises(ConnectionFieldError, match=said):
            webhook_secret()


def test_the_command_never_sees_where_the_secret_is():
    assert command_environment({}, {"TIDEMILL_WEBHOOK_SECRET_FILE": "/run/secret"}) == {}
