"""The signing keys of the update repository, one PEM file each in one folder.

============================================  ===================================================================
``root-1.pem root-2.pem root-3.pem``          two of the three sign the root; they and the next belong offline
``targets.pem``                               signs once that the role ``releases`` may publish
``releases.pem snapshot.pem timestamp.pem``   online: each release run signs with them
``keys.json``                                 the public halves and the development mark
============================================  ===================================================================

A publisher needs ``keys.json`` and the three online keys; the others are asked for only when a root or the delegation
has to be signed, so that in production they can lie in a safe.

Why so: development keys are not encrypted, because a stack that starts by itself has nobody to ask for a passphrase.
The mark goes into the root that they sign, where every client sees it.
"""

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from securesystemslib.exceptions import Error as SigningLibraryError
from securesystemslib.signer import (  # type: ignore[attr-defined]  # the package re-exports them without __all__
    CryptoSigner,
    Key,
    SSlibKey,
)

from serving.store import sync_folder
from serving.trust.errors import KeysError

ROLES: Mapping[str, tuple[str, ...]] = {  # role -> names of its keys
    "root": ("root-1", "root-2", "root-3"),
    "targets": ("targets",),
    "releases": ("releases",),
    "snapshot": ("snapshot",),
    "timestamp": ("timestamp",),
}
ROOT_THRESHOLD = 2
_FORMAT = 1
_PUBLIC = "keys.json"


def create_keys(folder: Path, *, development: bool = True) -> None:
    """Make all keys in a new folder (0700, files 0600), all or nothing. A folder that holds keys stays as it is.

    Args:
        folder: Where to; it may exist if it is empty.
        development: Mark the root that these keys sign as one for development. Production keys are made with False on
            an offline machine; only the online ones and ``keys.json`` leave it.

    Raises:
        KeysError: The folder holds something else, or cannot be written.

    Example:
        >>> keys = Path(tempfile.mkdtemp()) / "keys"
        >>> create_keys(keys)
        >>> sorted(path.name for path in keys.glob("root*"))
        ['root-1.pem', 'root-2.pem', 'root-3.pem']
    """
    if (folder / _PUBLIC).is_file():
        return
    try:
        if folder.exists() and any(folder.iterdir()):
            raise KeysError(
                "the folder for new keys is not empty",
                where=str(folder),
                why=f"it has no {_PUBLIC}",
                fix="choose another",
            )
        folder.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=".keys-", dir=folder.parent))  # mkdtemp makes it 0700
        try:
            _write_keys(unfinished, development=development)
            unfinished.rename(folder)  # replaces an empty folder only
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        sync_folder(folder.parent)
    except OSError as error:
        raise KeysError("the keys cannot be written", where=str(folder), why=str(error)) from error


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one repository: public halves at hand, private ones read when somebody signs.

    Attributes:
        folder: Where they lie.
        development: Whether they are marked as keys for development.
        public: Public keys by name (``root-1`` …).
    """

    folder: Path
    development: bool
    public: Mapping[str, SSlibKey]

    @classmethod
    def load(cls, folder: Path) -> "KeyRing":
        """Read the public halves.

        Raises:
            KeysError: The folder is missing, damaged, or others may read it.
        """
        try:
            _refuse_readable(folder)
            stated = json.loads((folder / _PUBLIC).read_bytes())
            public = {name: Key.from_dict(fields["keyid"], fields["key"]) for name, fields in stated["keys"].items()}
        except FileNotFoundError as error:
            raise KeysError(
                "there are no signing keys", where=str(folder), fix="tidemill keys, or correct TIDEMILL_KEYS"
            ) from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeysError("the signing keys cannot be read", where=f"{folder}/{_PUBLIC}", why=str(error)) from error
        expected = {name for names in ROLES.values() for name in names}
        usable = {name: key for name, key in public.items() if isinstance(key, SSlibKey)}
        if stated.get("format") != _FORMAT or set(usable) != expected or type(stated.get("development")) is not bool:
            raise KeysError(
                "the signing keys are not as this program makes them",
                where=f"{folder}/{_PUBLIC}",
                why=f"expected are format {_FORMAT}, the development mark, and the keys {', '.join(sorted(expected))}",
            )
        return cls(folder, stated["development"], usable)

    def of(self, role: str) -> list[SSlibKey]:
        """Public keys of a role."""
        return [self.public[name] for name in ROLES[role]]

    def can_sign(self, role: str) -> bool:
        """Whether enough private keys of the role lie in the folder."""
        present = sum(self._path(name).is_file() for name in ROLES[role])
        return present >= (ROOT_THRESHOLD if role == "root" else 1)

    def signers(self, role: str) -> list[CryptoSigner]:
        """As many signers as the role needs.

        Raises:
            KeysError: A private key is missing, readable by others, or not the half of its public key.
        """
        names = [name for name in ROLES[role] if self._path(name).is_file()]
        needed = ROOT_THRESHOLD if role == "root" else 1
        if len(names) < needed:
            missing = [f"{name}.pem" for name in ROLES[role] if name not in names]
            raise KeysError(
                f"the {role} metadata must be signed, but its keys are not here",
                where=str(self.folder),
                why=f"{needed} of its keys are needed, {len(names)} are here",
                fix=f"bring {' or '.join(missing)} here for this one command",
            )
        return [self._signer(name) for name in names[:needed]]

    def _signer(self, name: str) -> CryptoSigner:
        path = self._path(name)
        _refuse_readable(path)
        try:
            return CryptoSigner(load_pem_private_key(path.read_bytes(), None), self.public[name])
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm, SigningLibraryError) as error:
            raise KeysError(
                "a private key cannot be used",
                where=str(path),
                why=str(error) or type(error).__name__,
                fix="restore the file that belongs to keys.json",
            ) from error

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pem"


def _write_keys(folder: Path, *, development: bool) -> None:
    public = {}
    for name in (name for names in ROLES.values() for name in names):
        signer = CryptoSigner.generate_ed25519()
        _write_private(folder / f"{name}.pem", signer.private_bytes)
        public[name] = {"keyid": signer.public_key.keyid, "key": signer.public_key.to_dict()}
    stated = {"format": _FORMAT, "development": development, "keys": public}
    _write_private(folder / _PUBLIC, json.dumps(stated, indent=1, sort_keys=True).encode())
    sync_folder(folder)


def _write_private(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _refuse_readable(path: Path) -> None:
    """Group rights are let through: Kubernetes gives mounted secrets to a group."""
    mode = path.stat().st_mode
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise KeysError(
            "signing keys are open to every user of this machine",
            where=str(path),
            why=f"its mode is {stat.S_IMODE(mode):04o}",
            fix=f"chmod {'700' if path.is_dir() else '600'} '{path}'; make new keys if a stranger may have read them",
        )
