import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pipelines.notices import Heard, Notice, hear, parse
from serving.errors import StoreUnreachableError


def record(key: str, event: str = "ObjectCreated:Put", version: str = "2.6", bucket: str = "iot") -> dict[str, Any]:
    place = {"bucket": {"name": bucket}, "object": {"key": key, "size": 812, "eTag": "a", "sequencer": "0055AED2"}}
    return {"eventVersion": version, "eventSource": "aws:s3", "eventName": event, "s3": place}


def body(*records: Any) -> str:
    return json.dumps({"Records": records})


def sns(message: str) -> str:
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:raw", "Message": message})


def bridge(key: str, kind: str = "Object Created") -> str:
    detail = {"version": "0", "bucket": {"name": "iot"}, "object": {"key": key, "etag": "a", "sequencer": "0055"}}
    return json.dumps({"version": "0", "source": "aws.s3", "detail-type": kind, "detail": detail})


TEST_EVENT = json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "iot"})
GOOD = {
    "plain": (body(record("raw/a.json")), ["raw/a.json"]),
    "hive": (body(record("raw/dt%3D2025-11-24/press+7.json")), ["raw/dt=2025-11-24/press 7.json"]),
    "slashes-of-minio": (body(record("raw%2Fdt%3D1%2Fa.json", "s3:ObjectCreated:Put", "2.0")), ["raw/dt=1/a.json"]),
    "a-plus-and-a-percent": (body(record("raw/a%2Bb%2520c")), ["raw/a+b%20c"]),
    "not-ascii": (body(record("raw/%C3%A9.json")), ["raw/é.json"]),
    "old-version": (body(record("a", version="2.1")), ["a"]),
    "coming-version": (body(record("a", version="2.17")), ["a"]),
    "parts": (body(record("a", "ObjectCreated:CompleteMultipartUpload")), ["a"]),
    "copy": (body(record("a", "ObjectCreated:Copy")), ["a"]),
    "deleted": (body(record("a", "ObjectRemoved:Delete")), []),
    "tagged-in-a-version-to-come": (body(record("a", "ObjectTagging:Put", "3.0")), []),
    "several": (body(record("a"), record("b", "ObjectRemoved:Delete"), record("c")), ["a", "c"]),
    "no-records": (body(), []),
    "test-event": (TEST_EVENT, []),
    "sns": (sns(body(record("raw/dt%3D1/a"))), ["raw/dt=1/a"]),
    "sns-test-event": (sns(TEST_EVENT), []),
    "event-bridge": (bridge("raw/dt=1/a+b%3D.json"), ["raw/dt=1/a+b%3D.json"]),
    "event-bridge-deleted": (bridge("a", "Object Deleted"), []),
    "event-bridge-through-sns": (sns(bridge("raw/dt=1/a")), ["raw/dt=1/a"]),
}
BAD = {
    "empty": "",
    "no-json": "hello",
    "a-number": "7",
    "a-list": "[]",
    "nothing-known": "{}",
    "sns-around-text": sns("hello"),
    "records-of-no-list": '{"Records": {}}',
    "a-record-of-text": body("a"),
    "version-3": body(record("a", version="3.0")),
    "no-version": body({**record("a"), "eventVersion": None}),
    "no-key": body(record("")),
    "key-of-a-number": body({**record("a"), "s3": {"bucket": {"name": "iot"}, "object": {"key": 7}}}),
    "no-s3": body({**record("a"), "s3": None}),
    "event-bridge-without-detail": '{"source": "aws.s3", "detail-type": "Object Created"}',
    "another-event": '{"source": "aws.ec2", "detail-type": "Object Created"}',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize(("text", "keys"), GOOD.values(), ids=GOOD)
def test_created_objects_are_read_from_every_channel(text, keys):
    assert parse(text) == [Notice("iot", key) for key in keys]


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_is_no_notice_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        parse(text)


@dataclass(frozen=True)
class Text:
    body: str


class MemoryQueue:
    """A queue that gives everything until it is deleted."""

    def __init__(self, *bodies: str) -> None:
        self.messages = [Text(text) for text in bodies]
        self.reachable = True

    def receive(self, wait_s: float) -> Sequence[Text]:
        self._answer()
        return list(self.messages)

    def delete(self, messages: Sequence[Text]) -> None:
        self._answer()
        self.messages = [message for message in self.messages if message not in messages]

    def _answer(self) -> None:
        if not self.reachable:
            raise StoreUnreachableError("the queue does not answer", where="queue")


def test_keys_are_those_of_the_store_each_once_and_bad_messages_are_told():
    queue = MemoryQueue(
        body(record("site/raw/a"), record("site/raw/a"), record("other/raw/b"), record("site/raw/c", bucket="else")),
        sns(body(record("site/raw/a"))),
        "hello",
        TEST_EVENT,
    )
    heard = hear(queue, "s3://iot/site")
    assert (set(heard.keys), heard.foreign, len(heard.messages)) == ({"raw/a"}, 2, 4)
    (fault,) = heard.faults
    assert "passed over" in fault
    assert "hello" in fault
    assert len(queue.messages) == 4
    assert heard.forget() == ""
    assert queue.messages == []


def test_a_whole_bucket_is_a_store_too():
    assert hear(MemoryQueue(body(record("raw/a"))), "s3://iot").keys == {"raw/a"}


def test_a_queue_that_cannot_be_reached_is_told_and_stops_nobody():
    queue = MemoryQueue(body(record("raw/a")))
    heard = hear(queue, "s3://iot")
    queue.reachable = False
    assert "messages stay in the queue" in heard.forget()
    silent = hear(queue, "s3://iot")
    assert (silent.keys, len(silent.faults)) == (frozenset(), 1)
    assert silent.forget() == Heard().forget() == ""
