"""The port of what signs the records that people rely on, ledger entries and consents; ``trust.seal`` fills it."""

from collections.abc import Mapping
from typing import Protocol


class Seal(Protocol):
    """Signs, and tells whether something was signed by whoever may."""

    def sign(self, data: bytes) -> Mapping[str, str]:
        """``keyid`` and ``sig`` over the bytes."""

    def signed(self, data: bytes, signature: Mapping[str, str]) -> bool:
        """Whether the signature is right, and of a key that may sign."""
