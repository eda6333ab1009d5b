r"""Notices of new objects: a hint where to look first, never the truth.

S3 and its look-alikes tell of new objects at least once, late and in any order, sometimes not at all; queues add their
own repetitions. So a notice says only "look there first" or "wake up": what is ingested is decided by listing and
ledger. Messages are deleted after the run has committed, so that a run that fails hears of them again. A message that
cannot be read is counted, told and deleted; it would come back for ever.

Three channels are told apart by their shape. Keys are form-encoded in S3's own notices (``=`` as ``%3D``, a space as
``+``; some look-alikes encode ``/`` too), wrapped in SNS or not, and plain in EventBridge's. They are decoded once.

    >>> body = '{"Records":[{"eventVersion":"2.6","eventSource":"aws:s3","eventName":"ObjectCreated:Put",'
    >>> body += '"s3":{"bucket":{"name":"iot"},"object":{"key":"raw/dt%3D2025-11-24/press+7.json"}}}]}'
    >>> parse(body)
    [Notice(bucket='iot', key='raw/dt=2025-11-24/press 7.json')]
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote_plus

from serving.errors import StoreError

_WRAPPINGS = 2  # SNS around S3 or EventBridge; a second one where a topic feeds another queue's topic


@dataclass(frozen=True, slots=True)
class Notice:
    """An object is said to have been created.

    Attributes:
        bucket: The bucket.
        key: The whole key in it, decoded.
    """

    bucket: str
    key: str


class Message(Protocol):
    """A message of a queue."""

    @property
    def body(self) -> str:
        """Its text."""


class Queue(Protocol):
    """Where messages come from; every error is a ``StoreError``."""

    def receive(self, wait_s: float) -> Sequence[Message]:
        """What is there; waits for a first message, not for more."""

    def delete(self, messages: Sequence[Any]) -> None:
        """Messages that are done with."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What a queue told.

    Attributes:
        keys: Keys within the store that are said to be new.
        messages: The messages they came in, with those that say nothing.
        foreign: Notices of other buckets or prefixes.
        faults: What could not be read or reached, in words.
        queue: Where to delete them.
    """

    keys: frozenset[str] = frozenset()
    messages: tuple[Message, ...] = ()
    foreign: int = 0
    faults: tuple[str, ...] = ()
    queue: Queue | None = field(default=None, repr=False)

    def forget(self) -> str:
        """Delete the messages, once what they told of is in the ledger; why not, where that fails.

        They come again then, which harms nobody.
        """
        try:
            if self.queue and self.messages:
                self.queue.delete(self.messages)
        except StoreError as error:
            return f"messages stay in the queue: {error}"
        return ""


def hear(queue: Queue, store_uri: str, wait_s: float = 0) -> Heard:
    """Ask a queue what is new in a store.

    Args:
        queue: The queue; one that cannot be reached is a fault of the result, because a listing will do.
        store_uri: ``s3://bucket/prefix``; notices of other places are counted and passed over.
        wait_s: How long to wait for a first message, seconds.
    """
    try:
        messages = tuple(queue.receive(wait_s))
    except StoreError as error:
        return Heard(faults=(str(error),))
    bucket, _, prefix = store_uri.partition("://")[2].partition("/")
    folder = f"{prefix}/" if prefix else ""
    told: list[Notice] = []
    faults = []
    for message in messages:
        try:
            told += parse(message.body)
        except ValueError as error:
            faults.append(f"a message was passed over: {error}: {message.body[:200]!r}")
    ours = {notice for notice in told if notice.bucket == bucket and notice.key.startswith(folder)}
    keys = frozenset(notice.key.removeprefix(folder) for notice in ours)
    return Heard(keys, messages, sum(notice not in ours for notice in told), tuple(faults), queue)


def parse(body: str) -> list[Notice]:
    """Read a message.

    Args:
        body: The text as it came from the queue.

    Returns:
        Its notices of created objects, in order; none in S3's test message and in notices of other kinds.

    Raises:
        ValueError: It is no notice of S3, or of a version that nobody here knows.
    """
    document = _object(_decoded(body), "message")
    for _ in range(_WRAPPINGS):
        if isinstance(document.get("Message"), str) and "TopicArn" in document:
            document = _object(_decoded(document["Message"]), "message in SNS")
    if document.get("source") == "aws.s3":
        return _of_event_bridge(document)
    if document.get("Event") == "s3:TestEvent":
        return []
    records = document.get("Records")
    if not isinstance(records, list):
        raise ValueError("neither records nor an event of S3")  # noqa: TRY004 - one kind of error for all of it
    return [notice for record in records for notice in _of_record(_object(record, "record"))]


def _of_record(record: Mapping[str, Any]) -> list[Notice]:
    name = str(record.get("eventName", "")).removeprefix("s3:")
    if not name.startswith("ObjectCreated:"):
        return []
    version = str(record.get("eventVersion", ""))
    if version.partition(".")[0] != "2":
        raise ValueError(f"notices of version 2.x are known, this one is of {version!r}")
    place = _object(record.get("s3"), "s3")
    bucket, key = _object(place.get("bucket"), "bucket").get("name"), _object(place.get("object"), "object").get("key")
    return [_notice(bucket, unquote_plus(key) if isinstance(key, str) else key)]


def _of_event_bridge(event: Mapping[str, Any]) -> list[Notice]:
    if event.get("detail-type") != "Object Created":
        return []
    detail = _object(event.get("detail"), "detail")
    bucket, key = (
        _object(detail.get("bucket"), "bucket").get("name"),
        _object(detail.get("object"), "object").get("key"),
    )
    return [_notice(bucket, key)]


def _notice(bucket: Any, key: Any) -> Notice:
    if not (isinstance(bucket, str) and isinstance(key, str) and key):
        raise ValueError("a notice names no bucket or no key")
    return Notice(bucket, key)


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(value: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{what} is no JSON object")  # noqa: TRY004 - see above
    return value
