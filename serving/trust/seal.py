"""Signatures of the key of releases over records that lie beside the signed repository: ledger entries, consents.

Those records are not published to gateways, so they are no part of the repository; whoever holds the folder of keys
checks them with its public half.
"""

from collections.abc import Mapping

from securesystemslib.exceptions import Error as SigningLibraryError
from securesystemslib.signer import Signature  # type: ignore[attr-defined]  # re-exported without __all__

from serving.trust.keys import KeyRing

ROLE = "releases"


class KeySeal:
    """Signs and checks with the keys of a folder.

    Args:
        keys: To check, its public half is enough; to sign, the private one is read.
    """

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    def sign(self, data: bytes) -> dict[str, str]:
        """Return ``keyid`` and ``sig`` over the bytes.

        Raises:
            KeysError: The private key is missing or cannot be used.
        """
        (signer,) = self._keys.signers(ROLE)
        made: dict[str, str] = signer.sign(data).to_dict()
        return made

    def signed(self, data: bytes, signature: Mapping[str, str]) -> bool:
        """Whether the signature is right, and of the key of releases."""
        known = {key.keyid: key for key in self._keys.of(ROLE)}
        try:
            made = Signature.from_dict(dict(signature))
            known[made.keyid].verify_signature(made, data)
        except (SigningLibraryError, KeyError, TypeError, ValueError, AttributeError):
            return False
        return True
