"""Promotion without anybody: never, unless a use case says so, and then within its bounds.

    promoted = promote(store, registry, usecase, shadow, now_us)

A use case declares `pipelines.rules.Promotion`. Every bound is judged each time, so a "no" names all its reasons. A
"yes" does what a person would do: the tag ``approved_by`` and the alias ``champion``; whatever follows is the ordinary
release with its gate, its rollout and its approvals.

People have the last word. A version is promoted this way once at most, so taking the alias back is final; and only over
the champion that it was compared with.

Specification. ``ledger/automatic/<use case>/<version>.json`` is written before the alias is set: ``format`` 1,
``usecase``, ``version``, ``bundle``, ``from`` (the champion before), ``decided_at_us``, ``bounds``; and
``<version>.done.json`` after it, so a run that is killed in between is finished by the next one.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from pipelines.rules import Promotion
from pipelines.shadow import Shadow
from pipelines.usecases import UseCase
from serving.approval import read_gate
from serving.errors import GateRecordError, MissingObjectError
from serving.store import Store

CHAMPION = "champion"
_DAY_US = 86_400_000_000


class PromotingRegistry(Protocol):
    """The registry, as far as promotion needs it: ``pipelines.registry.Registry``."""

    def champion(self, usecase: str) -> str | None:
        """Return the version with the alias; None when nobody has it."""

    def tags(self, usecase: str, version: str) -> dict[str, str]:
        """Return the tags of a version."""

    def write_tags(self, usecase: str, version: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""

    def set_alias(self, usecase: str, alias: str, version: str) -> None:
        """Give an alias to a version."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What came of it.

    Attributes:
        done: Whether the challenger has the alias now, by this run.
        objections: Why not.
    """

    done: bool
    objections: tuple[str, ...] = ()


def promote(store: Store, registry: PromotingRegistry, usecase: UseCase, shadow: Shadow, now_us: int) -> Promoted:
    """Promote a challenger if its use case allows it and every bound is met.

    Args:
        store: Holds gate records and the ledger.
        registry: Holds the aliases.
        usecase: Says within which bounds.
        shadow: How the challenger compares with the champion.
        now_us: The clock, UTC microseconds.
    """
    bounds, version = usecase.promotion, shadow.challenger.version
    if not bounds.automatic:
        return Promoted(False, ("the use case leaves it to people",))
    begun = _decisions(store, usecase.name)
    champion = registry.champion(usecase.name)
    mine = begun.get(version)
    if mine is not None:
        if mine.get("done") or mine["bundle"] != shadow.challenger.bundle or mine["from"] != champion:
            return Promoted(False, ("it was promoted automatically before: the rest is for people to say",))
    else:
        tags = registry.tags(usecase.name, version)
        objections = [
            *_by_shadow(bounds, shadow),
            *_by_registry(store, shadow, champion, tags),
            *_by_time(bounds, begun, now_us),
        ]
        if objections:
            return Promoted(False, tuple(objections))
        document = {
            "format": 1,
            "usecase": usecase.name,
            "version": version,
            "bundle": shadow.challenger.bundle,
            "from": champion,
            "decided_at_us": now_us,
            "bounds": asdict(bounds),
        }
        if not store.put_if_absent(_key(usecase.name, version), json.dumps(document, indent=1).encode()):
            return Promoted(False, ("another run is promoting it",))
    registry.write_tags(usecase.name, version, {"approved_by": f"tidemill: automatic, {bounds.sentence}"})
    registry.set_alias(usecase.name, CHAMPION, version)
    store.put(_key(usecase.name, f"{version}.done"), json.dumps({"done_at_us": now_us}).encode())
    return Promoted(True)


def _by_shadow(bounds: Promotion, shadow: Shadow) -> list[str]:
    low, judged = shadow.gain_interval[0], f"{shadow.judged} {shadow.counted or 'outcomes'}"
    met = {
        f"{shadow.windows} windows in the shadow, {bounds.min_windows} needed": shadow.windows >= bounds.min_windows,
        f"{judged} to judge by, {bounds.min_judged} needed": shadow.judged >= bounds.min_judged,
        f"agreement {_told(shadow.agreement)}, {bounds.min_agreement:g} needed": shadow.agreement
        >= bounds.min_agreement,
        f"gain in {shadow.measure} {_told(shadow.gain)}, {bounds.min_gain:g} needed": shadow.gain >= bounds.min_gain,
        f"the gain may be as low as {_told(low)}, surely above {bounds.surely_above:g} needed": low
        > bounds.surely_above,
    }
    return [objection for objection, kept in met.items() if not kept]  # NaN keeps nothing


def _by_registry(store: Store, shadow: Shadow, champion: str | None, tags: Mapping[str, str]) -> list[str]:
    found = []
    version, digest = shadow.challenger.version, shadow.challenger.bundle
    if champion != shadow.champion.version:
        found.append(f"it was compared with version {shadow.champion.version}, champion is {champion or 'nobody'}")
    elif int(version) <= int(champion):
        found.append(f"version {version} is older than the champion {champion}")
    try:
        record = read_gate(store, digest)
    except GateRecordError as error:
        found.append(str(error))
    else:
        if record is None or not record.passed:
            found.append("the gate has not passed it")
    if tags.get("release.refused"):
        found.append(f"a release refused it: {tags['release.refused']}")
    return found


def _by_time(bounds: Promotion, begun: Mapping[str, Mapping[str, Any]], now_us: int) -> list[str]:
    ages = [(now_us - int(decision["decided_at_us"])) / _DAY_US for decision in begun.values()]
    if ages and min(ages) < bounds.cool_down_days:
        return [f"promoted automatically {min(ages):.0f} days ago, {bounds.cool_down_days} days have to pass"]
    return []


def _decisions(store: Store, usecase: str) -> dict[str, dict[str, Any]]:
    """The automatic promotions there were, by version; ``done`` is set for those that were finished."""
    keys = {entry.key for entry in store.list(f"ledger/automatic/{usecase}/")}
    found = {}
    for key in keys:
        version = key.rpartition("/")[2].removesuffix(".json")
        if not version.endswith(".done"):
            try:
                decision = json.loads(store.get(key))
            except MissingObjectError:
                continue
            found[version] = {**decision, "done": _key(usecase, f"{version}.done") in keys}
    return found


def _key(usecase: str, name: str) -> str:
    return f"ledger/automatic/{usecase}/{name}.json"


def _told(value: float) -> str:
    return "not known" if math.isnan(value) else f"{value:.3g}"
