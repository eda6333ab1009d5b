"""Releases as placements see them: signed files that name a bundle for each use case.

Specification. Below ``updates/`` (``serving.trust``) lie ``releases/<usecase>.json`` and ``bundles/<hex>.tmb``, the
bundle exactly as training wrote it. A release is a JSON object::

    {"format": 2, "usecase": "pump_failure", "number": 3, "version": "7", "bundle": "sha256:…", "path": "bundles/….tmb",
     "released_at_us": 1790000000000000, "placements": ["gateway", "cloud"], "gate": "sha256:…", "run": "4f2a…",
     "stage": 1, "stages": 3, "share": 0.05, "stage_since_us": 1790000000000000, "ledger": "sha256:…", "aborts": "",
     "before": {"number": 2, "version": "6", "bundle": "sha256:…", "path": "bundles/….tmb", "released_at_us": …,
                "placements": ["gateway", "cloud"], "gate": "sha256:…", "run": "11c0…"}}

``number`` only grows: going back to an older version is a new release that names the older bundle. A withdrawn use case
has an empty version, bundle and path. ``gate`` is the digest of the gate record that let it through, ``run`` the run
that registered the version, ``ledger`` the digest of the newest entry of the promotion ledger when it was published,
and ``aborts`` the reason where the release takes the place of one whose rollout was aborted.

A gateway runs the release if ``share_of(usecase, name) < share``, else ``before``, and nothing if that is null.
``share`` only grows from stage to stage of a number, and ``before`` is null in the last one. Servers look at neither.

Why so: *an empty bundle withdraws* instead of a missing file, since a missing file may also be an attack or a mistake.
*Each gateway finds out by itself whether its turn has come*: no server has to keep lists, and 10,000 gateways read one
file.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from serving.bundle import canonical_json, digest_of
from serving.errors import BundleDigestError, ReleaseError
from serving.trust.client import TrustedClient

FOLDER = "releases/"
_FORMAT = 2


@dataclass(frozen=True, slots=True)
class Former:
    """What gateways run whose stage has not come; the fields are those of `Release`."""

    number: int
    version: str
    bundle: str
    path: str
    released_at_us: int
    placements: tuple[str, ...]
    gate: str
    run: str


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
        run: Run that registered the version; empty when withdrawn, or registered by hand.
        stage: Stage of its rollout, from 1.
        stages: How many there are.
        share: Share of the gateways that run it, above 0, up to 1.
        stage_since_us: When the stage began, UTC microseconds.
        ledger: Digest of the newest entry of the promotion ledger before it; empty for none.
        aborts: Why the release before was aborted, where this one takes its place.
        before: What the other gateways run; None where they run nothing, and in the last stage.
    """

    usecase: str
    number: int
    version: str
    bundle: str
    path: str
    released_at_us: int
    placements: tuple[str, ...] = ()
    gate: str = ""
    run: str = ""
    stage: int = 1
    stages: int = 1
    share: float = 1.0
    stage_since_us: int = 0
    ledger: str = ""
    aborts: str = ""
    before: Former | None = None

    @property
    def withdrawn(self) -> bool:
        """Whether nothing is to run."""
        return not self.bundle

    @property
    def complete(self) -> bool:
        """Whether its rollout has come to its last stage."""
        return self.stage == self.stages

    def former(self) -> Former | None:
        """What gateways go on with while the next release spreads: this one, or what it has not replaced yet."""
        if not self.complete:
            return self.before
        if self.withdrawn:
            return None
        return Former(**{name: getattr(self, name) for name in Former.__dataclass_fields__})

    def reaches(self, gateway: str) -> bool:
        """Whether a gateway's turn has come."""
        return self.withdrawn or self.complete or share_of(self.usecase, gateway) < self.share

    def applied_to(self, gateway: str) -> "Release | None":
        """The release as it concerns a gateway: itself, the one before, or None where that gateway runs nothing yet.

        Example:
            >>> first = Release("pump_failure", 1, "1", "sha256:aa", "bundles/aa.tmb", 0, ("gateway",))
            >>> second = Release("pump_failure", 2, "2", "sha256:bb", "bundles/bb.tmb", 9, ("gateway",), stages=2,
            ...                  share=0.5, before=first.former())
            >>> [second.applied_to(name).version for name in ("kiln-1", "kiln-2", "kiln-3")]
            ['1', '2', '2']
        """
        if self.reaches(gateway):
            return self
        if self.before is None:
            return None
        kept = {name: getattr(self.before, name) for name in Former.__dataclass_fields__}
        return replace(self, **kept, stage=1, stages=1, share=1.0, aborts="", before=None)

    def to_bytes(self) -> bytes:
        """The published file."""
        return canonical_json({**(_plain(self) or {}), "format": _FORMAT, "before": _plain(self.before)})

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
            release: Release = _build(cls, fields | {"before": _build(Former, fields["before"])})
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


def share_of(usecase: str, gateway: str) -> float:
    """Where a gateway stands among all of a use case, 0..1: the same for each release, and even over many names.

    Example:
        >>> sum(share_of("pump_failure", f"gateway-{number}") < 0.1 for number in range(10_000))
        982
    """
    digest = hashlib.sha256(f"{usecase}/{gateway}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _plain(value: "Release | Former | None") -> dict[str, object] | None:
    return {name: getattr(value, name) for name in value.__dataclass_fields__} if value is not None else None


def _build(kind: type[Any], fields: Any) -> Any:
    return None if fields is None else kind(**{**fields, "placements": tuple(fields["placements"])})


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
