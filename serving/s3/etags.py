"""What the ETags of a service are worth: whether they are the MD5 of their objects, found out from what it answers.

An ETag is no MD5 for objects written in parts or encrypted with a key of KMS or of the customer. Services whose ETag
merely looks like one are recognised by giving the same bytes twice before any ETag fitted.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

_MD5 = re.compile("[0-9a-f]{32}")


class Etags:
    """What is known of one service; nothing at first."""

    def __init__(self) -> None:
        self._are_digests: bool | None = None  # not known before one fitted

    def fit(self, etag: str, data: bytes) -> bool:
        """Whether nothing speaks against these bytes: the ETag is their MD5, or says nothing about bytes."""
        if self._are_digests is False or not _MD5.fullmatch(etag):
            return True
        if _md5(data) != etag:
            return False
        self._are_digests = True
        return True

    def fit_answer(self, answer: Mapping[str, Any], etag: str, data: bytes, seen: set[tuple[str, str]]) -> bool:
        """The same, where the headers of the answer and former attempts at the same object are known.

        Args:
            answer: What boto3 gave.
            etag: Its ETag without quotes.
            data: Its bytes.
            seen: The misfits of former attempts; this one is added.
        """
        if self.fit(etag, data):
            return True
        if "SSECustomerAlgorithm" in answer or answer.get("ServerSideEncryption", "").startswith("aws:kms"):
            self._are_digests = bool(self._are_digests)
            return True
        misfit = (etag, _md5(data))
        if self._are_digests is None and misfit in seen:
            self._are_digests = False
            return True
        seen.add(misfit)
        return False


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
