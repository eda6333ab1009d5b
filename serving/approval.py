"""What training says to releases: the gate's record of a bundle, and the version that the registry wants.

A gate record is one file that the release looks up by the bundle's digest.

Specification. Key ``ledger/gates/<hex of the bundle's digest>.json``, a JSON object::

    {"usecase": "pump_failure", "digest": "sha256:…", "passed": true, "reasons": [], "decided_at_us": 1790000000000000}

``reasons`` are sentences and say why it did not pass. Other fields are evidence for humans; readers let them be. A
record is replaced when the same bundle is judged again.

Example:
    >>> from serving.store import open_store
    >>> import tempfile
    >>> store = open_store(tempfile.mkdtemp())
    >>> write_gate(store, GateRecord("pump_failure", f"sha256:{'0' * 64}", True, (), 1_790_000_000_000_000))
    >>> read_gate(store, f"sha256:{'0' * 64}").passed
    True
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from serving.bundle import canonical_json, digest_of
from serving.errors import GateRecordError, MissingObjectError
from serving.store import Store

FOLDER = "ledger/gates/"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class GateRecord:
    """A decision of the gate.

    Attributes:
        usecase: Name of the use case.
        digest: Of the judged bundle, ``sha256:<hex>``.
        passed: Whether the bundle may be released.
        reasons: Sentences that say why not.
        decided_at_us: When, UTC microseconds.
        evidence: Anything else that JSON can hold, for humans.
        file_digest: Digest of the file it was read from; empty before it is written. It names this very decision in the
            promotion ledger.
    """

    usecase: str
    digest: str
    passed: bool
    reasons: tuple[str, ...]
    decided_at_us: int
    evidence: Mapping[str, object] = field(default_factory=dict)
    file_digest: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Control:
    """What somebody wants of a rollout that is under way, from tags of the registered model.

    A reason without a word is that of whatever is done next: of a moved alias, or of going on. It goes into the ledger,
    and its tags are removed.

    Attributes:
        word: ``pause``, ``abort``, or empty to go on; tag ``rollout``. Any other word is told and pauses.
        reason: Why, in their words; tag ``rollout.reason``.
        by: Who; tag ``rollout.by``.
    """

    word: str = ""
    reason: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the registry says at first sight about one use case, without a look into its bundle.

    Attributes:
        usecase: Name of the use case.
        version: Version with the alias; None when nobody has it.
        run: Run that registered the version; empty when there is none.
        promoted_by: Who promoted it, as the version's tag ``approved_by`` says; empty when it says nothing.
        control: What somebody wants of its rollout.
    """

    usecase: str
    version: str | None
    run: str = ""
    promoted_by: str = ""
    control: Control = field(default_factory=Control)


@dataclass(frozen=True, slots=True)
class Desired:
    """What the registry wants for one use case, with the bundle.

    Attributes:
        usecase: Name of the use case.
        version: Version with the alias; None when nobody has it.
        bundle: Its bundle; None when the version has none, for example because it was registered by hand.
        digest: Digest that was noted when the version was registered; None when nobody noted one.
    """

    usecase: str
    version: str | None
    bundle: bytes | None
    digest: str | None = None


def gate_key(digest: str) -> str:
    """Where the record of a bundle lies.

    Raises:
        GateRecordError: ``digest`` is not ``sha256:<hex>``.

    Example:
        >>> gate_key(f"sha256:{'ab' * 32}")[:20]
        'ledger/gates/abababa'
    """
    matched = _DIGEST.fullmatch(digest)
    if matched is None:
        raise GateRecordError("a gate record needs the digest of a bundle", why=f"{digest[:80]!r} is not sha256:<hex>")
    return f"{FOLDER}{matched[1]}.json"


def write_gate(store: Store, record: GateRecord) -> None:
    """Store a decision; it replaces an earlier one about the same bundle."""
    fields = {
        **record.evidence,
        "usecase": record.usecase,
        "digest": record.digest,
        "passed": record.passed,
        "reasons": list(record.reasons),
        "decided_at_us": record.decided_at_us,
    }
    store.put(gate_key(record.digest), canonical_json(fields))


def read_gate(store: Store, digest: str) -> GateRecord | None:
    """The decision about a bundle; None when no gate has judged it.

    Raises:
        GateRecordError: The file is not a gate record, or it is about another bundle.
    """
    key = gate_key(digest)
    try:
        data = store.get(key)
    except MissingObjectError:
        return None
    try:
        record = _parse(data)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"no {error} in it" if isinstance(error, KeyError) else str(error)
        raise GateRecordError(
            "a gate record cannot be read", where=key, why=why, fix="judge the bundle again"
        ) from error
    if record.digest != digest:
        raise GateRecordError("a gate record is about another bundle", where=key, why=f"it names {record.digest[:80]}")
    return record


def _parse(data: bytes) -> GateRecord:
    fields = dict(json.loads(data))
    usecase, digest, passed = fields.pop("usecase"), fields.pop("digest"), fields.pop("passed")
    reasons, decided_at_us = fields.pop("reasons"), fields.pop("decided_at_us")
    texts = isinstance(reasons, list) and all(isinstance(text, str) for text in [usecase, digest, *reasons])
    # A "false" in quotes would be true: nothing but the very types is taken.
    if not texts or type(passed) is not bool or type(decided_at_us) is not int:
        raise TypeError("a field has another type than expected")
    return GateRecord(usecase, digest, passed, tuple(reasons), decided_at_us, fields, digest_of(data))
