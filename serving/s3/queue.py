"""Messages from an SQS queue."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from serving.errors import InvalidStoreUriError, MissingStoreError
from serving.s3 import connection
from serving.s3.connection import raise_for

HIDDEN_S = 900
"""How long other readers do not see what this one received: longer than a run takes."""
_POLL_S = 20  # the longest wait of one request that SQS allows
_AT_ONCE = 10  # messages of one request, the most that SQS gives
_MOST = 1000
_AMAZON = re.compile(r"sqs\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_MISSING = {"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        receipt: What deletes it.
        body: Its text.
    """

    receipt: str
    body: str


class SqsQueue:
    """A queue; see ``pipelines.notices.Queue``.

    Args:
        client: A boto3 client of SQS.
        url: The queue's address.
    """

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    @classmethod
    def open(cls, url: str) -> Self:
        """Open ``https://sqs.<region>.amazonaws.com/<account>/<name>``, or a queue of another service.

        Raises:
            InvalidStoreUriError: It is no address of a queue.
            StoreDeniedError: The profile that the environment names does not exist.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.path in ("", "/"):
            raise InvalidStoreUriError("a queue is named by its address", where=url, fix="https://sqs.<region>.…/…")
        session = connection.session(url)
        amazon = _AMAZON.fullmatch(parts.hostname)
        client = connection.connect(
            session,
            "sqs",
            url,
            patience=connection.READ_S + _POLL_S,
            region_name=amazon[1] if amazon else session.region_name or "us-east-1",
            endpoint_url=None if amazon else f"{parts.scheme}://{parts.netloc}",
        )
        return cls(client, url)

    def receive(self, wait_s: float) -> Sequence[Message]:
        """What is there, a thousand messages at most; waits for a first one."""
        found: list[Message] = []
        end = time.monotonic() + wait_s
        while len(found) < _MOST:
            patience = 0 if found else max(0, min(_POLL_S, round(end - time.monotonic())))
            arguments = {"MaxNumberOfMessages": _AT_ONCE, "WaitTimeSeconds": patience, "VisibilityTimeout": HIDDEN_S}
            answer = self._call(partial(self._client.receive_message, QueueUrl=self._url, **arguments))
            came = answer.get("Messages", ())
            found += [Message(item["ReceiptHandle"], item.get("Body", "")) for item in came]
            if not came and (found or time.monotonic() >= end - 0.5):
                break
        return found

    def delete(self, messages: Sequence[Message]) -> None:
        """Remove messages for good."""
        for start in range(0, len(messages), _AT_ONCE):
            part = messages[start : start + _AT_ONCE]
            entries = [{"Id": str(number), "ReceiptHandle": each.receipt} for number, each in enumerate(part)]
            self._call(partial(self._client.delete_message_batch, QueueUrl=self._url, Entries=entries))

    def _call(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _MISSING:
                raise MissingStoreError("the queue does not exist", where=self._url, fix="check its address") from error
            raise_for(error, self._url, "SQS")
        except connection.FAILURES as error:
            raise_for(error, self._url, "SQS")
