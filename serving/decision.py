"""What to do about an alias: pure, so that each refusal can be read and tested as one sentence.

Why so: *a gate record may age once its bundle is released*: age guards the step, not the state. *The reasons hold no
clock times*: they are compared from run to run, and the same refusal is told once.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from features.errors import TidemillError
from serving.approval import Desired, GateRecord
from serving.bundle import digest_of, unpack
from serving.promotion import Action
from serving.release import Release

DAY_US = 86_400_000_000
MAX_GATE_AGE_US = 90 * DAY_US
_AHEAD_US = 3_600_000_000  # a gate may have run on a machine whose clock is a little ahead
_USECASE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step for one use case.

    Attributes:
        action: What to do.
        digest: Of the desired bundle; empty for none.
        placements: Where the desired bundle may run.
        reason: Why it is refused or withdrawn, as a sentence.
    """

    action: Action
    digest: str = ""
    placements: tuple[str, ...] = ()
    reason: str = ""


def decide(
    desired: Desired,
    actual: Release | None,
    gate: GateRecord | None,
    now_us: int,
    *,
    max_gate_age_us: int = MAX_GATE_AGE_US,
) -> Decision:
    """The next step for one use case; pure. Whether a release goes back to an older version, the ledger knows.

    Args:
        desired: What the registry wants.
        actual: What is published; None for nothing yet.
        gate: Record of the desired bundle, if there is one.
        now_us: The time, UTC microseconds.
        max_gate_age_us: How old a gate decision may be when its bundle is released.

    Example:
        >>> decide(Desired("pump_failure", "4", None), None, None, now_us=0).action
        'refused'
    """
    if desired.version is None:
        if actual is None or actual.withdrawn:
            return Decision("unchanged")
        return Decision("withdrawn", reason=f"the alias was removed from version {actual.version}")
    digest = digest_of(desired.bundle) if desired.bundle is not None else ""
    reason = _wrong_version(desired, digest)
    if not reason and actual and (actual.version, actual.bundle) == (desired.version, digest):
        return Decision("unchanged", digest, actual.placements)
    reason = reason or _wrong_gate(desired, digest, gate, now_us, max_gate_age_us)
    placements, reason = ((), reason) if reason else _opened(desired, digest)
    return Decision("refused" if reason else "released", digest, placements, reason)


def _wrong_version(desired: Desired, digest: str) -> str:
    """Why the version cannot be released whatever a gate says; empty for nothing."""
    if not _USECASE.fullmatch(desired.usecase):
        return f"{desired.usecase[:80]!r} is no name of a use case: use small letters, digits and _"
    if not digest:
        return "registered by hand: it has no bundle that a gate could have judged; register by a training run"
    if desired.digest is not None and desired.digest != digest:
        return f"the bundle was changed after it was registered: it has {digest}, registered was {desired.digest}"
    return ""


def _wrong_gate(desired: Desired, digest: str, gate: GateRecord | None, now_us: int, max_age_us: int) -> str:
    """Why the gate record does not let the bundle through; the same words on each day, since they are compared."""
    if gate is None:
        return f"no gate has judged this bundle ({digest}): judge it first"
    if (gate.digest, gate.usecase) != (digest, desired.usecase):
        return f"the gate judged another bundle: {gate.digest} of {gate.usecase}"
    if not gate.passed:
        return f"the gate refused it: {'; '.join(gate.reasons) or 'it gave no reason'}"
    if gate.decided_at_us < now_us - max_age_us:
        return (
            f"the gate decided on {_day(gate.decided_at_us)}, more than {max_age_us // DAY_US} days ago: judge it again"
        )
    if gate.decided_at_us > now_us + _AHEAD_US:
        return f"the gate decided on {_day(gate.decided_at_us)}, in the future: check the clocks and judge it again"
    return ""


def _opened(desired: Desired, digest: str) -> tuple[tuple[str, ...], str]:
    """Placements of the bundle, or why it cannot be used."""
    try:
        manifest = unpack(desired.bundle or b"", digest).manifest
    except TidemillError as error:
        return (), f"the bundle cannot be opened: {error}"
    if manifest.usecase != desired.usecase:
        return (), f"the bundle was built for {manifest.usecase}, not for {desired.usecase}"
    mapping = manifest.features.fleet.mapping
    if "gateway" in manifest.placements and mapping.storage_only:
        return (), (
            f"a gateway cannot read by the mapping of {manifest.features.fleet.name} ({mapping.storage_only}):"
            " declare what devices send as mapping= and how it lies as stored=, or train without the placement gateway"
        )
    return manifest.placements, ""


def _day(time_us: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=time_us)).date().isoformat()
    except OverflowError:
        return f"microsecond {time_us}"
