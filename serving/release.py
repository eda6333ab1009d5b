"""Releases as placements see them: signed files that name a bundle for each use case.

Specification. Below ``updates/`` (``serving.trust``) lie ``releases/<usecase>.json`` and ``bundles/<hex>.tmb``, the
bundle exactly as training wrote it. A release is a JSON object::

    {"format": 1, "usecase": "pump_failure", "number": 3, "version": "7", "bundle": "sha256:…", "path": "bundles/….tmb",
     "released_at_us": 1790000000000000, "placements": ["gateway", "cloud"], "gate": "sha256:…"}

``number`` only grows: going back to an older version is a new release that names the older bundle. A withdrawn use case
has an empty version, bundle and path. ``gate`` is the digest of the gate record that let it through.

Why so: *an empty bundle withdraws* instead of a missing file, since a missing file may also be an attack or a mistake.
"""

import json
from dataclasses import dataclass

from serving.bundle import canonical_json, digest_of
from serving.errors import BundleDigestError, ReleaseError
from serving.trust.client import TrustedClient

FOLDER = "releases/"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Release:
    """What placements run for one use case.

    Attributes:
        usecase: Name of the use case.
        number: Counts the releases of the use case, from 1.
        version: Registered version; empty when withdrawn.
        bundle: Digest of the bundle, ``sha256:<hex>``; empty when withdrawn.
        path: Where the bundle is published; empty when withdrawn.
        released_at_us: When, UTC microseconds.
        placements: Where it may run.
        gate: Digest of the gate record's file; empty when withdrawn.
    """

    usecase: str
    number: int
    version: str
    bundle: str
    path: str
    released_at_us: int
    placements: tuple[str, ...] = ()
    gate: str = ""

    @property
    def withdrawn(self) -> bool:
        """Whether nothing is to run."""
        return not self.bundle

    def to_bytes(self) -> bytes:
        """The published file."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return canonical_json({"format": _FORMAT, **fields})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Release":
        """Read a published file.

        Raises:
            ReleaseError: It is not a release of this format.

        Example:
            >>> Release.from_bytes(Release("pump_failure", 2, "", "", "", 0).to_bytes()).withdrawn
            True
        """
        try:
            fields = json.loads(data)
            known = fields.pop("format") == _FORMAT
            release = cls(**{**fields, "placements": tuple(fields["placements"])})
            known = known and release.to_bytes() == data and release.path == bundle_path(release.bundle)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ReleaseError(
                "a published release cannot be read", why=str(error), fix="update this program"
            ) from error
        if not known:
            raise ReleaseError(
                "a published release is of another format", why=f"known is {_FORMAT}", fix="update this program"
            )
        return release


def release_path(usecase: str) -> str:
    """Where the release of a use case is published."""
    return f"{FOLDER}{usecase}.json"


def bundle_path(digest: str) -> str:
    """Where a bundle is published; empty for no bundle.

    Example:
        >>> bundle_path("sha256:ab12")
        'bundles/ab12.tmb'
    """
    return f"bundles/{digest.removeprefix('sha256:')}.tmb" if digest else ""


class ReleaseReader:
    """What placements ask for.

    Args:
        client: Must have been refreshed; its errors pass through.
    """

    def __init__(self, client: TrustedClient) -> None:
        self._client = client

    def usecases(self) -> list[str]:
        """Use cases that were ever released, withdrawn ones too."""
        found = [path for path in self._client.index() if path.startswith(FOLDER)]
        return sorted(path.removeprefix(FOLDER).removesuffix(".json") for path in found)

    def latest(self, usecase: str) -> Release | None:
        """The release of a use case; None when it never had one.

        Raises:
            ReleaseError: It cannot be read.
        """
        path = release_path(usecase)
        if path not in self._client.index():
            return None
        release = Release.from_bytes(self._client.fetch(path))
        if release.usecase != usecase:
            raise ReleaseError("a release lies in another's place", where=path, why=f"it is of {release.usecase}")
        return release

    def bundle(self, release: Release) -> bytes:
        """The bundle of a release, with the digest that the release names.

        Raises:
            ReleaseError: The release is withdrawn.
            BundleDigestError: The published file is another one.
        """
        if release.withdrawn:
            raise ReleaseError("a withdrawn release has no bundle", where=release.usecase)
        data = self._client.fetch(release.path)
        if digest_of(data) != release.bundle:
            raise BundleDigestError(
                "the bundle is not the released one", where=release.path, why=f"the release names {release.bundle}"
            )
        return data
