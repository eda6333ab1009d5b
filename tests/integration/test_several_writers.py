"""Whether several writers may share a store, asked over the real S3 protocol, and notices of new objects from SQS."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from infra.local import cli, doctor
from pipelines.ingest import ingest
from serving.errors import InvalidStoreUriError, MissingStoreError
from serving.s3 import queue as queue_module
from serving.s3.queue import SqsQueue
from tests.fakes.fleets import DAY_US, FANS, NOON_US, Plant, reading
from tests.fakes.s3 import BUCKET, s3_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=[False, True], ids=["atomic", "careless"])
def service(request: pytest.FixtureRequest) -> Iterator[tuple[bool, dict[str, str]]]:
    with s3_server(careless=request.param) as environ:
        yield request.param, environ


@pytest.fixture
def careless(service: tuple[bool, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> bool:
    told, environ = service
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return told


def test_the_doctor_says_whether_several_writers_are_safe(careless):
    found = doctor.store(f"s3://{BUCKET}/doctor")
    if careless:
        assert found.state == "fail"
        assert ": one writer at a time only, because " in found.sentence
    else:
        assert (found.state, found.sentence) == (
            "ok",
            f"s3://{BUCKET}/doctor: this store is safe for several writers",
        )


def test_an_ingest_refuses_a_store_that_cheats_unless_somebody_answers_for_it(careless, capsys):
    uri = f"s3://{BUCKET}/ingest"
    code = cli.run(["ingest", "pumps", "--store", uri, "--json"])
    told = capsys.readouterr()
    if careless:
        assert code == 2
        assert "TM-314" in told.out + told.err
        assert "--single-writer" in told.out + told.err
        cli.run(["ingest", "pumps", "--store", uri, "--json", "--single-writer"])
        told = capsys.readouterr()
    assert "TM-302" in told.out + told.err  # there is nothing to take in yet


def test_an_ingest_reads_first_what_a_queue_told_of_and_deletes_only_then(careless, monkeypatch):
    if careless:
        pytest.skip("once is enough")
    client = boto3.client("sqs", region_name="us-east-1")
    url = client.create_queue(QueueName="raw")["QueueUrl"]
    uri = f"s3://{BUCKET}/queue"
    key = "queue/raw/pumps/telemetry/2025/11/24/12/hub%2B1.json.gz"
    place = {"bucket": {"name": BUCKET}, "object": {"key": key}}
    record = {"eventVersion": "2.6", "eventName": "ObjectCreated:Put", "s3": place}
    for body in (json.dumps({"Records": [record]}), json.dumps({"Records": [record]}), "hello"):
        client.send_message(QueueUrl=url, MessageBody=body)

    monkeypatch.setattr(queue_module, "HIDDEN_S", 1)
    assert cli.run(["ingest", "pumps", "--store", uri, "--queue", url]) != 0  # nothing stored: nothing is deleted
    while _count(client, url, "ApproximateNumberOfMessages") < 3:
        time.sleep(0.05)

    boto3.client("s3").put_object(Bucket=BUCKET, Key=key.replace("%2B", "+"), Body=b"{}")
    # The table engine keeps the interpreter while it waits for a server, so that must not be one of this process.
    program = [sys.executable, "-c", "from infra.local.cli import main; main()"]
    words = ["ingest", "pumps", "--store", uri, "--queue", url, "--json"]
    done = subprocess.run([*program, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert (summary["messages"], summary["hints"], summary["faults"], summary["objects"]) == (3, 1, 1, 1)
    assert "passed over" in done.stderr
    assert _count(client, url, "ApproximateNumberOfMessages") == 0
    assert _count(client, url, "ApproximateNumberOfMessagesNotVisible") == 0


def _count(client, url: str, name: str) -> int:
    return int(client.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])


def test_a_queue_waits_for_a_first_message_and_tells_its_errors(careless):
    if careless:
        pytest.skip("once is enough")
    client = boto3.client("sqs", region_name="us-east-1")
    url = client.create_queue(QueueName="waiting")["QueueUrl"]
    queue = SqsQueue.open(url)
    assert list(queue.receive(0)) == []
    for number in range(25):
        client.send_message(QueueUrl=url, MessageBody=str(number))
    found = queue.receive(5)
    assert sorted(int(message.body) for message in found) == list(range(25))
    queue.delete(found)
    with pytest.raises(MissingStoreError, match="queue"):
        SqsQueue.open(f"{url}-never-made").receive(0)
    for wrong in ("", "raw", "https://", "https://sqs.eu-west-1.amazonaws.com"):
        with pytest.raises(InvalidStoreUriError):
            SqsQueue.open(wrong)


def test_hinted_objects_come_first(tmp_path):
    plant = Plant(tmp_path)
    keys = [plant.write([reading("fan-1", NOON_US + number * 60_000_000)]) for number in range(4)]
    ingest(plant.store, plant.lake, FANS, NOON_US + DAY_US, first={keys[2], "raw/fans/telemetry/lost"})
    intent = json.loads(plant.store.get("ledger/objects/fans/00000001.json"))
    assert [source["key"] for source in intent["objects"]] == [keys[2], keys[0], keys[1], keys[3]]
