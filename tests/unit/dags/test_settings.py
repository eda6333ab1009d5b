import doctest
import importlib
import json

import pytest
from airflow.sdk import Connection

from dags import settings
from dags.errors import ConnectionFieldError, MixedSourcesError

KEYS = {"login": "AKIAPLANT", "password": "secret-of-the-plant"}
PLACE = {"endpoint_url": "http://minio:9000", "region_name": "eu-central-1"}


def aws(extra=None, **fields):
    return Connection(conn_id="aws_default", conn_type="aws", extra=json.dumps(extra) if extra else None, **fields)


def mlflow(**fields):
    return Connection(conn_id="mlflow_default", conn_type="http", **fields)


def environment(*connections, **environ):
    return settings.command_environment({each.conn_id: each for each in connections}, environ)


def test_without_connections_the_environment_is_left_alone():
    assert environment(AWS_PROFILE="plant", PATH="/bin") == {"AWS_PROFILE": "plant", "PATH": "/bin"}


def test_a_connection_becomes_standard_variables():
    assert environment(aws(PLACE, **KEYS)) == {
        "AWS_ACCESS_KEY_ID": "AKIAPLANT",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-plant",
        "AWS_ENDPOINT_URL_S3": "http://minio:9000",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }


def test_a_whole_connection_replaces_the_whole_set_of_the_environment():
    found = environment(
        aws(PLACE, **KEYS),
        AWS_ACCESS_KEY_ID="OTHER",
        AWS_SESSION_TOKEN="t",
        AWS_ENDPOINT_URL="http://x",
        AWS_REGION="y",
    )
    assert found["AWS_ACCESS_KEY_ID"] == "AKIAPLANT"
    assert not {"AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION"} & set(found)


@pytest.mark.parametrize(
    ("connection", "environ", "said"),
    [
        (
            aws(**KEYS),
            {"AWS_ENDPOINT_URL_S3": "http://x"},
            r"endpoint would come from the environment \(AWS_ENDPOINT_URL_S3\) and the keys from .* aws_default",
        ),
        (
            aws(PLACE),
            {"AWS_PROFILE": "plant"},
            r"keys would come from the environment \(AWS_PROFILE\) and the endpoint, re",
        ),
        (aws(**KEYS), {"AWS_REGION": "eu-west-1"}, "region would come from the environment"),
        (
            mlflow(host="mlflow.plant"),
            {"MLFLOW_TRACKING_TOKEN": "t"},
            r"keys would come from the environment \(MLFLOW_TRACKING_TOKEN\) and the address from .* mlflow_default",
        ),
        (
            mlflow(login="me", password="secret"),
            {"MLFLOW_TRACKING_URI": "http://x"},
            "address would come from the envir",
        ),
    ],
)
def test_keys_and_place_from_two_sources_are_refused_and_both_are_named(connection, environ, said):
    with pytest.raises(MixedSourcesError, match=said):
        environment(connection, **environ)


def test_a_connection_that_says_nothing_counts_as_none():
    assert environment(aws(), AWS_PROFILE="plant") == {"AWS_PROFILE": "plant"}


def test_a_field_that_cannot_be_handed_on_is_refused():
    with pytest.raises(ConnectionFieldError, match=r"role_arn cannot be handed.*profile_name"):
        environment(aws({"role_arn": "arn:aws:iam::1:role/x"}, **KEYS))


def test_extra_fields_that_are_no_json_are_refused():
    with pytest.raises(ConnectionFieldError, match="no JSON"):
        environment(Connection(conn_id="aws_default", conn_type="aws", extra="{", **KEYS))


def test_the_command_never_sees_the_secrets_of_airflow():
    environ = {"AIRFLOW__API_AUTH__JWT_SECRET": "s", "AIRFLOW_CONN_X": "c", "AIRFLOW_CTX_DAG_ID": "train"}
    assert environment(**environ) == {"AIRFLOW_CTX_DAG_ID": "train"}


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        ({"host": "mlflow.plant", "port": 5000}, "http://mlflow.plant:5000"),
        ({"host": "https://mlflow.plant"}, "https://mlflow.plant"),
    ],
)
def test_the_address_of_mlflow_is_read_from_its_host(fields, address):
    assert environment(mlflow(**fields))["MLFLOW_TRACKING_URI"] == address


@pytest.mark.parametrize("name", ["assets", "command", "errors", "forms", "settings"])
def test_examples_hold(name):
    module = importlib.import_module(f"dags.{name}")
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.testmod(module, optionflags=flags).failed == 0
