"""Where a version comes from and where it went: data, bundle, gate, releases, gateways, predictions.

Each fact is read where it is kept: the bundle's manifest names its data and code, the gate record and the promotion
ledger lie in the store, gateways say themselves what they run, and the prediction table counts what was answered.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from infra.local.parameters import iso
from infra.local.status import GatewayState, reports
from pipelines import usecases
from pipelines.lake import Lake
from pipelines.rebuild import Rebuilt, rebuild
from pipelines.registration import Version
from pipelines.rows import canonical
from serving.approval import GateRecord, read_gate
from serving.bundle import Bundle, unpack
from serving.promotion import Promotion, PromotionLedger
from serving.store import Store


class Registry(Protocol):
    """What is asked of the registry: ``pipelines.registry.Registry``."""

    def download_bundle(self, usecase: str, version: str) -> bytes:
        """The bundle of a version."""

    def versions(self, usecase: str) -> list[Version]:
        """All versions of a use case."""

    def page(self, usecase: str, version: str) -> str:
        """The address of a version's page."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Everything that is known about one version.

    Attributes:
        usecase: Name of the use case.
        version: Number of the version.
        page: Its page in MLflow.
        aliases: Aliases it has at present.
        tags: Tags of the version.
        bundle: The bundle.
        gate: What the gate decided, None when there is no record.
        promotions: Entries of the promotion ledger that speak of it.
        gateways: Gateways that say they run it.
        predictions: How many predictions it made, by placement; as far as they were taken in.
        rebuilt: Its training set, read again; None when nobody asked.
    """

    usecase: str
    version: str
    page: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    bundle: Bundle
    gate: GateRecord | None
    promotions: tuple[Promotion, ...]
    gateways: tuple[GatewayState, ...]
    predictions: dict[str, int]
    rebuilt: Rebuilt | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready dictionary; the model itself is left out."""
        manifest, gate = self.bundle.manifest, self.gate
        return {
            "usecase": self.usecase,
            "version": self.version,
            "url": self.page,
            "aliases": list(self.aliases),
            "tags": self.tags,
            "data": dict(manifest.lineage),
            "rebuilt": _rebuilt_json(self.rebuilt) if self.rebuilt else None,
            "features": {"fleet": manifest.features.fleet.name, "digest": manifest.features.digest},
            "bundle": {
                "digest": self.bundle.digest,
                "estimator": manifest.estimator,
                "threshold": manifest.threshold,
                "placements": list(manifest.placements),
            },
            "gate": {"passed": gate.passed, "reasons": list(gate.reasons), "at": iso(gate.decided_at_us)}
            if gate
            else None,
            "promotions": [asdict(entry) for entry in self.promotions],
            "gateways": [asdict(state) for state in self.gateways],
            "predictions": self.predictions,
        }

    def lines(self) -> list[str]:
        """Return it for people, from the data down to the predictions."""
        manifest = self.bundle.manifest
        facts = _trained_with(manifest.lineage) + (_rebuilt_lines(self.rebuilt) if self.rebuilt else [])
        facts.append(("features", f"{len(manifest.features.names)} of fleet {manifest.features.fleet.name}"))
        facts.append(("", manifest.features.digest))
        facts.append(
            (
                "bundle",
                f"{manifest.estimator}, alerts {manifest.output.alert} {manifest.threshold:.2f}, {manifest.label}",
            )
        )
        facts.append(("", self.bundle.digest))
        facts.append(("gate", _gate(self.gate)))
        facts += [("release", _promotion(entry)) for entry in self.promotions] or [("release", "never promoted")]
        facts += [("gateway", f"{g.gateway} runs it, said {g.age_s} s ago") for g in self.gateways]
        facts += [("answered", f"{count:,} predictions on {name}") for name, count in self.predictions.items()]
        facts.append(("page", self.page))
        shown, before = [f"{self.usecase} version {self.version}" + _named(self.aliases)], ""
        for name, text in facts:
            shown.append(f"  {'' if name == before else name:<9} {text}")
            before = name or before
        return shown


