"""The bundle: one file that holds everything a placement needs to predict.

Specification, format 1. A bundle is a zip archive of exactly these stored (uncompressed) members in this order, the
last one if the use case asks for it, dated 1980-01-01, without extra fields or comments; whoever writes it writes the
same bytes from the same content:

===================  =======================================================================================
``golden.json``      ``{"rows": [[…]], "scores": […], "tolerance": …}``: rows the model must answer on any machine
``manifest.json``    what the model is, what it eats, and the SHA-256 and size of the other members
``model.onnx``       one input ``features`` float32 [n, F], one output ``score`` float32 [n] or [n, 1]
``pane_model.onnx``  may be left out; the same score from panes, for runtimes without our feature code: one input
                     ``panes`` float64 [n, panes, signals, fields]: every pane behind a row, oldest first, as many as
                     the features reach back, fields as in ``features.pane``
===================  =======================================================================================

JSON is canonical: sorted keys, no spaces, ASCII, NaN as null. The digest of a bundle is ``sha256:`` and the hex digest
of the whole file: it is what the gate judged, what a human promotes, what the release signs and what every prediction
names.

``unpack`` trusts nothing: sizes are checked before anything is read, the archive must be byte for byte the one ``pack``
would write, each member must have its recorded digest, and the feature set must have its recorded digest after a
round trip through this program's own code.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field

from features.errors import TidemillError
from serving.errors import BundleDigestError, BundleLayoutError, BundleTooLargeError, BundleVersionError
from serving.manifest import (
    PLACEMENTS,
    Golden,
    Manifest,
    canonical_json,
    golden_json,
    manifest_json,
    parse,
    read_golden,
    read_manifest,
)

__all__ = [
    "FORMAT",
    "MEMBER_LIMITS",
    "PLACEMENTS",
    "TOTAL_LIMIT",
    "Bundle",
    "Golden",
    "Manifest",
    "canonical_json",
    "digest_of",
    "pack",
    "unpack",
]

FORMAT = 1
MEBIBYTE = 1024 * 1024
TOTAL_LIMIT = 64 * MEBIBYTE
MEMBER_LIMITS: Mapping[str, int] = {  # in the order of the archive
    "golden.json": 8 * MEBIBYTE,
    "manifest.json": MEBIBYTE,
    "model.onnx": 60 * MEBIBYTE,
    "pane_model.onnx": 60 * MEBIBYTE,
}
_OPTIONAL = "pane_model.onnx"


@dataclass(frozen=True, slots=True)
class Bundle:
    """An unpacked bundle; two are equal when their digests are."""

    manifest: Manifest = field(compare=False)
    model: bytes = field(compare=False, repr=False)
    golden: Golden = field(compare=False, repr=False)
    digest: str
    pane_model: bytes | None = field(default=None, compare=False, repr=False)


def pack(manifest: Manifest, model: bytes, golden: Golden, pane_model: bytes | None = None) -> bytes:
    """The bundle as bytes; the same bytes for the same content.

    Args:
        manifest: What the model is and what it eats.
        model: From features to the score.
        golden: What it must answer.
        pane_model: From panes to the score, for those who need it.

    Raises:
        BundleError: ``unpack`` would refuse the result.
    """
    members = {"golden.json": golden_json(golden), "model.onnx": model}
    if pane_model is not None:
        members[_OPTIONAL] = pane_model
    outline = {"format": FORMAT, "members": {name: _fingerprint(member) for name, member in members.items()}}
    data = _archive({**members, "manifest.json": manifest_json(manifest, outline)})
    unpack(data)
    return data


def unpack(data: bytes, expected_digest: str | None = None) -> Bundle:
    """Check a bundle completely and open it.

    Args:
        data: The file.
        expected_digest: ``sha256:<hex>`` of the file as promised by whoever is trusted.

    Raises:
        BundleTooLargeError: The file or a member exceeds its limit.
        BundleDigestError: The file or a member has another digest than promised.
        BundleLayoutError: The file is not the archive that ``pack`` would write.
        BundleVersionError: The format version is unknown.
        BundleContentError: A field of the manifest or the golden rows is wrong.
    """
    if len(data) > TOTAL_LIMIT:
        raise BundleTooLargeError("the bundle is too large", why=f"{len(data)} bytes, at most {TOTAL_LIMIT} are read")
    digest = digest_of(data)
    if expected_digest is not None and digest != expected_digest:
        raise BundleDigestError(
            "the bundle is not the promised one",
            why=f"it has {digest}, promised was {expected_digest}",
            fix="fetch it again",
        )
    members = _members(data)
    stated = parse(members["manifest.json"], "manifest.json")
    _check_version(stated)
    _check_members(stated, members)
    manifest = read_manifest(stated)
    golden = read_golden(parse(members["golden.json"], "golden.json"), len(manifest.features.names), manifest.output)
    return Bundle(manifest, members["model.onnx"], golden, digest, members.get(_OPTIONAL))


def digest_of(data: bytes) -> str:
    """The name of some bytes: ``sha256:<hex>``.

    Example:
        >>> digest_of(b"")[:20]
        'sha256:e3b0c44298fc1'
    """
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


# --- the archive ---------------------------------------------------------------------------------------------------


def _archive(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name in sorted(members):
            header = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            header.create_system = 3
            header.external_attr = 0o100644 << 16
            archive.writestr(header, members[name])
    return buffer.getvalue()


def _members(data: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            headers = archive.infolist()
            _check_headers(headers)
            members = {header.filename: archive.read(header) for header in headers}
    except TidemillError:
        raise
    except (
        Exception
    ) as error:  # zipfile meets hostile bytes with BadZipFile, struct.error, NotImplementedError, EOFError …
        raise BundleLayoutError("the file is not a bundle", why=f"it cannot be read as a zip: {error}") from error
    if _archive(members) != data:
        raise BundleLayoutError("the archive is not as `pack` writes it", why="it holds bytes that belong to no member")
    return members


def _check_headers(headers: list[zipfile.ZipInfo]) -> None:
    names = [header.filename for header in headers]
    if names != [name for name in MEMBER_LIMITS if name != _OPTIONAL or name in names]:
        expected = ", ".join(name for name in MEMBER_LIMITS if name != _OPTIONAL)
        why = f"it has {', '.join(map(ascii, names))[:200] or 'none'}; expected {expected} and, if at all, {_OPTIONAL}"
        raise BundleLayoutError("the bundle does not hold exactly its members in order", why=why)
    for header in headers:
        _check_header(header)


def _check_header(header: zipfile.ZipInfo) -> None:
    if header.compress_type != zipfile.ZIP_STORED or header.compress_size != header.file_size:
        raise BundleLayoutError("a member is compressed", where=header.filename, why="members are stored as they are")
    limit = MEMBER_LIMITS[header.filename]
    if header.file_size > limit:
        raise BundleTooLargeError("a member is too large", where=header.filename, why=f"at most {limit} bytes are read")


# --- members -------------------------------------------------------------------------------------------------------


def _check_version(stated: Mapping[str, object]) -> None:
    if stated.get("format") != FORMAT:
        raise BundleVersionError(
            "the bundle has an unknown format version",
            where="manifest.json",
            why=f"it says {str(stated.get('format'))[:40]}, this program knows {FORMAT}",
            fix="update this program",
        )


def _check_members(stated: Mapping[str, object], members: Mapping[str, bytes]) -> None:
    found = {name: _fingerprint(data) for name, data in members.items() if name != "manifest.json"}
    recorded = stated.get("members")
    for name, fingerprint in found.items():
        if not isinstance(recorded, dict) or recorded.get(name) != fingerprint or len(recorded) != len(found):
            raise BundleDigestError(
                "a member is not the recorded one", where=name, why=f"its content has {fingerprint['digest']}"
            )


def _fingerprint(data: bytes) -> dict[str, object]:
    return {"digest": digest_of(data), "size": len(data)}
