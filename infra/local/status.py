"""What is stored, what is released, and what gateways say they run: read from the object storage alone.

The first number about a gateway is the version it *says* it answers with, and how long ago it said so; what was
released to it stands beside it and never replaces it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from features import catalog
from infra.local.parameters import iso
from pipelines.lake import Lake
from serving.promotion import PromotionLedger
from serving.reports import Report, ReportReader
from serving.rollout import SILENT_AFTER
from serving.store import Store


@dataclass(frozen=True, slots=True)
class FleetState:
    """Telemetry of a fleet: ``version`` of its table (None before the first ingest), first and last day."""

    fleet: str
    version: int | None
    first_day: str
    last_day: str
    quarantined_batches: int


@dataclass(frozen=True, slots=True)
class UseCaseState:
    """What is released for a use case, as the promotion ledger has it; ``refused`` is the reason of a refusal."""

    usecase: str
    version: str
    number: int
    since: str
    refused: str


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What a gateway said about itself: ``state`` is ``silent`` when it has not said anything for ten minutes."""

    gateway: str
    usecase: str
    state: str
    version: str
    desired: str
    age_s: int
    predictions: int
    standing_alerts: int
    reason: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that ``tidemill status`` shows."""

    fleets: tuple[FleetState, ...]
    usecases: tuple[UseCaseState, ...]
    gateways: tuple[GatewayState, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-ready dictionary."""
        return asdict(self)


def collect(store: Store, usecases: Sequence[str], now_us: int) -> Status:
    """Look at the store.

    Args:
        store: The object storage.
        usecases: Names of the use cases to look for.
        now_us: The time, UTC microseconds; ages of reports are counted from it.
    """
    lake = Lake(store.uri)
    return Status(
        tuple(fleet_state(store, lake, name) for name in catalog.names()),
        tuple(state for name in usecases if (state := usecase_state(store, name))),
        tuple(reports(store, now_us)),
    )


def fleet_state(store: Store, lake: Lake, name: str) -> FleetState:
    """Look at the telemetry of a fleet."""
    table = lake.telemetry(catalog.load(name).fleet)
    batches = {entry.key.split("/")[2] for entry in store.list(f"quarantine/{name}/")}
    if not table.exists():
        return FleetState(name, None, "", "", len(batches))
    snapshot = table.open()
    days = snapshot.dates()
    return FleetState(name, snapshot.version, days[0] if days else "", days[-1] if days else "", len(batches))


def usecase_state(store: Store, name: str) -> UseCaseState | None:
    """Look at the promotion ledger of a use case; None when nothing was ever promoted."""
    last = PromotionLedger(store, name).last()
    if last is None:
        return None
    refused = f"version {last.to_version}: {last.reason}" if last.outcome == "refused" else ""
    return UseCaseState(name, last.serving_version, last.number, iso(last.observed_at_us), refused)


def reports(store: Store, now_us: int) -> list[GatewayState]:
    """Read what gateways reported, sorted by their names."""
    found = [_gateway(report, now_us) for report in ReportReader(store).read()]
    return sorted(found, key=lambda state: (state.gateway, state.usecase))


def _gateway(report: Report, now_us: int) -> GatewayState:
    age_s = (now_us - report.at_us) // 1_000_000
    state = report.state
    if report.process == "stopped":
        state = "stopped"
    elif age_s > SILENT_AFTER.total_seconds() and state != "unreadable":
        state = "silent"
    return GatewayState(
        gateway=report.gateway,
        usecase=report.usecase,
        state=state,
        version=report.version,
        desired=report.wanted_version,
        age_s=age_s,
        predictions=report.predictions,
        standing_alerts=report.standing_alerts,
        reason=report.reason or report.updates_reason,
    )