def trace(store: Store, registry: Registry, usecase: str, version: str, now_us: int, *, again: bool = False) -> Lineage:
    """Follow a version.

    Args:
        store: The object storage.
        registry: The registry that holds the version.
        usecase: Name of the use case.
        version: Number of the version.
        now_us: The time, UTC microseconds; ages of reports are counted from it.
        again: Whether its training set is read again, from the versions of the tables.

    Raises:
        VersionMissingError: There is no such version, or it has no bundle.
        TableMissingError: A version of a table is asked for again that is gone.
    """
    bundle = unpack(registry.download_bundle(usecase, version))
    found = next(one for one in registry.versions(usecase) if one.version == version)
    entries = PromotionLedger(store, usecase).entries()
    lake, manifest = Lake(store.uri), bundle.manifest
    return Lineage(
        usecase=usecase,
        version=version,
        page=registry.page(usecase, version),
        aliases=found.aliases,
        tags=dict(found.tags),
        bundle=bundle,
        gate=read_gate(store, bundle.digest),
        promotions=tuple(entry for entry in entries if version in (entry.to_version, entry.from_version)),
        gateways=tuple(s for s in reports(store, now_us) if (s.usecase, s.version) == (usecase, version)),
        predictions=_predictions(lake, usecase, bundle.digest),
        rebuilt=rebuild(store, lake, usecases.load(usecase), manifest.features, manifest.lineage) if again else None,
    )


def _predictions(lake: Lake, usecase: str, digest: str) -> dict[str, int]:
    table = lake.predictions(usecase)
    if not table.exists():
        return {}
    rows = table.open().read(["placement", "bundle"]).to_pylist()
    return dict(sorted(Counter(row["placement"] for row in rows if row["bundle"] == digest).items()))


def _trained_with(lineage: Mapping[str, str]) -> list[tuple[str, str]]:
    """What it learned from and with what: data, seeds and parameters, code and environment, in this order."""
    rooms = {"parameter": "parameter", "code": "program", "environment": "program", "definition": "defined"}
    order = ("data", "defined", "parameter", "program")
    facts = [
        (rooms.get(name.partition(".")[0], "data"), f"{name}: {_moment(name, value)}")
        for name, value in lineage.items()
        if value
    ]
    return sorted(facts, key=lambda fact: order.index(fact[0]))


def write_rebuilt(rebuilt: Rebuilt, folder: Path) -> list[Path]:
    """Write a rebuilt training set: its canonical bytes, and train and test for people as Parquet."""
    folder.mkdir(parents=True, exist_ok=True)
    data, whole = rebuilt.dataset, folder / "training-set.bin"
    with whole.open("wb") as file:
        file.writelines(canonical(data))
    written = [whole]
    for name, windows in (("train", data.train), ("test", data.test)):
        columns = {"device": windows.device.tolist(), "end": windows.end, "label": windows.label}
        values = {feature: windows.values[:, at].astype(np.float32) for at, feature in enumerate(data.names)}
        pq.write_table(pa.table(columns | values), folder / f"{name}.parquet")
        written.append(folder / f"{name}.parquet")
    return written


def _rebuilt_json(rebuilt: Rebuilt) -> dict[str, Any]:
    return {
        "equal": rebuilt.equal,
        "expected": rebuilt.expected,
        "found": rebuilt.found,
        "changes": list(rebuilt.changes),
        "rows": {"train": len(rebuilt.dataset.train), "test": len(rebuilt.dataset.test)},
    }


def _rebuilt_lines(rebuilt: Rebuilt) -> list[tuple[str, str]]:
    rows = f"{len(rebuilt.dataset.train):,} windows to learn from, {len(rebuilt.dataset.test):,} to judge with"
    verdict = (
        "equal to the last byte" if rebuilt.equal else f"NOT equal: sha256 is {rebuilt.found}, was {rebuilt.expected}"
    )
    return [("rebuilt", f"{verdict}; {rows}"), *(("rebuilt", change) for change in rebuilt.changes)]


def _moment(name: str, value: str) -> str:
    """Lineage keeps times as microseconds; people get them as times."""
    return iso(int(value)) if name in ("since", "until") and value.isdigit() else value


def _gate(gate: GateRecord | None) -> str:
    if gate is None:
        return "no record"
    return f"{'passed' if gate.passed else 'refused'} {iso(gate.decided_at_us)} {'; '.join(gate.reasons)}".rstrip()


def _promotion(entry: Promotion) -> str:
    told = f"{iso(entry.observed_at_us)} {entry.outcome.replace('_', ' ')}: {entry.from_version or 'none'}"
    return f"{told} -> {entry.to_version or 'none'} {entry.reason}".rstrip()


def _named(aliases: tuple[str, ...]) -> str:
    return f" ({', '.join(aliases)})" if aliases else ""
